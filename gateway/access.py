"""The one path of every request on every surface: identify the caller, find the call, permit, record in the audit, answer.

Playing audio goes on in ``playback``. Nothing here knows a socket: what comes out is an Answer whose access record is
already durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from .contract import Found, Reply, Route, Surface, Transcribed
from .draft import Draft, method_of
from .errors import (
    Internal,
    LinkSpent,
    MethodNotAllowed,
    NoLink,
    NotFound,
    NoTranscript,
    Refusal,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from .event import CLIENT_GONE, COMPLETE, INTERRUPTED, REFUSED, Result, Trail
from .held import Held, whole
from .http.headers import media_type
from .model import (
    Caller,
    CallRef,
    Catalog,
    Entry,
    Head,
    Lapsed,
    Limits,
    Link,
    LinkAsk,
    Object,
    Operation,
    Presented,
    Store,
    Verb,
)
from .playback import Answer, Playback, store_of
from .policy import Roles, known_object, permit, permit_at_large, permit_public, servable

log = structlog.get_logger("gateway.access")

_PLAY, _LINK, _DESCRIBE, _DELETE, _ACT = Verb.PLAY, Verb.LINK, Verb.DESCRIBE, Verb.DELETE, Verb.ACT

_SHORTEST_LINK = timedelta(seconds=1)


class Prover(Protocol):
    """A credential → who asks."""

    async def prove(self, presented: Presented, address: str) -> Caller:
        """Raises Unauthenticated, LinkSpent, Lapsed, Unavailable."""
        ...


class LinkMinter(Protocol):
    """A gateway link to one call's audio, or None where none can be made. Raises Unavailable."""

    async def __call__(self, caller: Caller, entry: Entry, ask: LinkAsk, /) -> Link | None: ...


ReadBody = Callable[[Head], Awaitable[Head]]
"""The request with its body. Raises BadRequest, TooLarge, CodedBody."""


@dataclass(frozen=True, slots=True)
class Access:
    """The one path, and what it needs."""

    prover: Prover
    catalog: Catalog
    stores: Mapping[str, Store]
    playback: Playback
    trail: Trail
    mint: LinkMinter
    limits: Limits
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
        outcome = draft.outcome(status, REFUSED, reason=refusal.reason)
        proven = draft.caller is not None and not draft.public
        if not proven and not draft.public and not isinstance(refusal, Unavailable | TooMany):
            await self.limits.failed(draft.head.address)
        if draft.begun is not None:
            await draft.made_durable(draft.intend(self.trail))
        if draft.intended:
            self.trail.conclude(outcome)
        elif refusal.repeated:
            return
        elif proven or (self.trail.admits_unproven and not isinstance(refusal, Unavailable)):
            await self.trail.record(draft.intent(), outcome)

    def abandoned(self, draft: Draft, *, ending: bool = False) -> None:
        """Closes the event of a request that got no answer: its client left, or (``ending``) this process is shutting down."""
        if draft.intended:
            result, reason = (INTERRUPTED, "shutdown") if ending else (CLIENT_GONE, "before_first_byte")
            self.trail.conclude(draft.outcome(0, result, reason=reason))

    def delivered(self, draft: Draft, status: int, result: Result, bytes_sent: int, reason: str | None) -> None:
        """Closes the event of a body that was sent, wholly or in part; ``bytes_sent`` counts the object's own bytes."""
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
        draft.ref = ref = route.ref(head) or (CallRef(None, str(caller.call)) if caller.call else None)
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
            return await self.playback.play(route, found, known_object(entry, found.state), draft)
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
        """The answer on a route that names no call: a listing, or an operation on the account."""
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
            await held.turn_back(surface.refuse(refusal, draft.head).status, refusal.reason)
            raise
        reply = route.render(Found(draft.head, base, datetime.now(UTC), batch=replies))
        await held.let_go(draft.intent(), draft.outcome(reply.status, COMPLETE))
        return Answer(reply)

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
        """Runs an operation. Its intent is durable before it starts; its outcome is recorded even if the client leaves meanwhile."""
        ask = route.ask(found.head)
        await draft.made_durable(draft.intend(self.trail))
        doing = asyncio.ensure_future(self.operations[type(ask)](caller, draft.entry, ask))
        try:
            done = await asyncio.shield(doing)
        except asyncio.CancelledError:
            # It goes on without its client, and its event is concluded as it ends.
            draft.intended = False
            doing.add_done_callback(partial(self._done_alone, route, found, draft))
            raise
        reply = route.render(replace(found, done=done))
        self.trail.conclude(draft.outcome(reply.status, COMPLETE))
        return Answer(reply)

    def _done_alone(self, route: Route, found: Found, draft: Draft, doing: asyncio.Future[object]) -> None:
        if doing.cancelled():
            self.trail.conclude(draft.outcome(0, INTERRUPTED))
            return
        status, ended = 0, doing.exception()
        if ended is None:
            try:
                status = route.render(replace(found, done=doing.result())).status
            except Exception as error:  # noqa: BLE001  nobody is answered any more, but the event wants its outcome
                ended = error
        match ended:
            case None:
                outcome = draft.outcome(status, COMPLETE, reason="client_gone")
            case Refusal(reason=reason):
                outcome = draft.outcome(0, REFUSED, reason=reason)
            case defect:
                log.error("defect", request_id=found.head.request_id, exc_info=defect)
                outcome = draft.outcome(500, REFUSED, reason=Internal.reason)
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
        """An answer without audio: intent and outcome are recorded together, before it leaves."""
        reply = route.render(found)
        await self.trail.record(draft.intent(), draft.outcome(reply.status, COMPLETE))
        return Answer(reply, plan=found.plan)

    async def _link(self, route: Route, found: Found, known: Object, draft: Draft) -> Link:
        draft.etag = known.stat.etag
        ask = route.link(found.head)
        link = None
        if ask.delivery != "gateway":
            disposition = route.disposition(found)
            assert found.entry is not None
            # The store asks nobody again: what it signs must not outlive the recording's retention.
            ttl = min(ask.ttl, max(found.entry.left(found.now), _SHORTEST_LINK))
            link = await store_of(self.stores, known).sign(
                known.key, ttl, media_type=media_type(known.media_type), disposition=disposition
            )
        if link is None and ask.delivery != "store":
            assert found.entry is not None and draft.caller is not None
            link = await self.mint(draft.caller, found.entry, ask)
        if link is None:
            raise NoLink(known.store)
        return link
