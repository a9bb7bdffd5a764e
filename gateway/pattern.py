"""Bytes that are made once and filled in many times: what differs is left open, and the rest is never made again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

_HOLES: Final = tuple(str(uuid4()) for _ in range(5))
"""Known to this process alone, and told to nobody."""


def pattern(make: Callable[..., bytes], count: int) -> bytes:
    """What ``make`` makes of ``count`` UUIDs in text, with ``%b`` in the place of each, in their order.

    ``count``: 5 at the most. ValueError: one of them does not stand there, or not in its order.
    """
    holes = _HOLES[:count]
    rest, pieces = make(*holes), []
    for hole in holes:
        before, found, rest = rest.partition(hole.encode())
        if not found:
            raise ValueError("what was to be left open does not stand there")
        pieces.append(before)
    pieces.append(rest)
    return b"%b".join(piece.replace(b"%", b"%%") for piece in pieces)
