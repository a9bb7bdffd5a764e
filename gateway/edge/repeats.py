"""Requests like one before: those of a player that seeks differ in their Range alone.

What the one path found out for such a request (who asks, which call, that he may) is remembered beside what it followed from,
and is taken for true while the credential still proves the very same caller and the catalog, from its memory, says the very
same: then, and only then, the next one is answered without walking the path again (``again``). Whatever is out of the ordinary is left to the path, which is always right.
"""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol
from uuid import UUID

from ..audit.renewed import Event, Likeness, Renewed
from ..audit.sessions import Key as Listener
from ..audit.sessions import Sessions
from ..audit.trail import JournalTrail
from ..contract import Route, Surface
from ..draft import Draft
from ..http.forwarded import request_id
from ..http.head import head_pattern
from ..model import PIECE, Caller, CallRef, Entry, Object, Presented, Span, Standing, State
from ..stores.short import Prompt
from ..stores.target import Target
from ..values import value
from .limits import RateLimits
from .streams import StreamBounds

KEPT: Final = 8192
"""Requests remembered, about 3 KB each."""
LEASE_S: Final = 1.0
"""Seconds at most for which what a repeat followed from is taken for true without a look, while nothing changes."""
IDLE_S: Final = 30.0
"""Seconds without one after which a place may be another's."""
_LEASE_OF_IDLE: Final = 0.01
"""Of the time after which a session is over, so that it ends when it should but for this."""
LONGEST: Final = 4096
"""Bytes of a head above which it is not looked at."""

