"""Ending what is past its retention: the row first, then the object at its store, each with an audit event of its own.

A process may die at any moment without loss: the event is durable before the row expires, the row has expired before the
object is touched, and a row whose object is not known to be deleted is taken up again by the next sweep.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from ..errors import Changed, Internal, OriginFailed, OriginTimeout, Refusal, Unavailable
from ..event import Intent, Method, Outcome, Result, Trail
from ..model import Due, Object, State, Store
from .places import Alike, Place

log = structlog.get_logger("gateway.retention")

AT_ONCE: Final = 8
"""Deletions under way at once."""
PATIENCE: Final = 5
"""Failures of one store, none of its deletions having succeeded since, after which a sweep asks it no more."""
_STATUS: Final = {Unavailable: 503, OriginFailed: 502, OriginTimeout: 504}


class Book(Protocol):
    """What a sweep asks of the catalog. Every method raises Unavailable."""

    lost: asyncio.Event
    """Set when the lease is lost: from then on another process may be doing the same work."""

    def due(self, tenant: str | None, batch: int) -> AsyncGenerator[list[Due], None]: ...
    async def expire(self, recordings: Sequence[UUID]) -> set[UUID]: ...
    def alone(self, places: Sequence[Place]) -> AbstractAsyncContextManager[None]: ...
    async def shared(self, places: Sequence[Place]) -> set[Place]: ...
    async def deleted(self, places: Sequence[Place]) -> None: ...
    async def tidy(self) -> None: ...


Lease = Callable[[], AbstractAsyncContextManager[Book | None]]
"""Takes the lease and opens the book; None: another process has the lease."""


class Fate(StrEnum):
    """What became of a recording that was due."""

    DELETED = "deleted"
    """Its object is gone from the store."""
    EMPTY = "empty"
    """No object of it was ever known."""
    SHARED = "shared"
    """Another recording lies in the same object, which stays as long as that one does."""
    KEPT = "kept"
    """It was held, or is kept longer, since it was looked up: nothing was done."""
    FAILED = "failed"
    """It has expired; its store did not delete the object. The next sweep tries again."""
    PUT_OFF = "put_off"
    """Its store had failed too often in this sweep: nothing was done."""


@dataclass(frozen=True, slots=True)
class Done:
    """``reason`` tells an operator why it failed."""

    due: Due
    fate: Fate
    reason: str = ""


@dataclass(slots=True)
class Summary:
    """What a sweep did. ``bytes``: what the deleted objects held."""

    fates: Counter[Fate] = field(default_factory=Counter)
    bytes: int = 0


class Sweeper:
    """``stores`` by their configured names; ``alike`` tells where these overlap."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        trail: Trail,
        lease: Lease,
        *,
        batch: int,
        alike: Alike = lambda place: {place},
    ) -> None:
        self._stores = stores
        self._alike = alike
        self._trail = trail
        self._lease = lease
        self._batch = batch

    async def sweep(
        self,
        *,
        tenant: str | None = None,
        limit: int | None = None,
        tell: Callable[[Done], None] = lambda _: None,
        stop: asyncio.Event | None = None,
    ) -> Summary | None:
        """Takes up what is due, ``limit`` recordings at most, until ``stop``; None: another process is at it.

        ``tell`` hears of each. Raises Unavailable: Postgres, or the audit's journal, is away; NotFound: no such tenant.
        """
        async with self._lease() as book:
            if book is None:
                return None
            sweep = _Sweep(self._stores, self._alike, self._trail, book, tell)
            await _unless(book.lost, sweep.run(tenant, self._batch, limit, stop))
            return sweep.summary


