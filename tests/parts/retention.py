"""A sweeper on a real database, a real store and a real audit, in which something may happen at the wrong moment."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from gateway.audit import Audit
from gateway.catalog.registry import Registry
from gateway.catalog.retention import RetentionBook, leased
from gateway.catalog.store import PostgresCatalog
from gateway.config import Database
from gateway.event import Intent, Outcome, Trail
from gateway.lifecycle.places import Alike
from gateway.lifecycle.retention import Done, Sweeper
from gateway.model import CallRef, Entry, Lifetime, Link, NewCall, Object, Source, Span, Stat, Store
from gateway.postgres import Pool, open_pool

from .audit import settings

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime.now(UTC) + timedelta(days=400)


class Killed(BaseException):
    """The process ends here."""


async def nothing() -> None:
    """What a hook does unless it is set."""


class Counted:
    """A store whose deletions are counted, and before or after which something may happen."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: Counter[str] = Counter()
        self.before_delete: Callable[[], Awaitable[None]] = nothing
        self.after_delete: Callable[[], Awaitable[None]] = nothing

    def unfit(self, key: str) -> str | None:
        return self._store.unfit(key)

    async def stat(self, key: str) -> Stat:
        return await self._store.stat(key)

    async def open(self, key: str, span: Span, version: str) -> Source:
        return await self._store.open(key, span, version)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        return await self._store.sign(key, ttl, media_type=media_type, disposition=disposition)

    async def delete(self, key: str, version: str) -> None:
        self.asked[key] += 1
        await self.before_delete()
        await self._store.delete(key, version)
        await self.after_delete()

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


@dataclass
class Told:
    """A trail, and what may happen once it has made an intent durable, and before it has all that was concluded."""

    trail: Trail
    after_intent: Callable[[], Awaitable[None]] = nothing
    before_settled: Callable[[], Awaitable[None]] = nothing

    @property
    def admits_unproven(self) -> bool:
        return self.trail.admits_unproven

    async def intend(self, intent: Intent) -> None:
        await self.trail.intend(intent)
        await self.after_intent()

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        await self.trail.record(intent, outcome)

    def conclude(self, outcome: Outcome) -> None:
        self.trail.conclude(outcome)

    async def settled(self) -> None:
        await self.before_settled()
        await self.trail.settled()


class Halting:
    """A book in which something may happen around each step."""

    def __init__(self, book: RetentionBook, steps: dict[str, Callable[[], Awaitable[None]]]) -> None:
        self._book = book
        self._steps = steps
        self.lost = book.lost
        self.due = book.due
        self.alone = book.alone
        self.shared = book.shared
        self.tidy = book.tidy

    async def expire(self, recordings: Sequence[UUID]) -> set[UUID]:
        await self._at("before_expire")
        over = await self._book.expire(recordings)
        await self._at("after_expire")
        return over

    async def deleted(self, places: Sequence[tuple[str, str]]) -> None:
        await self._at("before_deleted")
        await self._book.deleted(places)
        await self._at("after_deleted")

    async def _at(self, step: str) -> None:
        await self._steps.get(step, nothing)()


@dataclass
class Ending:
    """``sweep`` it. ``put`` puts an object beside the store, ``delete`` takes one away, both by its key."""

    database: Database
    pool: Pool
    registry: Registry
    catalog: PostgresCatalog
    audit: Audit
    store: Counted
    put: Callable[[str, bytes], None]
    tenant: UUID = field(default_factory=uuid4)
    steps: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    folder: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        self.told = Told(self.audit.trail)
        self.stores: dict[str, Store] = {"main": self.store}
        self.alike: Alike = lambda place: {place}

    def sweeper(self, *, batch: int = 10) -> Sweeper:
        @asynccontextmanager
        async def lease() -> AsyncIterator[Halting | None]:
            async with leased(self.database) as book:
                yield None if book is None else Halting(book, self.steps)

        return Sweeper(self.stores, self.told, lease, batch=batch, alike=self.alike)

    async def sweep(self, *, batch: int = 10, **how: Any) -> dict[UUID, Done]:
        """What became of each, by its call."""
        told: dict[UUID, Done] = {}

        def tell(done: Done) -> None:
            assert done.due.call not in told
            told[done.due.call] = done

        summary = await self.sweeper(batch=batch).sweep(tell=tell, **how)
        assert summary is not None
        assert summary.fates == Counter(done.fate for done in told.values())
        return told

    async def call(self, *, key: str | None = None, tenant: UUID | None = None, **told: Any) -> UUID:
        """A ready recording of a new call; ``told``: its Lifetime. Its object is put, too."""
        tenant = tenant or self.tenant
        call = await self.registry.create_call(tenant, NewCall())
        if key is None:
            key = f"{self.folder}/{call}.wav"
            self.put(key, call.bytes)
        stat = await self.store.stat(key)
        await self.registry.mark_ready(tenant, call, Object("main", key, stat, "audio/wav"), lifetime=Lifetime(**told))
        return call

    def key(self, call: UUID) -> str:
        return f"{self.folder}/{call}.wav"

    async def find(self, call: UUID) -> Entry:
        return await self.catalog.find(self.tenant, CallRef(None, str(call)))

    async def row(self, call: UUID) -> asyncpg.Record:
        (row,) = await self.fetch("SELECT * FROM recordings WHERE call_id = $1", call)
        return row

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """As Postgres' owner."""
        connection = await asyncpg.connect(self.database.url.get_secret_value())
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def events(self, call: UUID) -> list[tuple[str, int, str | None]]:
        """(result, status, reason) of each of its events, oldest first, once all that was journalled has arrived."""
        await self.shipped()
        rows = await self.fetch("SELECT * FROM accesses WHERE call = $1 ORDER BY event_id", call)
        for row in rows:
            who = (row["surface"], row["method"], row["actor_kind"], row["actor_id"], row["tenant"])
            assert who == ("retention", "deletion", "system", "retention", self.tenant)
            assert row["recording"] is not None
        return [(row["result"], row["status"], row["reason"]) for row in rows]

    async def shipped(self) -> None:
        """Returns once Postgres has all that was told so far."""
        await self.audit._journal.drain()
        while self.audit.stats().waiting_records:
            await self.fetch("SELECT pg_sleep(0.01)")


@asynccontextmanager
async def an_ending(
    database: str, journal: Path, store: Store, put: Callable[[str, bytes], None], **more: Any
) -> AsyncIterator[Ending]:
    """With one tenant, which has no plan."""
    place = Database.model_validate({"url": database})
    async with AsyncExitStack() as stack:
        pool = await open_pool(place)
        stack.push_async_callback(pool.close)
        catalog = PostgresCatalog(pool, place)
        stack.push_async_callback(catalog.close)
        registry = Registry(pool, place)
        audit = await stack.enter_async_context(Audit(settings(journal, **more), pool, flush_s=5))
        made = Ending(place, pool, registry, catalog, audit, Counted(store), put)
        made.tenant = (await registry.create_tenant("acme", "Acme")).id
        yield made
