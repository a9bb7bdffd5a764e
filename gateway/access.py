"""THE one path: identify → find → permit → plan → record → open. Every request of every surface walks it.

Nothing here knows a socket. What comes out is an Answer, whose access record is already durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from .errors import Changed, NoLink, NotFound, ObjectMissing, OriginFailed, Refusal, Unavailable
from .http.preconditions import plan as plan_request
from .model import (
    Caller,
    CallRef,
    Catalog,
    Entry,
    Found,
    Head,
    Intent,
    Link,
    LinkAsk,
    Method,
    Object,
    Outcome,
    Plan,
    Presented,
    Reply,
    Result,
    Route,
    Source,
    Span,
    State,
    Store,
    Surface,
    Trail,
    Verb,
)
from .policy import permit, permit_scopes, servable
from .sequence import Sequenced, object_bytes

log = structlog.get_logger("gateway.access")

_RANGE_KEPT = 200
_AGENT_KEPT = 300


class Prover(Protocol):
    """A credential → who asks. Raises Unauthenticated, LinkSpent, LinkExpired, NotFound, Unavailable."""

    async def prove(self, presented: Presented) -> Caller: ...


class LinkMinter(Protocol):
    """A gateway link to one call's audio, or None where none can be made."""

    def __call__(self, entry: Entry, ask: LinkAsk) -> Link | None: ...


OpenSource = Callable[[Store, str, Span, str], Awaitable[Source]]
"""(store, key, span, version) → a body that takes itself up again where its origin breaks. Raises as Store.open."""

SessionOf = Callable[["Draft", UUID, str], UUID]
"""Which playback a stream belongs to: (draft, recording, etag) → session."""


@dataclass(slots=True)
class Draft:
    """The audit event while it is still being lived."""

    surface: str
    method: Method
    head: Head
    event_id: UUID
    occurred_at: datetime
    caller: Caller | None = None
    entry: Entry | None = None
    etag: str | None = None
    session: UUID | None = None
    intended: bool = False
    """The intent is in the journal, and waits for its outcome."""

    @classmethod
    def begin(cls, surface: str, method: Method, head: Head) -> Draft:
        return cls(surface, method, head, uuid7(), datetime.now(UTC))

    def renew(self) -> None:
        """Another event for the same request, after this one was concluded."""
        self.event_id, self.occurred_at, self.intended = uuid7(), datetime.now(UTC), False

    def intent(self) -> Intent:
        caller, entry, headers = self.caller, self.entry, self.head.headers
        agent, asked = headers.get("User-Agent"), headers.get("Range")
        return Intent(
            event_id=self.event_id,
            occurred_at=self.occurred_at,
            surface=self.surface,
            method=self.method,
            tenant=caller.tenant if caller else None,
            actor_kind=caller.kind if caller else "anonymous",
            actor_id=caller.subject if caller else None,
            credential_id=caller.credential if caller else None,
            auth_method=caller.method if caller else None,
            scopes=tuple(sorted(caller.scopes)) if caller else (),
            role=caller.role if caller else None,
            address=self.head.address,
            peer=self.head.peer,
            user_agent=agent[:_AGENT_KEPT] if agent else None,
            request_id=self.head.request_id,
            trace_id=self.head.trace_id,
            call=entry.call.id if entry else None,
            recording=entry.recording.id if entry and entry.recording else None,
            etag=self.etag,
            range=asked[:_RANGE_KEPT] if asked else None,
            session=self.session,
        )

    def outcome(self, status: int, result: Result, *, bytes_sent: int = 0, reason: str | None = None) -> Outcome:
        return Outcome(self.event_id, self.occurred_at, datetime.now(UTC), status, bytes_sent, result, reason)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to leave. With a ``source``, its bytes follow the reply's head, and the draft still wants its outcome."""

    reply: Reply
    source: Source | None = None
    plan: Plan | None = None

    def object_bytes(self, sent: int) -> int:
        """How many of ``sent`` body bytes are the object's own."""
        return object_bytes(self.plan.parts, self.plan.span, sent) if self.plan else 0


