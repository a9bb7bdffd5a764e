"""This process's journal as its event loop sees it: what waits for the disk, what is durable, what is not shipped yet."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from .. import config
from ..rounds import COMMIT, Rounds
from .folders import Folder
from .frames import Record
from .fresh import Fresh
from .segments import DISK_FILES, Files
from .writer import Commit, Entry, Failure, NotDurable, Report, Waiter, Writer

__all__ = ["Journal", "NotDurable", "Segment"]

_log = structlog.get_logger(__name__)

LINGER_S = 0.02
"""Seconds an entry nobody waits for may wait for company."""
AGE_STEP_S = 1.0
"""How finely the age of what is not shipped is known."""
ALONE = 32
"""Commits in a row that one waiter had to himself, after which the next waiter is not made to wait for company."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_FIX = "see audit.journal_dir: the service's user must be able to write there, and the disk have room"


@dataclass(slots=True, eq=False)
class Segment:
    """One file of the journal, as far as it is durable."""

    path: Path
    end: int = 0
    last_entry: int = 0
    """The last of the journal's entries in it, counted from 1."""
    sealed: bool = False
    """Nothing will be added."""


class Journal:
    """Append, wait until it is durable, confirm what was shipped. For one event loop; only the files have a thread."""

    def __init__(self, settings: config.Audit, files: Files = DISK_FILES, rounds: Rounds | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds = rounds or Rounds()
        self._patience_s = settings.commit_s
        self._root = settings.journal_dir
        self._writer: Writer = Writer(
            settings.journal_dir,
            segment_bytes=settings.segment_bytes,
            gather_s=settings.gather_ms / 1000,
            files=files,
            report=self._report,
        )
        self._waiting: deque[tuple[float, Waiter]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._ringing = False
        self._alone = 0
        self._fresh = Fresh()
        self._ages: deque[tuple[int, float]] = deque()
        """(bytes ever durable before then, then)"""
        self.durable = 0
        """Bytes that became durable, ever."""
        self.durable_entries = 0
        """Of ``entries``, the first so many are durable."""
        self._confirmed = 0
        self.entries = 0
        """Entries appended, ever."""
        self.used = 0
        """Bytes appended and not confirmed, durable or not."""
        self.records = 0
        """Records appended and not confirmed."""
        self.problem: str | None = None
        """Why nothing can be made durable at present; None: all is well."""
        self.full = False
        """Whether the last that could not be written found no room on its disk."""
        self.segments: deque[Segment] = deque()
        """The files that hold anything, oldest first. The shipper takes away those that are done with."""
        self.grown = asyncio.Event()
        """Set whenever more is durable."""

    async def start(self) -> None:
        """Returns once the journal's folder was made, or could not be: then ``problem`` says why, and it goes on trying."""
        self._writer.start()
        if not await asyncio.to_thread(self._writer.wait_ready, self._patience_s) and self.folder is None:
            self._trouble(f"{self._root}: the disk does not answer")

    @property
    def folder(self) -> Folder | None:
        """This process's own, once it could be made."""
        return self._writer.folder

    @property
    def oldest_s(self) -> float:
        """Seconds, to about one, since the oldest record that is not shipped became durable."""
        return self._loop.time() - self._ages[0][1] if self._ages else 0.0

    def append(self, data: bytes, records: int = 1) -> None:
        """Takes framed records that nobody waits for; they are durable soon, or when the disk allows."""
        self._take(Entry(data, len(data), None), records)
        if self._lingering is None:
            self._lingering = self._loop.call_later(LINGER_S, self._ring)

    def commit(self, data: bytes, records: int = 1) -> tuple[Entry, asyncio.Future[None]]:
        """Takes framed records at once. The waiter is done when they are durable, or raises NotDurable."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        return self.commit_for(waiter, data, records), waiter

    def commit_for(self, waiter: Waiter, data: bytes, records: int = 1) -> Entry:
        """As ``commit``, for whoever is told by ``waiter``."""
        entry = Entry(data, len(data), waiter)
        self._take(entry, records)
        self._waiting.append((self._loop.time() + self._patience_s, waiter))
        if self._watch is None:
            self._watch = self._loop.call_later(self._patience_s, self._look_for_late)
        if self._alone >= ALONE:
            self._writer.ring()
        elif not self._ringing:
            # Behind all that the loop is about to do: it comes along, and what sends to a store is not kept from it by
            # a thread that wants its turn.
            self._ringing = True
            self._rounds.add(COMMIT, self._ring_for_all)
        return entry

    def confirm(self, size: int, records: int) -> None:
        """So many bytes and records, the oldest, have arrived where they were to go."""
        self.used -= size
        self.records = max(0, self.records - records) if self.used else 0
        self._confirmed += size
        while len(self._ages) > 1 and self._ages[1][0] <= self._confirmed:
            self._ages.popleft()
        if self._confirmed == self.durable:
            self._ages.clear()

    def unconfirmed(self, size: int, limit: int) -> tuple[list[Record], int] | None:
        """The oldest records that are not confirmed, ``limit`` at most, and how many of the ``size`` bytes from there they take.

        None: they are in the files alone.
        """
        return self._fresh.take(self._confirmed, size, limit)

    async def drain(self) -> bool:
        """Waits until all that was appended is durable. False: it is not, after ``commit_s``."""
        self._writer.ring()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                while self.durable_entries < self.entries:
                    self.grown.clear()
                    await self.grown.wait()
        return self.durable_entries == self.entries

    async def close(self) -> None:
        """Writes what waits and seals the file. The folder stays, and stays this process's."""
        for timer in (self._watch, self._lingering):
            if timer is not None:
                timer.cancel()
        left = await asyncio.to_thread(self._writer.stop, self._patience_s)
        await asyncio.sleep(0)  # for what the thread told last
        self._give_up_all("journal_failed")
        if left:
            _log.error("audit_entries_lost", entries=left, problem=self.problem)

    def _take(self, entry: Entry, records: int) -> None:
        self.entries += 1
        self.records += records
        self.used += entry.size
        self._writer.put(entry)

    def _ring(self) -> None:
        self._lingering = None
        self._writer.ring()

    def _ring_for_all(self) -> None:
        self._ringing = False
        self._writer.ring()

    def _report(self, report: Report) -> None:
        """On the writer's thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._hear, report)

    def _hear(self, report: Report) -> None:
        match report:
            case Commit():
                self._committed(report)
            case Failure():
                self._failed(report)
        if not isinstance(report, Failure) and self.problem is not None:
            _log.info("audit_journal_recovered", problem=self.problem)
            self.problem, self.full = None, False

    def _committed(self, commit: Commit) -> None:
        self._note(commit)
        waiters = [entry.waiter for entry in commit.entries if entry.waiter is not None]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if waiters:
            self._alone = self._alone + 1 if len(waiters) == 1 else 0
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        self.grown.set()

    def _note(self, commit: Commit) -> None:
        """Which file has grown, and by how much."""
        segment = self.segments[-1] if self.segments else None
        if segment is None or segment.path != commit.segment:
            if segment is not None:
                segment.sealed = True
            segment = Segment(commit.segment)
            self.segments.append(segment)
        now = self._loop.time()
        if not self._ages or now - self._ages[-1][1] > AGE_STEP_S:
            self._ages.append((self.durable, now))
        written = commit.end - segment.end
        self._fresh.add(self.durable, commit.data)
        self.durable += written
        self.durable_entries += len(commit.entries) - commit.again
        # The two differ where an entry's data was replaced, or written again.
        self.used += written - sum([entry.size for entry in commit.entries])
        segment.end, segment.last_entry = commit.end, self.durable_entries

    def _failed(self, failure: Failure) -> None:
        """Whoever waits is told at once, the entries of the failed write or not: none of them can be written now."""
        self._trouble(str(failure.error))
        self.full = failure.error.errno in _NO_ROOM
        self._give_up_all("journal_failed")

    def _look_for_late(self) -> None:
        self._watch = None
        now = self._loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            waiter = self._waiting.popleft()[1]
            if not waiter.done():
                self._trouble(f"{self._root}: a write takes longer than {self._patience_s:g} s")
                self._give_up(waiter, "journal_timeout")
        if self._waiting:
            self._watch = self._loop.call_at(self._waiting[0][0], self._look_for_late)

    def _give_up_all(self, reason: str) -> None:
        while self._waiting:
            self._give_up(self._waiting.popleft()[1], reason)

    def _give_up(self, waiter: Waiter, reason: str) -> None:
        if not waiter.done():
            waiter.set_exception(NotDurable(reason, self.problem or reason))
            waiter.exception()  # seen, also where nobody awaits it

    def _trouble(self, problem: str) -> None:
        if self.problem is None:
            _log.error("audit_journal_unwritable", problem=problem, journal=str(self._root), fix=_FIX)
        self.problem = problem
