"""What happened, as the one path tells it: intents made durable before anything leaves, outcomes after."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from .. import config
from ..errors import Unavailable
from ..event import Intent, Outcome, Result
from .events import intent_frame, open_frame, outcome_frame
from .frames import INTENT, OUTCOME, frame
from .journal import Journal, NotDurable, Segment
from .renewed import Event, Likeness, Renewed, encode_complete

OUTCOME_ROOM = 512
"""Bytes kept free for the outcome of each open event; a frame of one has about 240."""
ACCESS_ROOM = 4096
"""Bytes that one access takes at the most; most take about 700."""
OPEN_SIZE = 80
"""Bytes of one event in an OPEN frame."""
OPEN_AT_ONCE = 1000
"""Events in one such frame, which must stay below MAX_PAYLOAD."""


@dataclass(slots=True)
class _Open:
    occurred_at: datetime
    entry: int
    """The last of the journal's entries that mentions it."""


class _Intended:
    """What ``intend`` gives: no task of its own, and nothing to heed where nobody awaits it."""

    __slots__ = ("_durable", "_intent", "_trail")

    def __init__(self, trail: JournalTrail, intent: Intent, durable: asyncio.Future[None]) -> None:
        self._trail = trail
        self._intent = intent
        self._durable = durable

    def __await__(self) -> Generator[Any, None, None]:
        try:
            yield from self._durable
        except NotDurable as error:
            self._trail.conclude(_refused(self._intent, error.reason))
            raise Unavailable(str(error)) from error


