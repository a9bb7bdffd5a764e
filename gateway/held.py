"""Accesses that end together: what several walks found is on record as left only once all of it may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TypeVar

from .event import Intent, Outcome, Result, Trail

T = TypeVar("T")


class Held:
    """A trail that keeps back what is complete, until it is known whether the answer that it stands in may leave."""

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
        """``status`` and ``reason``: why none of it leaves. Raises Unavailable."""
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