@dataclass(frozen=True, slots=True)
class Access:
    """The one path, and what it needs."""

    prover: Prover
    catalog: Catalog
    stores: Mapping[str, Store]
    open_source: OpenSource
    trail: Trail
    session_of: SessionOf
    mint: LinkMinter

    async def serve(self, surface: Surface, route: Route, base: str, draft: Draft) -> Answer:
        """Raises Refusal: then nothing has left, and the draft knows as much as was found out."""
        head = draft.head
        caller = draft.caller = await self.prover.prove((route.present or surface.present)(head))
        if route.verb is Verb.LIST:
            return await self._list(route, base, caller, draft)
        ref = route.ref(head) or CallRef(None, str(caller.call))
        entry = draft.entry = await self.catalog.find(caller.tenant, ref)
        permit(caller, entry, route.scopes)
        now = datetime.now(UTC)
        recording = servable(entry, now)
        assert recording.object is not None
        found = Found(head, base, now, entry, State.READY)
        match route.verb:
            case Verb.PLAY:
                return await self._play(route, found, recording.object, draft)
            case Verb.LINK:
                link = await self._link(route, found, recording.object, draft)
                return await self._worded(route, replace(found, link=link), draft)
            case Verb.DESCRIBE:
                draft.etag = recording.object.stat.etag
                return await self._worded(route, found, draft)

    async def refused(self, draft: Draft, status: int, refusal: Refusal) -> None:
        """Closes the event of a request that was refused. Raises Unavailable where the denial cannot be recorded.

        A stranger whom an outage turned away was denied nothing: the room in the journal is for accesses.
        """
        outcome = draft.outcome(status, Result.REFUSED, reason=refusal.reason)
        if draft.intended:
            self.trail.conclude(outcome)
        elif draft.caller is not None or (self.trail.admits_unproven and not isinstance(refusal, Unavailable)):
            await self.trail.record(draft.intent(), outcome)

    def abandoned(self, draft: Draft) -> None:
        """Closes the event of a client that left before its answer."""
        if draft.intended:
            self.trail.conclude(draft.outcome(0, Result.CLIENT_GONE, reason="before_first_byte"))

    def delivered(self, draft: Draft, status: int, result: Result, bytes_sent: int, reason: str | None) -> None:
        """Closes the event of a body that was delivered, or not to its end."""
        self.trail.conclude(draft.outcome(status, result, bytes_sent=bytes_sent, reason=reason))

    async def _list(self, route: Route, base: str, caller: Caller, draft: Draft) -> Answer:
        permit_scopes(caller, route.scopes)
        page = await self.catalog.list(caller.tenant, route.listing(draft.head))
        return await self._worded(route, Found(draft.head, base, datetime.now(UTC), page=page), draft)

    async def _worded(self, route: Route, found: Found, draft: Draft) -> Answer:
        """An answer that is over once it is worded: recorded whole, before it leaves."""
        reply = route.render(found)
        await self.trail.record(draft.intent(), draft.outcome(reply.status, Result.COMPLETE))
        return Answer(reply, plan=found.plan)

    async def _link(self, route: Route, found: Found, known: Object, draft: Draft) -> Link:
        draft.etag = known.stat.etag
        ask = route.link(found.head)
        link = None
        if ask.delivery != "gateway":
            disposition = route.disposition(found)
            store = self._store(known)
            link = await store.sign(known.key, ask.ttl, media_type=known.media_type, disposition=disposition)
        if link is None and ask.delivery != "store":
            assert found.entry is not None
            link = self.mint(found.entry, ask)
        if link is None:
            raise NoLink(known.store)
        return link

    async def _play(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        try:
            return await self._play_as_found(route, found, known, draft)
        except NotFound as error:
            log.exception("object_missing", store=known.store, request_id=found.head.request_id)
            raise ObjectMissing(error.detail) from error

    async def _play_as_found(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        try:
            return await self._play_version(route, found, known, draft)
        except Changed:
            pass
        # The store holds another version than the catalog knew: tell so, ask once what it is, plan anew.
        if draft.intended:
            self.trail.conclude(draft.outcome(0, Result.REFUSED, reason="object_changed"))
            draft.renew()
        stat = await self._store(known).stat(known.key)
        try:
            return await self._play_version(route, found, Object(known.store, known.key, stat, known.media_type), draft)
        except Changed as error:
            # It says one version when asked what it is, and another when read.
            raise OriginFailed(f"store {known.store}: read another version than it had told a moment ago") from error

    async def _play_version(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        head, stat = found.head, known.stat
        draft.etag = stat.etag
        assert draft.entry is not None and draft.entry.recording is not None
        draft.session = self.session_of(draft, draft.entry.recording.id, stat.etag)
        plan = plan_request(head.method, head.headers, stat, media_type=known.media_type, ranges=route.ranges)
        found = replace(found, plan=plan)
        spans = [part.span for part in plan.parts] or ([plan.span] if plan.span else [])
        if head.method == "HEAD" or not spans:
            return await self._worded(route, found, draft)
        opener = partial(self._open, known)
        first = await self._record_and_open(draft, opener, spans[0])
        source = Sequenced(plan.parts, plan.tail, first, opener) if plan.parts else first
        return Answer(route.render(found), source, plan)

    async def _record_and_open(self, draft: Draft, opener: Callable[[Span], Awaitable[Source]], span: Span) -> Source:
        """The intent made durable and the origin opened, side by side. Both must succeed."""
        durable = asyncio.ensure_future(self.trail.intend(draft.intent()))
        durable.add_done_callback(_heed)
        draft.intended = True
        try:
            source = await opener(span)
        except (Refusal, Changed):
            await _made_durable(durable, draft)
            raise
        try:
            await _made_durable(durable, draft)
        except BaseException:
            await source.close()
            raise
        return source

    async def _open(self, known: Object, span: Span) -> Source:
        return await self.open_source(self._store(known), known.key, span, known.stat.version)

    def _store(self, known: Object) -> Store:
        store = self.stores.get(known.store)
        if store is None:
            raise Unavailable(f"stores.{known.store}: not configured, and a recording lies there")
        return store


async def _made_durable(durable: asyncio.Future[None], draft: Draft) -> None:
    try:
        await durable
    except Refusal:
        draft.intended = False
        raise


def _heed(done: asyncio.Future[None]) -> None:
    """Takes note of a failure that nobody awaits any more, the client having left."""
    if not done.cancelled():
        done.exception()