_ASKED = re.compile(rb"\r\n[Rr]ange: ?(bytes=([0-9]{1,18})-([0-9]{1,18}))\r\n")
_FIELD = re.compile(rb"bytes=([0-9]{1,18})-([0-9]{1,18})")
_PASSING = re.compile(
    rb"(\r\n(?:X-Request-Id|X-Amzn-Trace-Id|X-Cloud-Trace-Context|tracestate):)[^\r\n]*", re.IGNORECASE
)
"""Fields that proxies make anew for each request, and from which no answer follows."""
_NAMED = re.compile(rb"\r\nX-Request-Id:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_VARYING = ("Content-Range", "Content-Length", "X-Request-Id")
_TELLING = frozenset(
    {
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "expect", "upgrade",
        "content-length", "transfer-encoding",
    }
)  # fmt: skip
"""Request fields by which an answer, or what follows it, may be another than the one before."""


class Known(Protocol):
    """A catalog's memory: what it would answer at once, and truly."""

    @property
    def changes(self) -> int:
        """Counts up whenever it may be another."""
        ...

    def known_call(self, tenant: UUID, ref: CallRef) -> tuple[Entry, float] | None:
        """And for how many seconds more, if nothing ``changes``."""
        ...

    def known_again(self, *, by_key: bool) -> None:
        """A call, and where ``by_key`` a key, was taken from it without asking again."""
        ...


@dataclass(slots=True)
class Repeat:
    """One request that was answered, and all that the answer followed from."""

    surface: str
    route: str
    address: str
    presented: Presented
    tenant: UUID
    by_key: bool
    standing: Standing
    ref: CallRef
    entry: Entry
    until: float
    """Seconds since the epoch: when the recording is over."""
    store: Prompt
    object_key: str
    version: str
    of: tuple[UUID, str]
    """Recording and etag."""
    size: int
    like: Likeness
    head: bytes
    """Its answer's, by ``head_pattern``: Content-Range, Content-Length and X-Request-Id are open."""
    listener: Listener
    session: UUID
    session_text: bytes
    leased: float = -math.inf
    """Until when nothing of this is looked at anew, by the clock, unless ``changes`` is another."""
    changes: int = -1


@value
class Asked:
    """A request that is like one before."""

    name: bytes
    repeat: Repeat
    span: Span
    field: bytes
    """The Range field, as sent."""
    request_id: str | None
    """As a trusted proxy sent it."""
    before: bytes
    """Its bytes before those of the field, and behind it."""
    behind: bytes


class Repeats:
    """What is remembered. ``find`` and ``admit`` ask nobody and wait for nothing."""

    def __init__(
        self,
        known: Known,
        standing: Callable[[Presented, Caller], Standing | None],
        limits: RateLimits,
        streams: StreamBounds,
        stores: Mapping[str, object],
        listener_of: Callable[[Draft, UUID, str], Listener],
        trail: JournalTrail,
        sessions: Sessions,
        trusts: Callable[[str], bool],
    ) -> None:
        """``standing``: as identity has it. ``trusts``: whether a peer's X-Request-Id is believed."""
        self._known = known
        self._standing = standing
        self._limits = limits
        self.streams = streams
        self._stores = {name: store for name, store in stores.items() if isinstance(store, Prompt)}
        self._listener_of = listener_of
        self._trail = trail
        self._sessions = sessions
        self._longest_lease_s = min(LEASE_S, sessions.idle_s * _LEASE_OF_IDLE)
        self._trusts = lru_cache(maxsize=4096)(trusts)
        self._kept: OrderedDict[bytes, Repeat] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, data: bytes, peer: bytes, last: Asked | None = None) -> Asked | None:
        """What ``data``, which is all that has come, is like. None: nothing, or something that the path is for.

        ``last``: what its connection was found to ask the last time.
        """
        if last is not None and (again := self._find_again(data, last)) is not None:
            return again
        found = _ASKED.search(data)
        if found is None:
            return None
        name = _name(data, found, peer)
        repeat = self._kept.get(name)
        span = None if repeat is None else _span(found[2], found[3], repeat.size)
        if repeat is None or span is None:
            return None
        start, stop = found.span(1)
        return Asked(name, repeat, span, found[1], self._request_id(data, peer), data[:start], data[stop:])

    def _find_again(self, data: bytes, last: Asked) -> Asked | None:
        """Where ``data`` differs from ``last`` in the field alone: neither digest nor look at the rest is needed."""
        before, behind, name = last.before, last.behind, last.name
        if not (data.startswith(before) and data.endswith(behind)):
            return None
        found = _FIELD.fullmatch(data, len(before), len(data) - len(behind))
        repeat = last.repeat
        if found is None or self._kept.get(name) is not repeat:
            return None
        span = _span(found[1], found[2], repeat.size)
        return None if span is None else Asked(name, repeat, span, found[0], last.request_id, before, behind)

    def admit(self, asked: Asked) -> Target | None:
        """What to ask the store for, now. None: the path is to be asked."""
        repeat, now = asked.repeat, time.monotonic()
        if now < repeat.leased and repeat.changes == self._known.changes:
            self._known.known_again(by_key=repeat.by_key)
        elif not self._renew(repeat, now):
            if self._kept.get(asked.name) is repeat:
                del self._kept[asked.name]
            return None
        if self.streams.has_room(repeat.tenant, repeat.address) and self._trail.admits:
            return repeat.store.prompt(repeat.object_key, repeat.version)
        return None

    def _renew(self, repeat: Repeat, now: float) -> bool:
        """Whether all that ``repeat`` followed from is so, and its caller may ask uncounted; then it is leased anew, from ``now`` on."""
        left = self._left(repeat)
        if left <= 0 or not self._limits.heeds_not(repeat.presented):
            return False
        repeat.leased, repeat.changes = now + min(left, self._longest_lease_s), self._known.changes
        session = self._sessions.of(repeat.listener, time.time())
        if session is not repeat.session:
            repeat.session, repeat.session_text = session, str(session).encode()
        return True

    def _left(self, repeat: Repeat) -> float:
        """Seconds for which all that ``repeat`` followed from is so, as far as is known unasked."""
        entry, left = self._known.known_call(repeat.tenant, repeat.ref) or (None, 0)
        if entry is not repeat.entry:
            return 0
        return min(left, repeat.standing(), repeat.until - time.time())

    def _request_id(self, data: bytes, peer: bytes) -> str | None:
        """As a trusted proxy sent it."""
        if not self._trusts(peer.decode()):
            return None
        found = _NAMED.search(data)
        return None if found is None else request_id(found[1].decode("latin-1"))

    def intend(self, asked: Asked, event: Event, request_id: str, told: Callable[[], None]) -> Renewed:
        """Raises Unavailable."""
        repeat = asked.repeat
        return self._trail.intend_again(repeat.like, event, request_id, asked.field, repeat.session_text, told=told)

    def learn(
        self,
        data: bytes,
        peer: bytes,
        surface: Surface,
        route: Route,
        template: str,
        draft: Draft,
        fields: Mapping[str, str],
    ) -> None:
        """``data`` was answered, wholly, with a 206 of these ``fields``."""
        recording = draft.entry.recording if draft.entry is not None else None
        if recording is None or recording.object is None or recording.object.store not in self._stores:
            return
        found = _ASKED.search(data)
        if found is None or int(found[3]) - int(found[2]) >= PIECE:
            return
        name = _name(data, found, peer)
        kept = self._kept.get(name)
        if kept is None:
            if not self._has_room():
                return
        elif self._left(kept) > 0:
            return  # it was the path's for once
        named = self._request_id(data, peer)
        if named is not None and named != draft.head.request_id:
            return  # the bytes do not say what the parser made of them
        repeat = self._made(surface, route, template, draft, fields)
        if repeat is None:
            return
        repeat.leased = time.monotonic()  # from now on it counts as used
        self._kept[name] = repeat
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _has_room(self) -> bool:
        """For one more. Where more play than there are places, some keep theirs, or all would lose theirs before they ask again."""
        if len(self._kept) < KEPT:
            return True
        name, oldest = next(iter(self._kept.items()))
        if oldest.leased + IDLE_S <= time.monotonic():
            return True
        self._kept.move_to_end(name)  # for the next one another is looked at
        return False

    def _made(
        self, surface: Surface, route: Route, template: str, draft: Draft, fields: Mapping[str, str]
    ) -> Repeat | None:
        """None: it is not one whose like could be told by its bytes."""
        entry, caller, ref, object_ = draft.entry, draft.caller, draft.ref, _object(draft, fields)
        if entry is None or entry.recording is None or caller is None or object_ is None or ref is None:
            return None
        presented = (route.present or surface.present)(draft.head)
        standing, store = self._standing(presented, caller), self._stores.get(object_.store)
        known, _ = self._known.known_call(caller.tenant, ref) or (None, 0)
        if standing is None or store is None or known is not entry:
            return None
        try:
            like = Likeness(draft.intent())
            head = head_pattern(206, lambda *texts: {**fields, **dict(zip(_VARYING, texts, strict=True))}, 3)
        except ValueError:
            return None
        assert draft.session is not None and draft.etag is not None
        end = None if entry.recording.hold else entry.recording.expires_at
        return Repeat(
            surface=surface.name,
            route=template,
            address=draft.head.address,
            presented=presented,
            tenant=caller.tenant,
            by_key=caller.kind == "api_key",
            standing=standing,
            ref=ref,
            entry=entry,
            until=math.inf if end is None else end.timestamp(),
            store=store,
            object_key=object_.key,
            version=object_.stat.version,
            of=(entry.recording.id, draft.etag),
            size=object_.stat.size,
            like=like,
            head=head,
            listener=self._listener_of(draft, entry.recording.id, draft.etag),
            session=draft.session,
            session_text=str(draft.session).encode(),
        )


