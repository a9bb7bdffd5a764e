"""What an ACT does: the type of each ask → the room that does it."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Operation


def operations() -> Mapping[type, Operation]:
    """Every operation there is."""
    return {}
