"""Questions of one kind that wait for Postgres at the same time, asked in one statement.

One that comes alone goes at once and alone. Where the event loop's turns are long, each statement holds a connection for
several of them: one by one, a pool's few connections would answer a few questions a second, and the others would time out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from ..errors import Unavailable
from .tasks import Tasks

FLIGHTS: Final = 4
"""Statements of one kind under way at once."""
MOST: Final = 200
"""Questions that one statement carries."""

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """``carry`` is asked for some keys, and has an answer for each, in their order. It is run in a task that no caller cancels."""

    def __init__(self, tasks: Tasks, carry: Callable[[Sequence[K]], Awaitable[Sequence[V]]]) -> None:
        self._tasks = tasks
        self._carry = carry
        self._waiting: deque[tuple[K, asyncio.Future[V]]] = deque()
        self._flights = 0
        self._boarding = False
        """A flight was called that has not left yet: it takes whoever comes meanwhile."""

    def ask(self, key: K) -> asyncio.Future[V]:
        """The answer to ``key``, by a statement sent after this call, never by one that is under way. Raises what ``carry`` does."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if not self._boarding and self._flights < FLIGHTS:
            self._boarding = True
            self._flights += 1
            self._tasks.start(self._fly())
        return answer

    async def _fly(self) -> None:
        self._boarding = False
        try:
            while self._waiting:
                await self._take(self._board())  # kept under no name here: what is raised leads back to this frame, too
        finally:
            self._flights -= 1

    def _board(self) -> list[tuple[K, asyncio.Future[V]]]:
        return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]

    async def _take(self, aboard: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        waiting = [answer for _, answer in aboard]
        try:
            values = await self._carry([key for key, _ in aboard])
        except Exception as error:  # noqa: BLE001 - every kind of it is told to whoever asked
            if len(aboard) == 1 or isinstance(error, Unavailable):
                _fail(waiting, error)
                del waiting, aboard  # what was raised leads back to here, and both would stay until a collection
                return
        except BaseException:
            for answer in waiting:
                answer.cancel()
            raise
        else:
            for answer, value in zip(waiting, values, strict=True):
                if not answer.done():
                    answer.set_result(value)
            return
        for one in aboard:  # one of them may be at fault, and no other's answer
            await self._take([one])
            if not one[1].cancelled() and isinstance(away := one[1].exception(), Unavailable):
                _fail(waiting, away)  # an outage is everybody's here as well
                return


def _fail(waiting: Sequence[asyncio.Future[V]], error: Exception) -> None:
    for answer in waiting:
        if not answer.done():
            answer.set_exception(error)