class JournalTrail:
    """A ``event.Trail`` on this process's journal. For one event loop.

    Each admitted event gets exactly one outcome. Normally the caller gives it by ``conclude``, even where the awaitable
    of ``intend`` was cancelled or never awaited. Where that awaitable raised Unavailable, the trail itself concludes the
    event (refused, journal_failed or journal_timeout), as its intent may be durable all the same, now or later; an outcome
    given by the caller is ignored then.
    """

    def __init__(self, journal: Journal, settings: config.Audit) -> None:
        self._journal = journal
        self._bound = settings.journal_bytes
        self._open: dict[int, _Open] = {}
        """By the events' numbers, for UUIDs are slow to make and to hash."""
        self._ended: deque[tuple[int, int]] = deque()
        """Concluded events whose outcome may not be durable yet: the journal's entry of the outcome, and the last entry before it."""
        self._closed = False
        self.inherited = 0
        """Bytes in the journals of dead processes, which count against the bound as well."""

    @property
    def open_events(self) -> int:
        return len(self._open)

    @property
    def admits_unproven(self) -> bool:
        """False: denials of strangers should not be recorded now, or a flood of them would fill the journal and shut everybody out."""
        return self._journal.problem is None and self._taken() < self._bound / 2

    @property
    def admits(self) -> bool:
        """Whether one more access, of any size, could be recorded now."""
        return self._journal.problem is None and self._taken() + ACCESS_ROOM <= self._bound

    def intend(self, intent: Intent) -> Awaitable[None]:
        frame = intent_frame(intent)
        self._admit(len(frame) + OUTCOME_ROOM)
        _, durable = self._journal.commit(frame)
        self._open[intent.event_id.int] = _Open(intent.occurred_at, self._journal.entries)
        return _Intended(self, intent, durable)

    def intend_again(
        self,
        like: Likeness,
        event: Event,
        request_id: str,
        asked: bytes,
        session: bytes,
        *,
        told: Callable[[], None],
    ) -> Renewed:
        """As ``intend``, for an access like one before: ``told`` is called once it is durable, or cannot be made so."""
        data = frame(INTENT, like.encode(event, request_id, asked, session))
        self._admit(len(data) + OUTCOME_ROOM)

        def conclude(reason: str) -> None:
            self.conclude(Outcome(event.id, event.occurred_at, datetime.now(UTC), 503, 0, Result.REFUSED, reason))

        renewed = Renewed(told, conclude)
        self._journal.commit_for(renewed, data)
        self._open[event.number] = _Open(event.occurred_at, self._journal.entries)
        return renewed

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        await self.record_all(((intent, outcome),))

    async def record_all(self, accesses: Sequence[tuple[Intent, Outcome]]) -> None:
        frames = _frames(accesses)
        self._admit(len(frames))
        entry, durable = self._journal.commit(frames, 2 * len(accesses))
        try:
            await durable
        except NotDurable as error:
            # Nothing left after all. Only a write that is under way at this moment can still say otherwise.
            entry.data = _frames([(intent, _refused(intent, error.reason)) for intent, _ in accesses])
            raise Unavailable(str(error)) from error

    def conclude(self, outcome: Outcome) -> None:
        known = self._open.pop(outcome.event_id.int, None)
        if known is not None:
            self._append(outcome_frame(outcome), known)

    def complete(self, event: Event, status: int, bytes_sent: int) -> None:
        """As ``conclude``, for what is complete."""
        known = self._open.pop(event.number, None)
        if known is not None:
            self._append(frame(OUTCOME, encode_complete(event, status, bytes_sent)), known)

    def _append(self, outcome: bytes, known: _Open) -> None:
        self._journal.append(outcome)
        self._forget_durable()
        self._ended.append((self._journal.entries, known.entry))

    async def settled(self) -> None:
        try:
            await self._settled()
        except NotDurable as error:
            raise Unavailable(str(error)) from error

    def carry_size(self, segment: Segment) -> int:
        """About how many bytes ``carry`` would write."""
        return len(self._last_mentioned(segment)) * OPEN_SIZE

    def needs(self, segment: Segment, before: int) -> bool:
        """Whether the last mention of an open event is in ``segment``, whose entries are those after ``before``."""
        return any(before < known.entry <= segment.last_entry for known in self._open.values())

    def awaits(self, segment: Segment, before: int) -> bool:
        """The same for an event that was concluded, and whose outcome is in memory alone."""
        self._forget_durable()
        return any(before < mentioned <= segment.last_entry for _, mentioned in self._ended)

    async def carry(self, segment: Segment) -> None:
        """Makes ``segment`` dispensable: mentions anew, durably, the open events whose last mention it holds.

        When it returns, outcomes of events that were concluded meanwhile are durable too. Raises NotDurable.
        """
        while events := self._last_mentioned(segment)[:OPEN_AT_ONCE]:
            _, durable = self._journal.commit(open_frame(events), 0)
            entry = self._journal.entries
            await durable
            for event, _ in events:
                if (known := self._open.get(event.int)) is not None:
                    known.entry = entry
        if self.awaits(segment, 0):
            await self._settled()

    def close(self) -> None:
        """Admits nothing more, and concludes events that are still open as interrupted."""
        self._closed = True
        now = datetime.now(UTC)
        for number, known in list(self._open.items()):
            self.conclude(
                Outcome(UUID(int=number), known.occurred_at, now, 0, None, Result.INTERRUPTED, "process_ended")
            )

    async def _settled(self) -> None:
        """Raises NotDurable."""
        _, durable = self._journal.commit(b"", 0)  # behind all that it has
        await durable

    def _forget_durable(self) -> None:
        while self._ended and self._ended[0][0] <= self._journal.durable_entries:
            self._ended.popleft()

    def _taken(self) -> int:
        return self._journal.used + len(self._open) * OUTCOME_ROOM + self.inherited

    def _admit(self, size: int) -> None:
        if self._closed:
            raise Unavailable("the audit is closed: the process is ending")
        if self._journal.problem is not None:
            raise Unavailable(self._journal.problem)
        if self._taken() + size > self._bound:
            raise Unavailable("audit.journal_bytes: the journal is full, and waits for Postgres")

    def _last_mentioned(self, segment: Segment) -> list[tuple[UUID, datetime]]:
        last = segment.last_entry
        return [(UUID(int=number), known.occurred_at) for number, known in self._open.items() if known.entry <= last]


def _frames(accesses: Sequence[tuple[Intent, Outcome]]) -> bytes:
    return b"".join([intent_frame(intent) + outcome_frame(outcome) for intent, outcome in accesses])


def _refused(intent: Intent, reason: str) -> Outcome:
    return Outcome(intent.event_id, intent.occurred_at, datetime.now(UTC), 503, 0, Result.REFUSED, reason)
