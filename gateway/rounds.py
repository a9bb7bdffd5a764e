"""What a round of the event loop brings, done step by step: one thing for all of them, then the next.

Each step runs through code and tables of its own, the kernel's among them. Taken together they are larger than a core's
cache: done for one request after the other, each step finds its own thrown out by the others. And of several sends in a row
only the first finds the receiver asleep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum


class Step(IntEnum):
    """In their order. What one step brings about for a later one is done in the same round."""

    FIND = 0
    BEGIN = 1
    ASK = 2
    """Requests to stores leave."""
    READ = 3
    """What stores have answered is looked at."""
    ANSWER = 4
    WRITE = 5
    """Answers to clients leave."""
    CONCLUDE = 6
    TELL = 7
    COMMIT = 8
    """What came together becomes durable together."""


FIND, BEGIN, ASK, READ, ANSWER, WRITE, CONCLUDE, TELL, COMMIT = Step
"""Under names of the module, for a class is slow to read them off."""


class Rounds:
    """Made inside the loop that it is for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: list[list[Callable[[], None]]] = [[] for _ in Step]
        self._at: int = len(Step)
        """The step that is under way; behind all of them where none is."""
        self._due = False

    def add(self, step: Step, call: Callable[[], None]) -> None:
        """``call`` is called with all others of its step: in this round, where its step is yet to come, or else in the next."""
        self._calls[step].append(call)
        if not self._due and step <= self._at:
            self._due = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._due = False
        calls_by_step = self._calls
        for step, calls in enumerate(calls_by_step):
            if calls:
                self._at = step
                calls_by_step[step] = []
                for call in calls:
                    try:
                        call()
                    except Exception as error:  # noqa: BLE001 - whoever it is, the others are not to wait for nothing
                        self._loop.call_exception_handler({"message": "a step of a round", "exception": error})
        self._at = len(calls_by_step)
