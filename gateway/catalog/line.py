"""What is known of the connection to Postgres: whether NOTIFYs of changes arrive, and whether it answers questions."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import Unavailable

AWAY = "Postgres was away a moment ago"
PAUSE_S = 1.0
"""Seconds after a failed question in which no other is asked, so that not everybody waits out the connect timeout."""
PATIENCE_S = 1.0
"""Seconds to wait for Postgres before a remembered answer is used instead."""
_CHANGES_KEPT = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when a question was asked."""

    at: float
    restored: int
    changes: int


class Line:
    """Not heard at first. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.heard = False
        self.turns = 0
        """How often it was lost or restored."""
        self._lost_at = -math.inf
        self._restored = 0
        self._changes = 0
        self._changed: dict[str, int] = {}
        self._forgotten = 0
        self._under_way: dict[object, float] = {}
        self._answered_at = -math.inf
        self._closed_until: float | None = None
        self._trial = False

    # --- changes

    def restored(self) -> None:
        """From now on every change is heard; what was learned before may be out of date."""
        self.heard = True
        self.turns += 1
        self._restored += 1
        self._closed_until = None

    def lost(self) -> None:
        """From now on changes go unheard."""
        if self.heard:
            self.heard = False
            self.turns += 1
            self._lost_at = self.clock()
            self._changes += 1

    def changed(self, tag: str) -> None:
        """What ``tag`` names has changed: an answer to a question asked before is void."""
        self._changes += 1
        if not self._under_way:
            return
        if len(self._changed) >= _CHANGES_KEPT:
            self._changed.clear()
            self._forgotten = self._changes
        self._changed[tag] = self._changes

    def known_at(self, asked_at: float) -> float:
        """Until when an answer asked for at ``asked_at``, and not dropped since, is known to have been true."""
        return self.clock() if self.heard else max(asked_at, self._lost_at)

    # --- questions

    def open(self) -> bool:
        """May Postgres be asked? After a failure nobody may for a moment; then one goes ahead, and its answer decides."""
        if self._closed_until is None:
            return True
        if self._trial or self.clock() < self._closed_until:
            return False
        self._trial = True
        return True

    def overdue(self) -> bool:
        """Whether some question has been waiting for longer than PATIENCE_S: Postgres may well hang."""
        oldest = next(iter(self._under_way.values()), None)
        return oldest is not None and self.clock() - oldest > PATIENCE_S

    def mark(self) -> Mark:
        return Mark(self.clock(), self._restored, self._changes)

    async def ask(self, question: Callable[[Mark], Awaitable[T]], *, lengthy: bool = False) -> T:
        """Asks, and learns from it whether Postgres answers. To be run in a task that no caller cancels.

        A failed question does not count as an outage if another was answered meanwhile: this process may have been too busy.
        While it runs, ``question`` may call ``holds`` with its Mark, unless it is ``lengthy``. A lengthy question may be slow
        by its own fault: neither its duration nor, while others are answered, its failure counts as an outage.
        """
        mark, this = self.mark(), object()
        if not lengthy:
            self._under_way[this] = mark.at
        try:
            answer = await question(mark)
        except Unavailable:
            if self._answered_at <= mark.at and (not lengthy or self._closed_until is not None):
                self._closed_until = self.clock() + PAUSE_S
            raise
        except BaseException:
            self._answered()
            raise
        else:
            self._answered()
            return answer
        finally:
            self._trial = False
            self._under_way.pop(this, None)
            if not self._under_way:
                self._changed.clear()

    def _answered(self) -> None:
        self._answered_at = self.clock()
        self._closed_until = None

    def unchanged_since(self, mark: Mark) -> bool:
        """Whether no change was heard since ``mark``, and the line was neither lost nor restored."""
        return (mark.restored, mark.changes) == (self._restored, self._changes)

    def holds(self, mark: Mark, tags: Iterable[str]) -> bool:
        """Whether the answer to a question still running may be kept: it was not overtaken by a change, heard or not."""
        if mark.restored != self._restored or mark.changes < self._forgotten:
            return False
        return all(self._changed.get(tag, 0) <= mark.changes for tag in tags)
