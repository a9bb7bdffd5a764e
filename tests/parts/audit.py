"""Audit records to test with, and file systems that fail when told to."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from uuid_utils.compat import uuid7

from gateway.audit.courier import Courier
from gateway.audit.frames import Record
from gateway.audit.journal import Journal
from gateway.audit.segments import DiskFiles, Files, read_batch, segments_of
from gateway.audit.trail import JournalTrail
from gateway.config import Audit
from gateway.errors import Rejected, Unavailable
from gateway.event import Intent, Method, Outcome, Result

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
TENANT, CALL, RECORDING = uuid4(), uuid4(), uuid4()


def intent(**fields: Any) -> Intent:
    """One like those of a busy day."""
    return Intent(
        **{
            "event_id": uuid7(),
            "occurred_at": datetime.now(UTC),
            "surface": "native",
            "method": Method.STREAM,
            "tenant": TENANT,
            "actor_kind": "api_key",
            "actor_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
            "credential_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
            "auth_method": "api_key",
            "scopes": ("calls:read", "recordings:download"),
            "role": None,
            "address": "203.0.113.7",
            "peer": "10.0.0.2",
            "user_agent": AGENT,
            "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "call": CALL,
            "recording": RECORDING,
            "etag": '"9b2cf535f27731c974343645a3985328"',
            "range": "bytes=65536-131071",
            "session": RECORDING,
        }
        | fields
    )


def outcome(of: Intent, **fields: Any) -> Outcome:
    return Outcome(
        **{
            "event_id": of.event_id,
            "occurred_at": of.occurred_at,
            "completed_at": datetime.now(UTC),
            "status": 206,
            "bytes_sent": 65536,
            "result": Result.COMPLETE,
        }
        | fields
    )


def settings(journal: Path, **values: Any) -> Audit:
    """The defaults, but for what a test should not wait for."""
    return Audit(
        **{"journal_dir": journal, "ship_interval_ms": 5, "retry_max_s": 0.2, "adopt_interval_s": 0.1} | values
    )


@asynccontextmanager
async def delivering(run: Coroutine[Any, Any, None], courier: Courier) -> AsyncIterator[None]:
    """``run`` goes on while the context lasts; then what it gave to ``courier`` comes to its end."""
    task = asyncio.create_task(run)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await courier.close(1)


class FaultyFiles(DiskFiles):
    """Real files whose system calls fail while a fault is set: ``create``, ``write``, ``sync`` or ``truncate`` → errno."""

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.writes = 0
        self.syncs = 0
        self.half = False
        """A write that fails leaves half of its bytes behind."""
        self.begun = threading.Event()
        """Set by every write as it begins."""
        self.gate = threading.Event()
        """Closed, it holds up every write before it is durable."""
        self.gate.set()

    def create(self, path: Path, size: int) -> int:
        self._fail("create")
        return super().create(path, size)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if self.half and "write" in self.faults:
            super().write(fd, data[: len(data) // 2], offset)
        self._fail("write")
        self.writes += 1
        self.begun.set()
        self.gate.wait(30)
        written = super().write(fd, data, offset)
        self._fail("sync")
        self.syncs += 1
        return written

    def truncate(self, fd: int, size: int) -> None:
        self._fail("truncate")
        super().truncate(fd, size)

    def _fail(self, call: str) -> None:
        if call in self.faults:
            raise OSError(self.faults[call], os.strerror(self.faults[call]))


class House:
    """One process's journal and trail, without anything that ships."""

    def __init__(self, settings: Audit, files: Files) -> None:
        self.settings = settings
        self.files = files
        self.journal = Journal(settings, files)
        self.trail = JournalTrail(self.journal, settings)

    def on_disk(self) -> list[Record]:
        """Every whole record in the files, as a later process would find it."""
        folder = self.journal.folder
        assert folder is not None
        return [record for path in segments_of(folder.path) for record in read_batch(path, 0, None, 10**6).records]


Make = Callable[..., Awaitable[House]]


@dataclass
class MemorySink:
    """A sink that keeps what Postgres would keep, and is away or refuses when told to."""

    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    poison: frozenset[str] = frozenset()
    """Ids of events whose records are refused."""
    batches: list[int] = field(default_factory=list)

    async def write(self, intents: Sequence[bytes], outcomes: Sequence[bytes]) -> None:
        if self.away:
            raise Unavailable("the sink is away")
        self.batches.append(len(intents) + len(outcomes))
        read = [orjson.loads(record) for record in intents], [orjson.loads(record) for record in outcomes]
        if any(record["event_id"] in self.poison for records in read for record in records):
            raise Rejected("poison")
        for kept, records in zip((self.intents, self.outcomes), read, strict=True):
            for record in records:
                kept.setdefault(record["event_id"], record)


@dataclass(frozen=True)
class Kept:
    """What Postgres holds."""

    events: list[UUID]
    outcomes: dict[UUID, str]
    """event → result"""
    outcome_rows: int


async def kept(url: str) -> Kept:
    connection = await asyncpg.connect(url)
    try:
        events = await connection.fetch("SELECT event_id FROM access_events")
        outcomes = await connection.fetch("SELECT event_id, result FROM access_outcomes")
    finally:
        await connection.close()
    return Kept([row[0] for row in events], {row[0]: row[1] for row in outcomes}, len(outcomes))


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    """Looks every few milliseconds: what the audit does by itself in the background tells nobody."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.003)
