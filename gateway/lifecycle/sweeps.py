"""Sweeps in the background of a gateway, at intervals."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import structlog

from ..errors import Unavailable
from .retention import Fate, Summary, Sweeper

log = structlog.get_logger("gateway.retention")

FIRST_S: Final = 60.0
"""Most seconds until the first sweep, and until the next one after Postgres was away."""
LAST_S: Final = 5.0
"""Seconds that a batch under way gets to end when the gateway stops."""


class Sweeps:
    """One after another from entering to leaving ``async with``. Replicas begin at moments of their own."""

    def __init__(self, sweeper: Sweeper, interval_s: float) -> None:
        self._sweeper = sweeper
        self._interval_s = interval_s
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="retention")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.wait((self._task,), timeout=LAST_S)
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        await self._pause(random.uniform(0, min(FIRST_S, self._interval_s)))  # noqa: S311 - spreads, hides nothing
        while not self._stop.is_set():
            await self._pause(await self._sweep() * random.uniform(0.9, 1.1))  # noqa: S311  likewise

    async def _sweep(self) -> float:
        """Returns the seconds until the next one."""
        try:
            swept = await self._sweeper.sweep(stop=self._stop)
        except Unavailable as error:
            log.warning("retention_interrupted", problem=error.detail)
            return min(FIRST_S, self._interval_s)
        except Exception:
            log.exception("retention_failed")
            return self._interval_s
        if swept is not None and swept.fates:
            _tell(swept)
        return self._interval_s

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def _tell(swept: Summary) -> None:
    troubled = swept.fates.keys() & {Fate.FAILED, Fate.PUT_OFF}
    say = log.warning if troubled else log.info
    say("retention_swept", bytes=swept.bytes, **{fate.value: count for fate, count in sorted(swept.fates.items())})