def _object(draft: Draft, fields: Mapping[str, str]) -> Object | None:
    """What was played, where another request like this one would be answered alike by all but its time."""
    caller, entry, head = draft.caller, draft.entry, draft.head
    alike = (
        caller is not None
        and not draft.public  # its address is counted
        and draft.use is None
        and draft.session is not None
        and head.trace_id is None
        and _TELLING.isdisjoint(map(str.lower, head.headers))
        and tuple(name for name in fields if name in _VARYING) == _VARYING
    )
    if not alike or entry is None or entry.recording is None or entry.state(draft.occurred_at) is not State.READY:
        return None
    known = entry.recording.object
    return known if known is not None and known.stat.etag == draft.etag else None


def _span(first: bytes, last: bytes, size: int) -> Span | None:
    """Of an object of ``size`` bytes; None: it is empty, or too long."""
    start, stop = int(first), min(int(last) + 1, size)
    return Span(start, stop) if 0 < stop - start <= PIECE else None


def head_of(asked: Asked, request_id: str) -> bytes:
    """The beginning of the answer's head; ``http.head.last_lines`` belong behind it."""
    span, repeat = asked.span, asked.repeat
    start, stop = span.start, span.stop
    told = b"bytes %d-%d/%d" % (start, stop - 1, repeat.size), b"%d" % (stop - start)
    return repeat.head % (*told, request_id.encode())


def whole_head(data: bytes) -> bool:
    """Whether it is one request without a body, and nothing more, as far as that can be seen."""
    return len(data) <= LONGEST and data.startswith(b"GET ") and data.find(_END) == len(data) - len(_END)


def _name(data: bytes, found: re.Match[bytes], peer: bytes) -> bytes:
    """Of all that ``data`` says but its Range, and what proxies add to each. A digest: heads hold credentials, which are kept nowhere."""
    start, stop = found.span(1)
    told = b"\0".join((peer, data[:start], data[stop:]))
    if b"-Id:" in told or b"-id:" in told or b"race" in told:
        told = _PASSING.sub(rb"\1", told)
    return blake2b(told, digest_size=16).digest()
