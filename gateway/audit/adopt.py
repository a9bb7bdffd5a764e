"""Journals of processes that died: what they held is delivered, what they left open is closed as interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from .. import config
from .courier import Courier
from .events import OpenEvents
from .folders import Folder, folders_of
from .frames import Kind
from .portion import BACKLOG
from .quarantine import Quarantine
from .segments import Chunk, filled, read_batch, segments_of
from .threads import OwnThread

_log = structlog.get_logger(__name__)

RELEASE_S = 1.0
"""Seconds that giving folders back may take; a process that ends gives them back anyway."""


class Adopter:
    """Looks for folders whose owner is gone, under a folder that any number of living processes may share.

    Holding a folder's lock is owning it, so of several adopters one gets it; should that one die amidst it, the next
    begins anew, and delivering again changes nothing. An event is closed as ``interrupted`` when its journal holds no
    outcome: status 0, bytes not known, completed at the time of adoption. Where an outcome had been delivered and its
    file deleted, the sink keeps that one, for it came first.
    """

    def __init__(
        self, courier: Courier, quarantine: Quarantine, settings: config.Audit, held: Callable[[int], None]
    ) -> None:
        """``held`` is told how many bytes are adopted and not delivered, whenever that changes."""
        self._courier = courier
        self._quarantine = quarantine
        self._root = settings.journal_dir
        self._batch = min(settings.batch, BACKLOG)
        self._interval_s = settings.adopt_interval_s
        self._held = held
        self._thread = OwnThread("audit-adopter")
        self._mine: dict[Folder, dict[Path, int]] = {}
        """Folder → segment → bytes of it that are not delivered."""

    async def run(self) -> None:
        """Looks every ``adopt_interval_s`` until it is cancelled; folders it still holds are then released for others."""
        try:
            while True:
                await self._thread.run(self._take)
                await self._settle()
                await asyncio.sleep(self._interval_s)
        finally:
            await self._thread.end(self._release, RELEASE_S)

    def _release(self) -> None:
        for folder in self._mine:
            folder.release()

    def _take(self) -> None:
        """Blocks."""
        try:
            paths = folders_of(self._root)
        except OSError as error:
            _log.error("audit_journals_not_listed", journal=str(self._root), problem=str(error))
            return
        for path in paths:
            try:
                if (folder := Folder.take(path)) is not None:
                    self._hold(folder)
            except OSError as error:
                _log.error("audit_journal_not_adopted", folder=path.name, problem=str(error))

    def _hold(self, folder: Folder) -> None:
        try:
            segments = {segment: filled(segment) for segment in segments_of(folder.path)}
        except OSError:
            folder.release()
            raise
        self._mine[folder] = segments
        _log.info("audit_journal_adopted", folder=folder.path.name, segments=len(segments))

    async def _settle(self) -> None:
        self._tell()
        for folder in list(self._mine):
            try:
                await self._deliver(folder)
            except (OSError, ValueError, KeyError, TypeError) as error:
                defect = not isinstance(error, OSError)
                _log.error("audit_journal_not_adopted", folder=folder.path.name, problem=str(error), exc_info=defect)
                folder.release()
            del self._mine[folder]
            self._tell()

    async def _deliver(self, folder: Folder) -> None:
        seen = OpenEvents()
        segments = self._mine[folder]
        for segment in list(segments):
            offset = 0
            while (chunk := await self._thread.run(self._read, segment, offset, seen)).offset > offset:
                offset = chunk.offset
                await self._courier.deliver([record for record in chunk.records if record[0] != Kind.OPEN])
            segments[segment] = 0
            self._tell()
        interrupted = seen.interrupted(datetime.now(UTC))
        for at in range(0, len(interrupted), self._batch):
            await self._courier.deliver([(Kind.OUTCOME, outcome) for outcome in interrupted[at : at + self._batch]])
        await self._thread.run(_remove, folder)
        _log.info("audit_journal_settled", folder=folder.path.name, interrupted=len(interrupted))

    def _read(self, segment: Path, offset: int, seen: OpenEvents) -> Chunk:
        """Blocks."""
        chunk = read_batch(segment, offset, None, self._batch)
        self._quarantine.keep_damage(segment, chunk.damaged)
        for kind, payload in chunk.records:
            seen.see(kind, payload)
        return chunk

    def _tell(self) -> None:
        self._held(sum(sum(sizes.values()) for sizes in self._mine.values()))


def _remove(folder: Folder) -> None:
    for segment in segments_of(folder.path):
        segment.unlink(missing_ok=True)
    folder.remove()
