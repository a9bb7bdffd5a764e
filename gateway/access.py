"""THE one path: identify → find → permit → plan → record → open. Every request of every surface walks it.

Nothing here knows a socket. What comes out is an Answer, whose access record is already durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID, uuid5

import structlog

from .contract import Found, Reply, Route, Surface, Transcribed
from .draft import Draft, method_of
from .errors import (
    Changed,
    Internal,
    LinkSpent,
    MethodNotAllowed,
    NoLink,
    NotFound,
    NoTranscript,
    ObjectMissing,
    OriginFailed,
    Refusal,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from .event import Result, Trail
from .held import Held, whole
from .http.headers import media_type
from .http.preconditions import plan as plan_request
from .model import (
    PIECE,
    Caller,
    CallRef,
    Catalog,
    Entry,
    Head,
    Lapsed,
    Limits,
    Link,
    LinkAsk,
    LinkUses,
    Object,
    Operation,
    Plan,
    Presented,
    Source,
    Span,
    Store,
    Verb,
)
from .policy import Roles, known_object, permit, permit_at_large, permit_public, servable
from .sequence import Sequenced, object_bytes
from .values import value

log = structlog.get_logger("gateway.access")

_PLAY, _LINK, _DESCRIBE, _DELETE, _ACT = Verb.PLAY, Verb.LINK, Verb.DESCRIBE, Verb.DELETE, Verb.ACT
_PARTIAL = HTTPStatus.PARTIAL_CONTENT


class Prover(Protocol):
    """A credential → who asks."""

    async def prove(self, presented: Presented, address: str) -> Caller:
        """Raises Unauthenticated, LinkSpent, Lapsed, Unavailable."""
        ...


class LinkMinter(Protocol):
    """A gateway link to one call's audio, or None where none can be made. Raises Unavailable."""

    async def __call__(self, caller: Caller, entry: Entry, ask: LinkAsk, /) -> Link | None: ...


class Streams(Protocol):
    """How many bodies may be on their way at once."""

    def admit(self, tenant: UUID, address: str) -> Callable[[], None]:
        """Counts one more body until the returned function is called. Raises TooManyStreams, StreamsLimited."""
        ...


ReadBody = Callable[[Head], Awaitable[Head]]
"""The request with its body. Raises BadRequest, TooLarge."""

OpenSource = Callable[[Store, str, Span, str], Coroutine[Any, Any, Source]]
"""(store, key, span, version) → a body that takes itself up again where its origin breaks. Raises as Store.open."""

SessionOf = Callable[[Draft, UUID, str], UUID]
"""Which playback a stream belongs to: (draft, recording, etag) → session."""

Playing = Callable[[Draft, UUID, str], Callable[[], None]]
"""(draft, recording, etag): a body of that playback is on its way until the returned function is called."""


