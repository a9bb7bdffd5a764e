"""Getting records into the sink, whatever it takes.

Again and again while it is away; in halves where it refuses one of them, until that one stands alone and is set aside.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from ..errors import Rejected, Unavailable
from ..event import Sink
from .frames import INTENT, OUTCOME, Record
from .quarantine import Quarantine

_log = structlog.get_logger(__name__)

RETRY_S = 0.1
"""Seconds from a first failure to the next try; doubled each time."""
LEAST = 50
"""A batch that fails is halved for the next try, down to so many records: the sink may be slow and not away."""
REMIND_S = 60.0
"""Seconds between log lines about one lasting failure."""

Batch = Sequence[Record]


class Courier:
    """One sink, one quarantine, any number of deliveries at once."""

    def __init__(self, sink: Sink, quarantine: Quarantine, *, retry_max_s: float) -> None:
        self._sink = sink
        self._quarantine = quarantine
        self._retry_max_s = retry_max_s
        self._writes: set[asyncio.Task[None]] = set()
        self._told = 0.0
        self.problem: str | None = None
        """Why the last try failed; None: it did not."""
        self.delivered = 0
        """Records the sink has taken, those among them that it had already."""

    async def deliver(self, records: Batch) -> None:
        """Every record is in the sink, or set aside, when it returns. Cancelled, none is lost: deliver them again."""
        todo, delay = [records] if records else [], RETRY_S
        while todo:
            batch = todo.pop()
            try:
                todo += await self._try(batch)
                delay = RETRY_S
                self._recovered()
            except Exception as error:  # noqa: BLE001 - whatever a sink's trouble is, a record waits; a defect is logged as well
                self._trouble(str(error) if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}")
                todo += _halves(batch) if len(batch) > LEAST else [batch]
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - keeps replicas apart, guards nothing
                delay = min(delay * 2, self._retry_max_s)

    async def close(self, grace_s: float) -> None:
        """Waits for the writes that a cancelled delivery left to themselves, then cancels them, and waits as long again."""
        if self._writes:
            _, late = await asyncio.wait(self._writes, timeout=grace_s)
            for write in late:
                write.cancel()
        if self._writes:
            await asyncio.wait(self._writes, timeout=grace_s)

    async def _try(self, batch: Batch) -> list[Batch]:
        """Delivers the batch, or says in which parts to go on. Raises what the sink and the quarantine do."""
        try:
            await self._write(batch)
        except Rejected as error:
            if len(batch) > 1:
                return _halves(batch)
            await asyncio.to_thread(self._quarantine.keep_record, *batch[0], str(error))
        else:
            self.delivered += len(batch)
        return []

    async def _write(self, batch: Batch) -> None:
        """A write runs to its own end, whoever stops waiting for it."""
        intents = [payload for kind, payload in batch if kind == INTENT]
        outcomes = [payload for kind, payload in batch if kind == OUTCOME]
        if len(intents) + len(outcomes) < len(batch):
            raise Rejected("a record of an unknown kind")
        write = asyncio.ensure_future(self._sink.write(intents, outcomes))
        self._writes.add(write)
        write.add_done_callback(self._written)
        await asyncio.shield(write)

    def _written(self, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()  # seen, even where nobody waits any more

    def _trouble(self, problem: str) -> None:
        now = time.monotonic()
        if self.problem is None or now - self._told > REMIND_S:
            _log.warning("audit_sink_away", problem=problem)
            self._told = now
        self.problem = problem

    def _recovered(self) -> None:
        if self.problem is not None:
            _log.info("audit_sink_back", problem=self.problem)
            self.problem = None


def _halves(batch: Batch) -> list[Batch]:
    """As a stack: the first half is taken first."""
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]]
