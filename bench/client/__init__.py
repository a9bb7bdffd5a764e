"""Clients that cost so little that what they ask is what is measured."""
