"""Where requests are counted, and by what rule: here in this process' memory, in ``shared_counts`` in a Redis.

Counting is by sliding window counters: two numbers a key, whatever the quota, and the same in both places. What was refused
is not counted.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

KEYS = 50_000
"""Keys counted in memory at once, about 300 bytes each: a flood of addresses takes no more."""

Wait = int | None
"""None: within the limit. Else seconds until one more request would be."""


class Counts(Protocol):
    """Counts requests. Counting never raises, even where the counts are kept in a Redis that is away."""

    async def hit(self, item: RateLimitItem, who: str) -> Wait:
        """Counts one, unless that would be over ``item``."""
        ...

    async def look(self, item: RateLimitItem, who: str) -> Wait:
        """As ``hit``, but counts nothing."""
        ...

    async def check(self) -> None:
        """Can it be counted there? Raises Unavailable, saying why."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Window:
    begun: float
    previous: int = 0
    current: int = 0


class BoundedMemory(MemoryStorage):
    """Sliding windows of ``size`` keys at most; the one counted longest ago goes first.

    The library's own looks at all of its keys at nearly every hit, and holds however many come.
    """

    STORAGE_SCHEME = ["async+bounded-memory"]  # noqa: RUF012  as the library declares it

    def __init__(self, size: int = KEYS, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._size = size
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = self._clock()
        window = self._window(key, expiry, now)
        if window is None:
            if len(self._windows) >= self._size:
                self._windows.popitem(last=False)
            window = self._windows[key] = _Window(now)
        else:
            self._windows.move_to_end(key)
        carried = window.previous * (window.begun + expiry - now) / expiry
        if int(carried) + window.current + amount > limit:
            return False
        window.current += amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = self._clock()
        window = self._window(key, expiry, now)
        if window is None:
            return 0, 0.0, 0, 0.0
        rest = window.begun + expiry - now
        return window.previous, rest, window.current, rest + expiry

    def _window(self, key: str, expiry: int, now: float) -> _Window | None:
        """The key's window as it stands ``now``; None: nothing of it counts any more."""
        window = self._windows.get(key)
        if window is None or now - window.begun < expiry:
            return window
        if now - window.begun >= 2 * expiry or not window.current:
            del self._windows[key]
            return None
        window.begun, window.previous, window.current = window.begun + expiry, window.current, 0
        return window


class Counter:
    """Counts in one place. Raises what that place raises."""

    def __init__(self, storage: BoundedMemory | RedisStorage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, item: RateLimitItem, who: str) -> Wait:
        return None if await self._limiter.hit(item, who) else await self._wait(item, who)

    async def look(self, item: RateLimitItem, who: str) -> Wait:
        return None if await self._limiter.test(item, who) else await self._wait(item, who)

    async def check(self) -> None: ...
    async def close(self) -> None: ...

    async def _wait(self, item: RateLimitItem, who: str) -> int:
        expiry = item.get_expiry()
        return wait_s(item.amount, expiry, *await self._storage.get_sliding_window(item.key_for(who), expiry))


def wait_s(quota: int, expiry: int, previous: int, previous_rest: float, current: int, current_rest: float) -> int:
    """Whole seconds, at least 1, until one more fits in. ``*_rest``: seconds until each count no longer matters."""
    if current < quota:
        return max(1, ceil(previous_rest - (quota - current) * expiry / previous)) if previous else 1
    # All of this window's: one fits in as soon as it has become the previous one and begun to fade.
    fading = (current - quota) * expiry / current
    return max(1, ceil(current_rest - expiry + fading))
