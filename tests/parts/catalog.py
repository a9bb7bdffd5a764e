"""A catalog on a real database, watched from both sides: what it asks, and what it hears."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

from gateway.catalog.cache import CachedCatalog
from gateway.catalog.listener import Hearers, Listener, Renewal
from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.config import Catalog as Settings
from gateway.config import Database
from gateway.model import CallRef, Entry, IssuedLink, Key, Listing, NewCall, Object, Page, Stat, Tenant
from gateway.postgres import Pool, connect, open_pool

from .clock import Clock


def an_object(key: str = "2026/11/a.wav", *, size: int = 320_044, version: str = "v1") -> Object:
    stat = Stat(size=size, etag=f'"{version}"', version=version, modified=datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC))
    return Object(store="main", key=key, stat=stat, media_type="audio/wav")


async def a_ready_call(registry: Registry, tenant: UUID, **aliases: str) -> UUID:
    call = await registry.create_call(tenant, NewCall(aliases=aliases))
    await registry.mark_ready(tenant, call, an_object(), duration_ms=20_000, channels=2)
    return call


def by_id(call: UUID) -> CallRef:
    return CallRef(None, str(call))


class Watched:
    """A PostgresCatalog whose questions are counted, and whose answers can be held back."""

    def __init__(self, catalog: PostgresCatalog) -> None:
        self._catalog = catalog
        self.asked: Counter[str] = Counter()
        self.answers = asyncio.Event()
        self.answers.set()
        self.waiting = asyncio.Event()
        """Set once an answer is there and held back."""

    async def find(self, tenant: UUID, ref: CallRef) -> Entry:
        self.asked["find"] += 1
        entry = await self._catalog.find(tenant, ref)
        await self._hold()
        return entry

    async def list(self, tenant: UUID, listing: Listing) -> Page:
        self.asked["list"] += 1
        return await self._catalog.list(tenant, listing)

    async def key(self, sha256: bytes) -> Key | None:
        self.asked["key"] += 1
        key = await self._catalog.key(sha256)
        await self._hold()
        return key

    async def tenant(self, slug: str) -> Tenant | None:
        self.asked["tenant"] += 1
        return await self._catalog.tenant(slug)

    async def link(self, link: UUID) -> IssuedLink | None:
        self.asked["link"] += 1
        found = await self._catalog.link(link)
        await self._hold()
        return found

    async def _hold(self) -> None:
        if not self.answers.is_set():
            self.waiting.set()
            await self.answers.wait()


class Ear:
    """What a listener tells is passed on, and can be waited for."""

    def __init__(self, catalog: CachedCatalog) -> None:
        self._catalog = catalog
        self._told: list[str] = []
        self._news = asyncio.Condition()

    def restored(self) -> None:
        self._catalog.restored()
        self._tell("restored")

    def lost(self) -> None:
        self._catalog.lost()
        self._tell("lost")

    def changed(self, tag: str) -> None:
        self._catalog.changed(tag)
        self._tell(tag)

    def forget(self) -> None:
        self._told.clear()

    async def hears(self, news: str, *, within: float = 20) -> None:
        """Waits until ``news`` was told since the last ``forget``."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: news in self._told)

    def _tell(self, news: str) -> None:
        self._told.append(news)
        self._task = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()


@dataclass(frozen=True)
class Replica:
    """One process's catalog, with everything it stands on."""

    pool: Pool
    registry: Registry
    watched: Watched
    cached: CachedCatalog
    ear: Ear
    clock: Clock

    async def settle(self) -> None:
        """Waits until every change committed so far was heard: they are told in order, and this one comes last."""
        last = f"test:{uuid4()}"
        await self.pool.execute("SELECT pg_notify('recording_gateway', $1)", last)
        await self.ear.hears(last)
        self.ear.forget()


@asynccontextmanager
async def replica(
    url: str,
    *,
    settings: Settings = Settings(),  # noqa: B008  frozen
    clock: Callable[[], float] | None = None,
    listens: bool = True,
    probe_s: float = 30.0,
    **database: object,
) -> AsyncIterator[Replica]:
    """Has heard that it hears, unless it doesn't listen. Its time passes as its ``clock`` does, by hand unless given.

    Its line counts as dead after ``probe_s``: longer than a busy machine is silent, where that is not the point.
    """
    place = Database.model_validate({"url": url, **database})
    async with AsyncExitStack() as stack:
        pool = await open_pool(place)
        stack.push_async_callback(pool.close)
        asked = PostgresCatalog(pool, place)
        stack.push_async_callback(asked.close)
        watched, hand = Watched(asked), Clock()
        cached = CachedCatalog(watched, settings, clock=clock or hand)
        stack.push_async_callback(cached.close)
        ear = Ear(cached)
        if listens:
            hearers = Hearers(ear, Renewal(pool))
            await stack.enter_async_context(Listener(partial(connect, place), hearers, probe_s=probe_s))
            await ear.hears("restored")
            ear.forget()
        yield Replica(pool, Registry(pool, place), watched, cached, ear, hand)
