"""The audit of a batch: its calls are recorded as delivered only once the whole answer may leave."""

from __future__ import annotations

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

    async def record_all(self, accesses: Sequence[tuple[Intent, Outcome]]) -> None:
        """Each as by itself."""
        for each in accesses:
            await self.record(*each)

    def conclude(self, outcome: Outcome) -> None:
        """As the trail's own."""
        self._trail.conclude(outcome)

    async def settled(self) -> None:
        """As the trail's own."""
        await self._trail.settled()

    async def let_go(self, intent: Intent, outcome: Outcome) -> None:
        """The answer, whose own event this is, may leave: records that and all that was held back, or nothing. Raises Unavailable."""
        kept, self._kept = self._kept, []
        await self._trail.record_all([*kept, (intent, outcome)])

    async def turn_back(self, status: int, reason: str | None) -> None:
        """The answer must not leave: records what was held back as refused. Raises Unavailable."""
        kept, self._kept = self._kept, []
        if kept:
            await self._trail.record_all(
                [
                    (intent, replace(outcome, status=status, result=Result.REFUSED, reason=reason))
                    for intent, outcome in kept
                ]
            )


def whole(results: Sequence[T | BaseException]) -> list[T]:
    """The results of tasks that have all ended; raises the first exception among them."""
    whole = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        whole.append(result)
    return whole
