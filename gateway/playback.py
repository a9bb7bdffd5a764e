"""How a recording is played: plan → record, and beside that open. What comes out is an Answer, whose access record is durable."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID, uuid5

import structlog

from .contract import Found, Reply, Route
from .draft import Draft
from .errors import Changed, NotFound, ObjectMissing, OriginFailed, Refusal, Unavailable
from .event import COMPLETE, REFUSED, Trail
from .http.preconditions import plan as plan_request
from .model import PIECE, LinkUse, LinkUses, Object, Plan, Source, Span, Store
from .sequence import Sequenced, object_bytes
from .values import value

log = structlog.get_logger("gateway.playback")

_PARTIAL = HTTPStatus.PARTIAL_CONTENT


class Streams(Protocol):
    """How many bodies may be on their way at once."""

    def admit(self, tenant: UUID, address: str) -> Callable[[], None]:
        """Counts one more body until the returned function is called. Raises TooManyStreams, StreamsLimited."""
        ...


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
class Playback:
    """What playing needs beside what was found."""

    stores: Mapping[str, Store]
    open_source: OpenSource
    trail: Trail
    session_of: SessionOf
    playing: Playing
    uses: LinkUses
    streams: Streams

    async def play(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        """Raises Refusal. ``known``: the object as the catalog knows it; no stat is asked for unless the store contradicts."""
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
            self._begin_anew(draft)
        stat = await store_of(self.stores, known).stat(known.key)
        try:
            return await self._play_version(route, found, Object(known.store, known.key, stat, known.media_type), draft)
        except Changed as error:
            # It says one version when asked what it is, and another when read.
            raise OriginFailed(f"store {known.store}: served another version than it reported a moment ago") from error

    async def _play_version(self, route: Route, found: Found, known: Object, draft: Draft) -> Answer:
        head, stat = found.head, known.stat
        draft.etag = stat.etag
        assert draft.entry is not None and draft.entry.recording is not None
        recording = draft.entry.recording.id
        if draft.begun is not None and draft.begun_of != (recording, stat.etag):
            self._begin_anew(draft)
        session = self.session_of(draft, recording, stat.etag)
        if draft.use is None:  # else planned anew: it stays the playback that its link knows
            draft.session = session
            if (use := _use(draft, session)) is not None:
                draft.use, draft.session = use, await self.uses.known(use)
        plan = plan_request(head.method, head.headers, stat, media_type=known.media_type, ranges=route.ranges)
        found = Found(head, found.base, found.now, found.entry, found.state, plan)
        spans = [part.span for part in plan.parts] or ([plan.span] if plan.span else [])
        draft.spans = spans if plan.status == _PARTIAL else ()
        reply = route.render(found)
        if head.method == "HEAD" or not spans:
            return await self._bodiless(reply, plan, draft)
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
            ends.append(self.uses.playing(draft.use))
        return Answer(reply, source, plan, partial(_all, ends))

    def _begin_anew(self, draft: Draft) -> None:
        """What the intent names is not what is going to be played."""
        self.trail.conclude(draft.outcome(0, REFUSED, reason="object_changed"))
        draft.renew()

    async def _bodiless(self, reply: Reply, plan: Plan, draft: Draft) -> Answer:
        if draft.use is None and draft.begun is None:
            await self.trail.record(draft.intent(), draft.outcome(reply.status, COMPLETE))
        else:
            await draft.made_durable(draft.intend(self.trail))
            if draft.use is not None:
                await self.uses.use(draft.use)  # last of all: a request that gives nothing spends no use of its link
            self.trail.conclude(draft.outcome(reply.status, COMPLETE))
        return Answer(reply, plan=plan)

    async def _record_and_open(self, draft: Draft, opening: Coroutine[Any, Any, Source]) -> Source:
        """Makes the intent durable and opens the origin, side by side. Only when both have succeeded is a link's use spent."""
        try:
            durable = draft.intend(self.trail)
        except BaseException:
            opening.close()
            raise
        try:
            source = await opening
        except (Refusal, Changed):
            await draft.made_durable(durable)
            raise
        try:
            await draft.made_durable(durable)
            if draft.use is not None:  # last of all, as above
                await self.uses.use(draft.use)
        except BaseException:
            await source.close()
            raise
        return source

    def _open(self, known: Object, span: Span) -> Coroutine[Any, Any, Source]:
        return self.open_source(store_of(self.stores, known), known.key, span, known.stat.version)


def store_of(stores: Mapping[str, Store], known: Object) -> Store:
    """Raises Unavailable."""
    store = stores.get(known.store)
    if store is None:
        raise Unavailable(f"stores.{known.store}: not configured, but a recording is stored there")
    return store


def _all(ends: Sequence[Callable[[], None]]) -> None:
    for end in ends:
        end()


def _use(draft: Draft, playback: UUID) -> LinkUse | None:
    """None: the caller's credential does not count its uses."""
    caller, head = draft.caller, draft.head
    if caller is None or caller.max_uses is None:
        return None
    assert caller.credential is not None
    link = UUID(caller.credential)
    listener = f"{head.address}\n{head.headers.get('User-Agent')}"
    readable = listener.encode("utf-8", "backslashreplace").decode()  # a player may send bytes that are no UTF-8
    return LinkUse(link, playback, uuid5(link, readable))
