"""From this process's journal to the sink, in order; and away with the files that are done with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import structlog

from .. import config
from .courier import Courier
from .frames import OPEN
from .journal import Journal, NotDurable, Segment
from .portion import Portion
from .quarantine import Quarantine
from .segments import Chunk, Damage, read_batch
from .threads import OwnThread
from .trail import JournalTrail

_log = structlog.get_logger(__name__)

CARRY_SHARE = 4
"""Files are deleted once they hold this many times the bytes needed to carry their open events on."""
PAUSE_S = 1.0
"""Seconds until a file that cannot be read, or could not go yet, is tried again."""


class Shipper:
    """Reads what is durable, has it delivered, confirms it to the journal.

    A file is deleted when all of it was delivered; the events in it that are still open are mentioned anew before. Where
    this process was in a file is nowhere kept: after a crash what is left is delivered again, which changes nothing.
    """

    def __init__(
        self, journal: Journal, trail: JournalTrail, courier: Courier, quarantine: Quarantine, settings: config.Audit
    ) -> None:
        self._journal = journal
        self._trail = trail
        self._courier = courier
        self._quarantine = quarantine
        self._portion = Portion(settings.batch)
        self._interval_s = settings.ship_interval_ms / 1000
        self._thread = OwnThread("audit-shipper")
        self._offset = 0
        """Where delivery stands in the oldest of the journal's segments."""
        self._done: list[Segment] = []
        """Delivered as a whole and not deleted yet."""
        self._finishing = asyncio.Event()
        self.problem: str | None = None
        """Why the journal cannot be read; None: it can."""

    async def run(self) -> None:
        """Ships until it is cancelled; or, after ``finish``, until nothing durable is left to ship."""
        try:
            while True:
                self._advance()
                if self._behind():
                    if not await self._ship():
                        await self._pause(self._interval_s)
                elif self._finishing.is_set():
                    break
                else:
                    self._journal.grown.clear()
                    await self._tidy()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(PAUSE_S if self._done else None):
                            await self._journal.grown.wait()
        finally:
            self._thread.close()

    def finish(self) -> None:
        """Nothing more will be appended: hurry, and end when all is shipped."""
        self._finishing.set()
        self._journal.grown.set()

    def _behind(self) -> bool:
        return bool(self._journal.segments) and self._offset < self._journal.segments[0].end

    def _advance(self) -> None:
        """Over files that are delivered, as far as nothing will be added to them."""
        segments = self._journal.segments
        while segments and segments[0].sealed and self._offset >= segments[0].end:
            self._done.append(segments.popleft())
            self._offset = 0

    async def _ship(self) -> bool:
        """One batch. Whether it was a full one, so that there may be more."""
        segment = self._journal.segments[0]
        size = self._portion.size(self._journal.oldest_s)
        began = monotonic()
        try:
            chunk = self._fresh(segment, size)
            if chunk is None:
                chunk = await self._thread.run(self._read, segment, size)
        except OSError as error:
            if self.problem is None:
                _log.error("audit_journal_unreadable", segment=str(segment.path), problem=str(error))
            self.problem = str(error)
            await asyncio.sleep(PAUSE_S)  # also while finishing: hurrying would only read it again at once
            return True
        self.problem = None
        records = [record for record in chunk.records if record[0] != OPEN]
        await self._courier.deliver(records)
        self._journal.confirm(chunk.offset - self._offset, len(records))
        self._offset = chunk.offset
        self._portion.took(len(chunk.records), monotonic() - began)
        self._advance()
        await self._tidy()
        return len(chunk.records) >= size

    async def _tidy(self) -> None:
        """Deletes delivered files, once carrying their open events on costs little beside their size."""
        if not self._done:
            return
        if self._journal.problem is not None:
            await self._make_room()
            return
        newest = self._done[-1]
        if self._trail.carry_size(newest) * CARRY_SHARE > sum(segment.end for segment in self._done):
            return
        with suppress(NotDurable):
            await self._trail.carry(newest)
            done, self._done = self._done, []
            await self._thread.run(_delete, done)

    async def _make_room(self) -> None:
        """While the journal cannot be written, deletes the files that no event needs any more.

        Where there are none and the disk is full, the oldest file goes that only outcomes still in memory refer to:
        without that room they could never be written.
        """
        done: list[Segment] = []
        awaited: list[Segment] = []
        before = 0
        for segment in self._done:
            if not self._trail.needs(segment, before):
                (awaited if self._trail.awaits(segment, before) else done).append(segment)
            before = segment.last_entry
        if not done and self._journal.full:
            done = awaited[:1]
        self._done = [segment for segment in self._done if segment not in done]
        await self._thread.run(_delete, done)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._finishing.wait()

    def _fresh(self, segment: Segment, size: int) -> Chunk | None:
        found = self._journal.unconfirmed(segment.end - self._offset, size)
        return None if found is None else Chunk(found[0], self._offset + found[1])

    def _read(self, segment: Segment, size: int) -> Chunk:
        """Blocks; raises OSError."""
        try:
            chunk = read_batch(segment.path, self._offset, segment.end, size)
        except FileNotFoundError:  # removed by somebody: told, and passed over
            chunk = Chunk([], segment.end, [Damage(self._offset, b"", torn=False)])
        self._quarantine.keep_damage(segment.path, chunk.damaged)
        return chunk


def _delete(segments: Sequence[Segment]) -> None:
    for segment in segments:
        with suppress(OSError):  # found again, and delivered again, when the folder is adopted
            segment.path.unlink(missing_ok=True)