class _Sweep:
    def __init__(
        self,
        stores: Mapping[str, Store],
        alike: Alike,
        trail: Trail,
        book: Book,
        tell: Callable[[Done], None],
    ) -> None:
        self.summary = Summary()
        self._stores = stores
        self._alike = alike
        self._trail = trail
        self._book = book
        self._tell = tell
        self._name = uuid7().hex
        self._failures: Counter[str] = Counter()
        self._open: dict[UUID, Intent] = {}
        """Recording → its event, while that has no outcome."""
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self, tenant: str | None, batch: int, limit: int | None, stop: asyncio.Event | None) -> None:
        left = limit
        async with aclosing(self._book.due(tenant, batch if limit is None else min(batch, limit))) as batches:
            async for due in batches:
                taken = due if left is None else due[:left]
                try:
                    await self._take_up(taken)
                finally:
                    for recording in list(self._open):
                        self._conclude(recording, 0, Result.INTERRUPTED, "sweep_ended")
                left = None if left is None else left - len(taken)
                if left == 0 or (stop is not None and stop.is_set()):
                    return
        await self._book.tidy()

    async def _take_up(self, batch: Sequence[Due]) -> None:
        taken = []
        for due in batch:
            known = due.object
            if known is not None and self._failures[known.store] >= PATIENCE:
                self._done(due, Fate.PUT_OFF)
            else:
                taken.append(due)
        waiting = await self._shared({_place(due) for due in taken if _left(due)})
        taken = [due for due in taken if not (_left(due) and _place(due) in waiting)]
        await self._intend([_intent(due, self._name) for due in taken])
        anew = [due.recording.id for due in taken if due.recording.state is not State.EXPIRED]
        over = await self._book.expire(anew) if anew else set()
        lying: dict[Place, list[Due]] = {}
        for due in taken:
            known = due.object
            if due.recording.state is not State.EXPIRED and due.recording.id not in over:
                self._end(due, Fate.KEPT, 409, Result.REFUSED, "kept")
            elif known is None:
                self._end(due, Fate.EMPTY, 204, Result.COMPLETE, "no_object")
            else:
                lying.setdefault((known.store, known.key), []).append(due)
        if not lying:
            return
        # Or one that is registered between the look at who else lies there and the deletion would lose its object.
        async with self._book.alone(sorted({named for place in lying for named in self._alike(place)})):
            for place in await self._shared(lying):
                for due in lying.pop(place):
                    self._end(due, Fate.SHARED, 204, Result.COMPLETE, "object_shared")
            await self._clear(lying)

    async def _shared(self, places: Collection[Place]) -> set[Place]:
        """Those of ``places`` where a recording lies that has not expired, under any name of their store."""
        named = {place: set(self._alike(place)) for place in places}
        if not named:
            return set()
        lying = await self._book.shared(sorted(set().union(*named.values())))
        return {place for place, names in named.items() if names & lying}

    async def _clear(self, lying: Mapping[Place, Sequence[Due]]) -> None:
        cleared = await asyncio.gather(
            *(self._delete(place, dues) for place, dues in lying.items()), return_exceptions=True
        )
        if gone := [place for place, deleted in zip(lying, cleared, strict=True) if deleted is True]:
            # Once the book has it nobody takes it up again, and tells the audit how it ended.
            await self._trail.settled()
            await self._book.deleted(gone)
        _raise_first(cleared)

    async def _delete(self, place: Place, dues: Sequence[Due]) -> bool:
        """Whether the object of ``dues`` is gone."""
        store = place[0]
        async with self._room:
            asked = self._failures[store] < PATIENCE
            try:
                await self._delete_known(place, dues)
            except Refusal as refusal:
                self._failures[store] += asked
                detail = refusal.detail or refusal.reason
                log.warning("retention_not_deleted", store=store, call=str(dues[0].call), problem=detail)
                self._failed(dues, _STATUS.get(type(refusal), 502), refusal.reason, detail)
                return False
            except Exception:  # a defect met at one object must not keep the others; the next sweep meets it again
                log.exception("defect", store=store, call=str(dues[0].call))
                self._failed(dues, 500, Internal.reason, "a defect; the log has its traceback")
                return False
        self._failures[store] = 0
        self.summary.bytes += _object(dues[0]).stat.size
        for due in dues:
            self._end(due, Fate.DELETED, 204, Result.COMPLETE)
        return True

    async def _delete_known(self, place: Place, dues: Sequence[Due]) -> None:
        name, key = place
        store = self._stores.get(name)
        if store is None:
            raise Unavailable(f"stores.{name}: not configured, and an expired recording lies there")
        if self._failures[name] >= PATIENCE:
            raise Unavailable(
                f"store {name}: failed {self._failures[name]} times running, and is asked no more for now"
            )
        try:
            await store.delete(key, _object(dues[0]).stat.version)
        except Changed:
            # Replaced since it was registered. What lies there was what the recording was served from, and ends with it.
            await self._delete_found(store, key, dues)

    async def _delete_found(self, store: Store, key: str, dues: Sequence[Due]) -> None:
        stat = await store.stat(key)
        renewed = []
        for due in dues:
            intent = replace(
                self._open[due.recording.id], event_id=uuid7(), occurred_at=datetime.now(UTC), etag=stat.etag
            )
            self._conclude(due.recording.id, 412, Result.REFUSED, "object_changed")
            renewed.append(intent)
        await self._intend(renewed)
        try:
            await store.delete(key, stat.version)
        except Changed as error:
            raise OriginFailed("the object was replaced while it was being deleted") from error

    async def _intend(self, intents: Sequence[Intent]) -> None:
        """All of them are durable when this returns. Raises Unavailable."""
        for intent in intents:
            assert intent.recording is not None
            self._open[intent.recording] = intent
        made = await asyncio.gather(*(self._trail.intend(intent) for intent in intents), return_exceptions=True)
        _raise_first(made)

    def _failed(self, dues: Sequence[Due], status: int, reason: str, detail: str) -> None:
        for due in dues:
            self._end(due, Fate.FAILED, status, Result.ORIGIN_FAILED, reason, detail)

    def _end(
        self, due: Due, fate: Fate, status: int, result: Result, reason: str | None = None, detail: str = ""
    ) -> None:
        self._conclude(due.recording.id, status, result, reason)
        self._done(due, fate, detail)

    def _conclude(self, recording: UUID, status: int, result: Result, reason: str | None) -> None:
        intent, now = self._open.pop(recording), datetime.now(UTC)
        self._trail.conclude(Outcome(intent.event_id, intent.occurred_at, now, status, 0, result, reason))

    def _done(self, due: Due, fate: Fate, detail: str = "") -> None:
        self.summary.fates[fate] += 1
        self._tell(Done(due, fate, detail))


