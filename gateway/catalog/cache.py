"""The catalog with a memory.

While changes are heard, an answer is served from memory until it changes or its time is up. While they aren't, Postgres is
asked each time; what is remembered serves only where Postgres can't answer, for ``stale_s`` from when it was last known
to be true. When changes are heard again everything is forgotten. Unknown ids are never remembered.

Links are asked for each time in any case: one that was taken back is refused from the next request on, and a change is
heard a moment after whoever made it was told that it is done. They are remembered for outages alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from ..config import Catalog as Settings
from ..errors import NotFound, Unavailable
from ..model import CallRef, Catalog, Credentials, Entry, IssuedLink, Key, Listing, Page, Tenant, Transcript
from .line import AWAY, PATIENCE_S, Line, Mark
from .memory import Held, Memory
from .tasks import Tasks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")


class Asked(Catalog, Credentials, Protocol):
    """The catalog behind the memory. A question must go on when the caller that asked it is cancelled."""


class Shelf(Generic[K, V]):
    """One kind of question. Callers who ask the same at the same time share one answer.

    ``ttl_s`` 0: they share none; each call asks anew.
    """

    def __init__(
        self,
        line: Line,
        tasks: Tasks,
        *,
        ask: Callable[[K], Awaitable[V]],
        tags: Callable[[K, V], tuple[str, ...]],
        size: int,
        ttl_s: float,
        stale_s: float,
    ) -> None:
        self._line = line
        self._tasks = tasks
        self._ask = ask
        self._tags = tags
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._memory: Memory[K, V] = Memory(size)
        self._flights: dict[K, tuple[Mark, asyncio.Task[V]]] = {}
        self.hits = 0
        """Answers from memory while changes were heard."""
        self.stale = 0
        """Answers from memory because Postgres had none in time."""
        self.misses = 0
        """All other answers: Postgres was asked, or was away with nothing remembered."""

    def __len__(self) -> int:
        return len(self._memory)

    def drop(self, tag: str) -> None:
        self._memory.drop(tag)

    def clear(self) -> None:
        self._memory.clear()

    @property
    def changes(self) -> int:
        """Counts up whenever an answer that is remembered comes or goes."""
        return self._memory.changes

    def known(self, key: K) -> tuple[V, float] | None:
        """What ``get`` would return from memory while changes are heard, and for how many seconds more; counted as its answer."""
        held = self._memory.get(key)
        if held is None or not self._line.heard:
            return None
        left = held.asked_at + self._ttl_s - self._line.clock()
        if left <= 0:
            return None
        self.hits += 1
        return held.value, left

    async def get(self, key: K) -> V:
        """Raises Unavailable, and what asking raises."""
        held = self._memory.get(key)
        if held is not None and self._line.heard and self._line.clock() - held.asked_at < self._ttl_s:
            self.hits += 1
            return held.value
        held = self._fallback(key)
        if held is not None and ((self._line.overdue() and self._ttl_s) or not self._line.open()):
            self.stale += 1
            return held.value
        self.misses += 1
        if held is None and not self._line.open():
            raise Unavailable(AWAY)
        task = self._flight(key)
        if held is not None:
            await asyncio.wait((task,), timeout=PATIENCE_S)
            if not task.done() or isinstance(task.exception(), Unavailable):
                held = self._fallback(key)  # unless it was dropped meanwhile
                if held is not None:
                    self.misses, self.stale = self.misses - 1, self.stale + 1
                    return held.value
        try:
            return await asyncio.shield(task)
        finally:
            del task  # what it raises leads back to here, and both would stay until a collection

    def _fallback(self, key: K) -> Held[V] | None:
        """What is remembered and may be served where Postgres doesn't answer."""
        held = self._memory.get(key)
        if held is None or self._line.clock() - self._line.known_at(held.asked_at) > self._stale_s:
            return None
        return held

    def _flight(self, key: K) -> asyncio.Task[V]:
        """The question under way, unless something has changed since it was asked: then another."""
        mark, task = self._flights.get(key, (None, None))
        if mark is None or task is None or task.done() or not self._ttl_s or not self._line.unchanged_since(mark):
            mark = self._line.mark()
            task = self._tasks.start(self._line.ask(partial(self._fly, key)))
            self._flights[key] = mark, task
            task.add_done_callback(partial(self._landed, key))
        return task

    async def _fly(self, key: K, mark: Mark) -> V:
        try:
            value = await self._ask(key)
        except NotFound:
            self._memory.pop(key)
            raise
        self._keep(key, value, mark)
        return value

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        if self._flights.get(key, (None, None))[1] is task:
            del self._flights[key]

    def _keep(self, key: K, value: V, mark: Mark) -> None:
        tags = self._tags(key, value)
        held = self._memory.get(key)
        if self._line.holds(mark, tags) and (held is None or held.asked_at <= mark.at):
            self._memory.put(key, Held(value, mark.at, tags))


