"""Fixtures of real parts, one section each."""