def _raise_first(results: Sequence[object]) -> None:
    """Raises the first failure among results of tasks that have all ended."""
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _left(due: Due) -> bool:
    """Whether it expired in an earlier sweep that did not delete its object."""
    return due.recording.state is State.EXPIRED and due.object is not None


def _place(due: Due) -> Place:
    return _object(due).store, _object(due).key


def _object(due: Due) -> Object:
    assert due.object is not None
    return due.object


def _intent(due: Due, sweep: str) -> Intent:
    """The intent of a deletion by the gateway itself: it has no address, and ``sweep`` as the request id of all in one sweep."""
    return Intent(
        event_id=uuid7(),
        occurred_at=datetime.now(UTC),
        surface="retention",
        method=Method.DELETION,
        tenant=due.tenant,
        actor_kind="system",
        actor_id="retention",
        credential_id=None,
        auth_method=None,
        scopes=(),
        role=None,
        address="",
        peer="",
        user_agent=None,
        request_id=sweep,
        call=due.call,
        recording=due.recording.id,
        etag=None if due.object is None else due.object.stat.etag,
    )


async def _unless(lost: asyncio.Event, work: Coroutine[object, object, None]) -> None:
    """Does ``work``, unless ``lost`` comes first: then it is cancelled. Raises Unavailable."""
    doing, losing = asyncio.ensure_future(work), asyncio.ensure_future(lost.wait())
    try:
        await asyncio.wait((doing, losing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        losing.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait((doing,))
    if doing.cancelled():
        raise Unavailable("retention: the connection that holds the lock was lost")
    await doing
