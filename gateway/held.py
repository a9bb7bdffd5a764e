"""The audit of a batch: what its single walks found is recorded as delivered only once the whole answer may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TypeVar

from .event import Intent, Outcome, Result, Trail

T = TypeVar("T")


class Held:
    """A trail that holds complete accesses back until it is known whether the answer they belong to may leave."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._kept: list[tuple[Intent, Outcome]] = []

    @property
    def admits_unproven(self) -> bool:
        """As the trail's own."""
        return self._trail.admits_unproven

    def intend(self, intent: Intent) -> Awaitable[None]:
        """As the trail's own."""
        return self._trail.intend(intent)

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        if outcome.result is Result.COMPLETE:
            self._kept.append((intent, outcome))
        else:
            await self._trail.record(intent, outcome)

    def conclude(self, outcome: Outcome) -> None:
        """As the trail's own."""
        self._trail.conclude(outcome)

    async def settled(self) -> None:
        """As the trail's own."""
        await self._trail.settled()

    async def let_go(self, status: int | None = None, reason: str | None = None) -> None:
        """Records what was held back: as refused with ``status`` and ``reason`` where the answer must not leave. Raises Unavailable."""
        kept, self._kept = self._kept, []
        if status is not None:
            kept = [
                (intent, replace(outcome, status=status, result=Result.REFUSED, reason=reason))
                for intent, outcome in kept
            ]
        whole(await asyncio.gather(*(self._trail.record(*each) for each in kept), return_exceptions=True))


def whole(results: Sequence[T | BaseException]) -> list[T]:
    """Raises the first that failed, all of them being over."""
    whole = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        whole.append(result)
    return whole