@value
class Answer:
    """What is to leave. With a ``source``, its bytes follow the reply's head, and the draft still wants its outcome."""

    reply: Reply
    source: Source | None = None
    plan: Plan | None = None
    release: Callable[[], None] | None = None
    """To be called when the source is done with: gives back its place among the streams, and ends its playback's activity."""

    async def close(self) -> None:
        """Once the body is over, however it ended."""
        if self.release is not None:
            self.release()
        if self.source is not None:
            await self.source.close()

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
    playing: Playing
    mint: LinkMinter
    uses: LinkUses
    limits: Limits
    streams: Streams
    roles: Roles
    operations: Mapping[type, Operation]
    """What an ACT does, by the type of its ask."""

    async def serve(
        self, surface: Surface, route: Route, base: str, draft: Draft, body: ReadBody | None = None
    ) -> Answer:
        """Raises Refusal: then nothing has left, and the draft knows as much as was found out.

        ``body`` is asked for once it is known who sends it: strangers could fill the memory with theirs.
        """
        caller = await self._identify(surface, route, draft)
        if body is not None:
            draft.head = await body(draft.head)
        if route.several is not None:
            return await self._batch(surface, route, base, caller, draft)
        return await self._serve(route, base, caller, draft)

    async def refused(self, draft: Draft, status: int, refusal: Refusal) -> None:
        """Closes the event of a request that was refused. Raises Unavailable where the denial cannot be recorded.

        A request that proved nothing is counted against its address. Two kinds of refusal are not recorded, as the room in
        the journal is for accesses: of a stranger turned away by an outage, and one repeated within its window.
        """
        outcome = draft.outcome(status, Result.REFUSED, reason=refusal.reason)
        proven = draft.caller is not None and not draft.public
        if not proven and not draft.public and not isinstance(refusal, Unavailable | TooMany):
            await self.limits.failed(draft.head.address)
        if draft.intended:
            self.trail.conclude(outcome)
        elif refusal.repeated:
            return
        elif proven or (self.trail.admits_unproven and not isinstance(refusal, Unavailable)):
            await self.trail.record(draft.intent(), outcome)

    def abandoned(self, draft: Draft, *, ending: bool = False) -> None:
        """Closes the event of a client that left before its answer, or (``ending``) whom the end of this process cut off."""
        if draft.intended:
            result, reason = (Result.INTERRUPTED, "shutdown") if ending else (Result.CLIENT_GONE, "before_first_byte")
            self.trail.conclude(draft.outcome(0, result, reason=reason))

    def delivered(self, draft: Draft, status: int, result: Result, bytes_sent: int, reason: str | None) -> None:
        """Closes the event of a body that was delivered, or not to its end."""
        self.trail.conclude(draft.outcome(status, result, bytes_sent=bytes_sent, reason=reason))

    async def _identify(self, surface: Surface, route: Route, draft: Draft) -> Caller:
        head = draft.head
        try:
            presented = (route.present or surface.present)(head)
        except Refusal:
            await self.limits.suspect(head.address, Presented(None))
            raise
        if not presented.public:
            await self.limits.suspect(head.address, presented)
            try:
                draft.caller = caller = await self.prover.prove(presented, head.address)
            except Lapsed as lapsed:
                draft.caller = lapsed.caller
                self.limits.doubt(presented)
                await self.limits.failed(head.address)
                raise lapsed.refusal from None
            except (Unauthenticated, LinkSpent):
                self.limits.doubt(presented)
                raise
            await self.limits.caller(caller, presented)
            return caller
        draft.public = True
        await self.limits.stranger(head.address)
        ref = route.ref(head)
        assert ref is not None, "a public route names its call"
        entry = await self.catalog.find(None, ref)
        # The route says what this caller may; the call says whose tenant it is, and is the only one it reaches.
        draft.caller = caller = Caller(
            entry.call.tenant, "anonymous", None, None, None, route.scopes, call=entry.call.id
        )
        draft.entry = entry
        permit_public(entry)
        return caller

    async def _serve(self, route: Route, base: str, caller: Caller, draft: Draft) -> Answer:
        head, now = draft.head, draft.occurred_at
        ref = route.ref(head) or (CallRef(None, str(caller.call)) if caller.call else None)
        if ref is not None and draft.entry is None:
            draft.entry = await self._find(route, caller, ref)
        if (entry := draft.entry) is None:
            permit_at_large(caller, route.scopes, route.role, self.roles)
            return await self._at_large(route, Found(head, base, now, scopes=caller.scopes), caller, draft)
        permit(caller, entry, route.scopes, route.role, self.roles)
        verb = route.verb
        if verb is _DELETE:
            raise MethodNotAllowed(route.allow)
        if verb is _ACT:
            found = Found(head, base, now, entry, entry.state(now), scopes=caller.scopes)
            return await self._act(route, found, caller, draft)
        found = Found(head, base, now, entry, servable(entry, now, route.states), scopes=caller.scopes)
        if verb is _PLAY:
            return await self._play(route, found, known_object(entry, found.state), draft)
        if verb is _LINK:
            link = await self._link(route, found, known_object(entry, found.state), draft)
            return await self._worded(route, replace(found, link=link), draft)
        if verb is _DESCRIBE:
            return await self._describe(route, found, entry, draft)
        raise Internal(f"{route.method} {route.path}: {verb} names no call")

    async def _find(self, route: Route, caller: Caller, ref: CallRef) -> Entry | None:
        try:
            return await self.catalog.find(caller.tenant, ref)
        except NotFound:
            if route.makes:
                return None
            raise

    async def _at_large(self, route: Route, found: Found, caller: Caller, draft: Draft) -> Answer:
        """What names no call."""
        if route.verb is _ACT:
            return await self._act(route, found, caller, draft)
        listing = route.listing(found.head)
        if listing.scope is not None:
            permit_at_large(caller, frozenset({listing.scope}))
        page = await self.catalog.list(caller.tenant, listing)
        return await self._worded(route, replace(found, page=page), draft)

    async def _batch(self, surface: Surface, route: Route, base: str, caller: Caller, draft: Draft) -> Answer:
        """Each call walks the path by itself, and has an event of its own."""
        permit_at_large(caller, route.scopes, route.role, self.roles)
        assert route.several is not None
        several = route.several(draft.head)
        held = Held(self.trail)
        each = replace(self, trail=held)
        walks = (
            each._one_of_several(surface, several.route, base, caller, head)  # noqa: SLF001  of this class
            for head in several.heads
        )
        # All are waited for: an outage of one refuses the whole answer, and then none may be on record as having left.
        try:
            replies = whole(await asyncio.gather(*walks, return_exceptions=True))
        except Refusal as refusal:
            await held.let_go(surface.refuse(refusal, draft.head).status, refusal.reason)
            raise
        await held.let_go()
        return await self._worded(route, Found(draft.head, base, datetime.now(UTC), batch=replies), draft)

    async def _one_of_several(self, surface: Surface, route: Route, base: str, caller: Caller, head: Head) -> Reply:
        draft = Draft.begin(surface.name, method_of(route, head), head)
        draft.caller = caller
        try:
            return (await self._serve(route, base, caller, draft)).reply
        except Unavailable:
            raise
        except Refusal as refusal:
            reply = surface.refuse(refusal, head)
            await self.refused(draft, reply.status, refusal)
            return reply

    async def _act(self, route: Route, found: Found, caller: Caller, draft: Draft) -> Answer:
        """Recorded before it is done. How it ended is told afterwards, whatever becomes of the client."""
        ask = route.ask(found.head)
        await _made_durable(self._intend(draft), draft)
        doing = asyncio.ensure_future(self.operations[type(ask)](caller, draft.entry, ask))
        try:
            done = await asyncio.shield(doing)
        except asyncio.CancelledError:
            # It goes on without its client, and its event is concluded as it ends.
            draft.intended = False
            doing.add_done_callback(partial(self._done_alone, route, found, draft))
            raise
        reply = route.render(replace(found, done=done))
        self.trail.conclude(draft.outcome(reply.status, Result.COMPLETE))
        return Answer(reply)

    def _done_alone(self, route: Route, found: Found, draft: Draft, doing: asyncio.Future[object]) -> None:
        if doing.cancelled():
            self.trail.conclude(draft.outcome(0, Result.INTERRUPTED))
            return
        status, ended = 0, doing.exception()
        if ended is None:
            try:
                status = route.render(replace(found, done=doing.result())).status
            except Exception as error:  # noqa: BLE001  nobody is answered any more, but the event wants its outcome
                ended = error
        match ended:
            case None:
                outcome = draft.outcome(status, Result.COMPLETE, reason="client_gone")
            case Refusal(reason=reason):
                outcome = draft.outcome(0, Result.REFUSED, reason=reason)
            case defect:
                log.error("defect", request_id=found.head.request_id, exc_info=defect)
                outcome = draft.outcome(500, Result.REFUSED, reason=Internal.reason)
        self.trail.conclude(outcome)

    async def _describe(self, route: Route, found: Found, entry: Entry, draft: Draft) -> Answer:
        if entry.recording is not None and entry.recording.object is not None:
            draft.etag = entry.recording.object.stat.etag
        if route.transcript is not Transcribed.NO:
            transcript = None
            if entry.account.transcription_enabled:
                transcript = await self.catalog.transcript(entry.call.tenant, entry.call.id)
            if transcript is None and route.transcript is Transcribed.REQUIRED:
                raise NoTranscript
            found = replace(found, transcript=transcript)
        return await self._worded(route, found, draft)

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
            link = await store.sign(
                known.key, ask.ttl, media_type=media_type(known.media_type), disposition=disposition
            )
        if link is None and ask.delivery != "store":
            assert found.entry is not None and draft.caller is not None
            link = await self.mint(draft.caller, found.entry, ask)
        if link is None:
            raise NoLink(known.store)
        return link

    async def _play(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        try:
            try:
                return await self._play_version(route, found, known, draft)
            except Changed:
                return await self._play_anew(route, found, known, draft)
        except NotFound as error:
            log.exception("object_missing", store=known.store, request_id=found.head.request_id)
            raise ObjectMissing(error.detail) from error

    async def _play_anew(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        """The store holds another version than the catalog knew: record that, ask once what it is, and plan anew."""
        if draft.intended:
            self.trail.conclude(draft.outcome(0, Result.REFUSED, reason="object_changed"))
            draft.renew()
        stat = await self._store(known).stat(known.key)
        try:
            return await self._play_version(route, found, Object(known.store, known.key, stat, known.media_type), draft)
        except Changed as error:
            # It says one version when asked what it is, and another when read.
            raise OriginFailed(f"store {known.store}: served another version than it reported a moment ago") from error

    async def _play_version(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        head, stat = found.head, known.stat
        draft.etag = stat.etag
        assert draft.entry is not None and draft.entry.recording is not None
        anew = draft.session is not None
        recording = draft.entry.recording.id
        draft.session = self.session_of(draft, recording, stat.etag)
        if not anew and (use := _use(draft, draft.session)) is not None:
            draft.use, draft.session = use, await self.uses.known(*use)
        plan = plan_request(head.method, head.headers, stat, media_type=known.media_type, ranges=route.ranges)
        found = Found(head, found.base, found.now, found.entry, found.state, plan)
        spans = [part.span for part in plan.parts] or ([plan.span] if plan.span else [])
        draft.spans = spans if plan.status == _PARTIAL else ()
        if head.method == "HEAD" or not spans:
            if draft.use is None:
                return await self._worded(route, found, draft)
            reply = route.render(found)
            await _made_durable(self._intend(draft), draft)
            await self.uses.use(*draft.use)  # last of all: a request that gives nothing spends no use of its link
            self.trail.conclude(draft.outcome(reply.status, Result.COMPLETE))
            return Answer(reply, plan=plan)
        reply = route.render(found)
        assert draft.caller is not None
        release = self.streams.admit(draft.caller.tenant, head.address)
        try:
            opener = partial(self._open, known)
            first = await self._record_and_open(draft, opener(spans[0]))
        except BaseException:
            release()
            raise
        source = Sequenced(plan.parts, plan.tail, first, opener) if plan.parts else first
        if plan.length <= PIECE:  # it is over in no time: there is no silence to fill
            return Answer(reply, source, plan, release)
        ends = [release, self.playing(draft, recording, stat.etag)]
        if draft.use is not None:
            ends.append(self.uses.playing(*draft.use))
        return Answer(reply, source, plan, partial(_all, ends))

    async def _record_and_open(self, draft: Draft, opening: Coroutine[Any, Any, Source]) -> Source:
        """Makes the intent durable and opens the origin, side by side. Only when both have succeeded is a link's use spent."""
        try:
            durable = self._intend(draft)
        except BaseException:
            opening.close()
            raise
        try:
            source = await opening
        except (Refusal, Changed):
            await _made_durable(durable, draft)
            raise
        try:
            await _made_durable(durable, draft)
            if draft.use is not None:  # last of all, as above
                await self.uses.use(*draft.use)
        except BaseException:
            await source.close()
            raise
        return source

    def _intend(self, draft: Draft) -> Awaitable[None]:
        """Raises Unavailable: the event was not admitted, and wants no outcome."""
        durable = self.trail.intend(draft.intent())
        draft.intended = True
        return durable

    def _open(self, known: Object, span: Span) -> Coroutine[Any, Any, Source]:
        return self.open_source(self._store(known), known.key, span, known.stat.version)

    def _store(self, known: Object) -> Store:
        store = self.stores.get(known.store)
        if store is None:
            raise Unavailable(f"stores.{known.store}: not configured, but a recording is stored there")
        return store


def _all(ends: Sequence[Callable[[], None]]) -> None:
    for end in ends:
        end()


def _use(draft: Draft, playback: UUID) -> tuple[UUID, UUID, UUID] | None:
    """What LinkUses asks for (link, session, listener); None: the caller's credential does not count its uses."""
    caller, head = draft.caller, draft.head
    if caller is None or caller.max_uses is None:
        return None
    assert caller.credential is not None
    link = UUID(caller.credential)
    listener = f"{head.address}\n{head.headers.get('User-Agent')}"
    readable = listener.encode("utf-8", "backslashreplace").decode()  # a player may send bytes that are no UTF-8
    return link, playback, uuid5(link, readable)


async def _made_durable(durable: Awaitable[None], draft: Draft) -> None:
    try:
        await durable
    except Refusal:
        draft.intended = False
        raise