class CachedCatalog:
    """model.Catalog and model.Credentials; what a Listener reports to."""

    def __init__(self, asked: Asked, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked = asked
        self._tasks = Tasks()
        self.line = Line(clock)
        ages = {"ttl_s": settings.cache_ttl_s, "stale_s": settings.stale_s}
        self._calls: Shelf[tuple[UUID | None, CallRef], Entry] = Shelf(
            self.line, self._tasks, ask=self._ask_call, tags=_call_tags, size=settings.cache_entries, **ages
        )
        self._keys: Shelf[bytes, Key] = Shelf(
            self.line, self._tasks, ask=self._ask_key, tags=_key_tags, size=settings.key_cache_entries, **ages
        )
        self._tenants: Shelf[str, Tenant] = Shelf(
            self.line, self._tasks, ask=self._ask_tenant, tags=_tenant_tags, size=settings.key_cache_entries, **ages
        )
        self._links: Shelf[UUID, IssuedLink] = Shelf(
            self.line,
            self._tasks,
            ask=self._ask_link,
            tags=_link_tags,
            size=settings.key_cache_entries,
            ttl_s=0,
            stale_s=settings.stale_s,
        )

    @property
    def shelves(self) -> Mapping[str, Shelf[Any, Any]]:
        """By what they hold."""
        return {"calls": self._calls, "keys": self._keys, "tenants": self._tenants, "links": self._links}

    # --- model.Catalog, model.Credentials

    async def find(self, tenant: UUID | None, ref: CallRef) -> Entry:
        return await self._calls.get((tenant, ref))

    async def list(self, tenant: UUID, listing: Listing) -> Page:
        """Never remembered. Raises Malformed, Unavailable."""
        return await self._ask_now(lambda _mark: self._asked.list(tenant, listing), lengthy=True)

    async def transcript(self, tenant: UUID, call: UUID) -> Transcript | None:
        """Never remembered. Raises Unavailable."""
        return await self._ask_now(lambda _mark: self._asked.transcript(tenant, call))

    async def key(self, sha256: bytes) -> Key | None:
        try:
            return await self._keys.get(sha256)
        except NotFound:
            return None

    def known_call(self, tenant: UUID, ref: CallRef) -> tuple[Entry, float] | None:
        """As ``find``, as far as it is remembered and changes are heard; and for how many seconds, if nothing ``changes``."""
        return self._calls.known((tenant, ref))

    def known_key(self, sha256: bytes) -> tuple[Key, float] | None:
        """As ``key``, likewise."""
        return self._keys.known(sha256)

    @property
    def changes(self) -> int:
        """Counts up whenever what ``known_call`` and ``known_key`` say may be another from now on."""
        return self._calls.changes + self._keys.changes + self.line.turns

    def known_again(self, *, by_key: bool) -> None:
        """A call, and perhaps a key, was taken from what they said before; counted as their answers."""
        self._calls.hits += 1
        self._keys.hits += by_key

    async def tenant(self, slug: str) -> Tenant | None:
        try:
            return await self._tenants.get(slug)
        except NotFound:
            return None

    async def link(self, link: UUID) -> IssuedLink | None:
        try:
            return await self._links.get(link)
        except NotFound:
            return None

    async def close(self) -> None:
        """Waits for the questions under way."""
        await self._tasks.close()

    # --- what a Listener reports

    def restored(self) -> None:
        self.line.restored()
        for shelf in (self._calls, self._keys, self._tenants, self._links):
            shelf.clear()

    def lost(self) -> None:
        self.line.lost()

    def changed(self, tag: str) -> None:
        self.line.changed(tag)
        for shelf in (self._calls, self._keys, self._tenants, self._links):
            shelf.drop(tag)

    async def _ask_now(self, question: Callable[[Mark], Awaitable[T]], *, lengthy: bool = False) -> T:
        if not self.line.open():
            raise Unavailable(AWAY)
        return await asyncio.shield(self._tasks.start(self.line.ask(question, lengthy=lengthy)))

    # --- what the shelves ask

    async def _ask_call(self, asked: tuple[UUID | None, CallRef]) -> Entry:
        return await self._asked.find(*asked)

    async def _ask_key(self, sha256: bytes) -> Key:
        if (key := await self._asked.key(sha256)) is None:
            raise NotFound
        return key

    async def _ask_tenant(self, slug: str) -> Tenant:
        if (tenant := await self._asked.tenant(slug)) is None:
            raise NotFound
        return tenant

    async def _ask_link(self, asked: UUID) -> IssuedLink:
        if (link := await self._asked.link(asked)) is None:
            raise NotFound
        return link


def _call_tags(_asked: tuple[UUID | None, CallRef], entry: Entry) -> tuple[str, ...]:
    return (f"call:{entry.call.id}", f"tenant:{entry.call.tenant}")


def _key_tags(sha256: bytes, key: Key) -> tuple[str, ...]:
    return (f"key:{sha256.hex()}", f"tenant:{key.tenant}")


def _tenant_tags(_slug: str, tenant: Tenant) -> tuple[str, ...]:
    return (f"tenant:{tenant.id}",)


def _link_tags(_asked: UUID, link: IssuedLink) -> tuple[str, ...]:
    return (f"link:{link.id}",)
