"""Who touched what, and how it ended: durable on this machine before anything leaves, in Postgres soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from .. import config
from ..errors import Unavailable
from ..event import Sink
from ..postgres import Pool
from ..rounds import Rounds
from .adopt import Adopter
from .courier import Courier
from .folders import Folder, refuse_barred
from .journal import Journal
from .postgres import PostgresSink, keep_partitions
from .quarantine import Quarantine
from .segments import DISK_FILES, Files, segments_of
from .sessions import Sessions
from .shipper import Shipper
from .trail import JournalTrail

__all__ = ["Audit", "JournalTrail", "Sessions", "Stats"]

_log = structlog.get_logger(__name__)

GRACE_S = 1.0
"""Seconds that a write to Postgres which nobody waits for any more has to end."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How the audit stands, for readiness and metrics."""

    waiting_bytes: int
    """Journalled, or about to be, and not in Postgres; those of dead processes among them."""
    waiting_records: int
    """The same in records, this process's own."""
    bound_bytes: int
    oldest_s: float
    """Seconds since the oldest of them became durable, to about one."""
    open_events: int
    delivered: int
    """Records that reached Postgres since the process started."""
    quarantined: int
    """Records and damaged places set aside since the process started."""
    journal_problem: str | None
    """Why nothing can be made durable: every access is refused meanwhile."""
    shipping_problem: str | None
    """Why nothing reaches Postgres: the journal grows meanwhile."""
    admits: bool
    """Whether an access can be recorded now."""


class Audit:
    """All of it, from entering to leaving ``async with``: journal, trail, shipping, adoption, partitions.

    It starts whatever the disk and Postgres say (``check`` tells), but for a file in the folder's place: ConfigError. When
    left, it takes up to ``flush_s`` seconds to bring everything to Postgres; what is left by then stays in the journal, and is
    adopted by the next process to come.
    """

    def __init__(self, settings: config.Audit, pool: Pool, *, flush_s: float, rounds: Rounds | None = None) -> None:
        self._settings = settings
        self._pool = pool
        self._flush_s = flush_s
        self._rounds = rounds
        self._files: Files = DISK_FILES
        self._sink: Sink = PostgresSink(pool)
        self.sessions = Sessions(settings.session_idle_s)

    async def __aenter__(self) -> Self:
        settings = self._settings
        refuse_barred(settings.journal_dir)
        self._journal = Journal(settings, self._files, self._rounds)
        self.trail = JournalTrail(self._journal, settings)
        self._quarantine = Quarantine(settings.journal_dir)
        self._courier = Courier(self._sink, self._quarantine, retry_max_s=settings.retry_max_s)
        self._shipper = Shipper(self._journal, self.trail, self._courier, self._quarantine, settings)
        adopter = Adopter(self._courier, self._quarantine, settings, self._inherit)
        await self._journal.start()
        self._shipping = self._begin(self._shipper.run(), "audit-shipper")
        self._others = [
            self._begin(adopter.run(), "audit-adopter"),
            self._begin(keep_partitions(self._pool, settings.partitions_ahead), "audit-partitions"),
        ]
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.trail.close()
        for task in self._others:
            task.cancel()
        try:
            async with asyncio.timeout(self._flush_s):
                await self._journal.drain()
                self._shipper.finish()
                await asyncio.wait([self._shipping])
        except TimeoutError:
            _log.warning("audit_left_journalled", bytes=self._journal.used, problem=self._courier.problem)
        self._shipping.cancel()
        await asyncio.wait([self._shipping, *self._others])
        await self._courier.close(GRACE_S)
        await self._journal.close()
        if (folder := self._journal.folder) is not None:
            await asyncio.to_thread(_clear, folder, everything=not self._journal.used)

    def stats(self) -> Stats:
        """Now."""
        journal, courier = self._journal, self._courier
        return Stats(
            waiting_bytes=journal.used + self.trail.inherited,
            waiting_records=journal.records,
            bound_bytes=self._settings.journal_bytes,
            oldest_s=journal.oldest_s,
            open_events=self.trail.open_events,
            delivered=courier.delivered,
            quarantined=self._quarantine.records + self._quarantine.damages,
            journal_problem=journal.problem,
            shipping_problem=self._shipper.problem or courier.problem,
            admits=self.trail.admits,
        )

    async def check(self) -> None:
        """Can an access be recorded now? Raises Unavailable, saying why not."""
        stats = self.stats()
        if not stats.admits:
            why = f" ({stats.shipping_problem})" if stats.shipping_problem else ""
            raise Unavailable(
                stats.journal_problem or f"audit.journal_bytes: {stats.waiting_bytes} bytes wait for Postgres{why}"
            )

    def _begin(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_ended)
        return task

    def _inherit(self, waiting: int) -> None:
        self.trail.inherited = waiting


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("audit_task_died", task=task.get_name(), exc_info=error)


def _clear(folder: Folder, *, everything: bool) -> None:
    """Where ``everything`` in it was delivered, the folder goes; else it is left to be adopted."""
    try:
        if everything:
            for segment in segments_of(folder.path):
                segment.unlink(missing_ok=True)
            folder.remove()
    except OSError as error:
        _log.error("audit_journal_not_removed", folder=str(folder.path), problem=str(error))
    finally:
        folder.release()
