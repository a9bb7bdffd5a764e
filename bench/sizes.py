"""How much is asked: the same work at three sizes."""

from __future__ import annotations

from dataclasses import dataclass

SPAN = 65_536
"""Bytes of one random range."""
ABANDONED = 300_000
"""Bytes a player takes of an open range before it seeks on."""
READER_RATE = 262_144
"""Bytes a second of one slow reader."""
KB, MB, GB = 1_000, 1_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """Rounds are of each variant; ``_s`` are seconds of each variant in each round."""

    name: str
    object_bytes: int
    streams: int
    rounds: int
    repeats: int
    """Times all streams are read in one measurement of whole objects: the kernel counts CPU in hundredths."""
    ranges_s: int
    connections: int
    first_bytes: int
    """Requests of each variant in each round."""
    seeks: int
    readers: int
    readers_s: float
    cold_ids: int
    ramp: tuple[int, ...]
    ramp_s: int


FULL = Size("full", 100 * MB, 8, 5, 2, 3, 32, 300, 1000, 1000, 6, 200, (1, 4, 16, 32, 64, 256, 512), 3)
QUICK = Size("quick", 100 * MB, 8, 2, 1, 1, 32, 100, 300, 200, 2, 100, (1, 16, 64, 256), 1)
TINY = Size("tiny", 4 * MB, 2, 1, 1, 1, 4, 10, 10, 10, 0.5, 5, (1, 4), 1)
SIZES = {size.name: size for size in (FULL, QUICK, TINY)}
