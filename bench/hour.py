"""How quick the machine is at this moment. What it shares with others it does not share alike at every hour."""

from __future__ import annotations

import time
from array import array
from typing import Final

NEAR: Final = 1 << 12
FAR: Final = 1 << 22
"""Cells of eight bytes: 32 KiB, which every CPU has at hand, and 32 MiB, which lie behind all caches but the largest."""
_STEPS: Final = 100_000
_TRIES: Final = 5
_FACTOR: Final = 1_664_525
_STEP: Final = 1_013_904_223


def cells(count: int) -> array[int]:
    """``count`` is a power of two."""
    return array("q", [_STEP]) * count


def walk(over: array[int], steps: int) -> int:
    """Where it ends. No two steps to one cell before all were visited; each waits for the memory that the last one read."""
    mask, at = len(over) - 1, 0
    for _ in range(steps):
        at = (at * _FACTOR + over[at]) & mask
    return at


def pace() -> tuple[float, float]:
    """Nanoseconds that a step takes: through the cache, and through memory; the least of a few tries each."""
    near, far = cells(NEAR), cells(FAR)
    return min(_step_ns(near) for _ in range(_TRIES)), min(_step_ns(far) for _ in range(_TRIES))


def _step_ns(over: array[int]) -> float:
    begun = time.perf_counter()
    walk(over, _STEPS)
    return (time.perf_counter() - begun) / _STEPS * 1e9
