"""The vocabulary. Read this file first.

Sizes are in bytes, durations in milliseconds, times are aware and in UTC. A surface rounds; the core never does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from multidict import MultiMapping

from .errors import Refusal
from .values import value

PIECE = 64 * 1024
"""Bytes: the most that one ``Source.read`` gives."""
KEY_BYTES = 1024
"""Longest key of an object: what S3 and Cloud Storage accept, and short enough for Postgres' index of keys."""


class Verb(StrEnum):
    """What a route asks of the core."""

    PLAY = "play"
    LINK = "link"
    DESCRIBE = "describe"
    LIST = "list"
    BATCH = "batch"
    """Other operations of the same surface, one for each of several calls."""
    DELETE = "delete"
    """Of a recording: never granted, and audited."""
    ACT = "act"
    """Anything that moves no audio: the route's ``ask`` says what."""


class State(StrEnum):
    """A call's recording is in exactly one of these."""

    ABSENT = "absent"
    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


# --- a request ------------------------------------------------------------------------------------------------------


@value
class Head:
    """A request without its socket. ``path`` holds the route's parameters, percent-decoded; header names fold case."""

    method: str
    path: Mapping[str, str]
    query: MultiMapping[str]
    headers: MultiMapping[str]
    address: str = ""
    """The client's address, as far as trusted proxies tell it."""
    peer: str = ""
    """The address at the other end of the socket."""
    request_id: str = ""
    trace_id: str | None = None
    body: bytes = b""


@value
class Presented:
    """What a request shows as its credential, unproven. ``token`` None: nothing was shown."""

    token: str | None = field(repr=False)
    tenant: str | None = None
    """A tenant named beside the credential (X-Tenant, X-Organization-Id). It must match; alone it proves nothing."""
    link: bool = False
    """The token is a gateway link's."""
    public: bool = False
    """The call's id alone is the credential: the route's ``ref`` is looked up among all tenants'."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, proven."""

    tenant: UUID
    tenant_slug: str = field(default="", kw_only=True)
    """Empty where the credential names its tenant by id alone (a gateway link)."""
    kind: str
    """api_key · user · link · anonymous"""
    subject: str | None
    """The actor's id: the key's id, the token's ``sub``. None: anonymous."""
    credential: str | None
    """The credential's id, never its secret. None: anonymous."""
    method: str | None
    """How it was proven: api_key · jwt · link. None: not at all, the call's id being enough."""
    scopes: frozenset[str] = frozenset()
    role: str | None = None
    call: UUID | None = None
    """Where set, the credential is good for this call alone."""
    max_uses: int | None = None
    """Where set, the credential is good for so many playbacks."""


class Lapsed(Exception):
    """A genuine credential that does not count: it has ended, or is not good from this address or for what it is used for.

    ``caller`` is whose it is, for the audit; ``refusal`` is how the request is refused.
    """

    def __init__(self, caller: Caller, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.caller = caller
        self.refusal = refusal


class CallRef(NamedTuple):
    """How a request names a call: an external id within ``surface``, or (surface None) the internal UUID."""

    surface: str | None
    id: str


BY_LINK = "gateway link"
"""As ``CallRef.surface``: the id is a gateway link's, and the call is the one that it plays. No surface can have this name."""


# --- what the catalog knows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stat:
    """What a store says of an object."""

    size: int
    etag: str
    """A strong entity-tag with its quotes, fit for a client."""
    version: str
    """What a read is pinned to, in the store's own terms: an S3 ETag, a GCS generation, a file's identity."""
    modified: datetime
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """Where a ready recording's bytes lie, and what is known of them beforehand."""

    store: str
    key: str
    stat: Stat
    media_type: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Phone numbers never leave for a log or the audit."""

    id: UUID
    tenant: UUID
    aliases: Mapping[str, str]
    """surface → external id"""
    direction: str | None = None
    from_number: str | None = field(default=None, repr=False)
    to_number: str | None = field(default=None, repr=False)
    voice_agent: bool = False
    department: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewCall:
    """What is told of a call. None: not told, and what is known stays."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """surface → external id"""
    id: UUID | None = None
    direction: str | None = None
    """inbound · outbound · internal"""
    from_number: str | None = field(default=None, repr=False)
    to_number: str | None = field(default=None, repr=False)
    voice_agent: bool | None = None
    department: UUID | None = None
    started_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A call's recording. ``object`` is known once it is ready (or earlier, where the pipeline said so)."""

    id: UUID
    state: State
    object: Object | None = None
    duration_ms: int | None = None
    channels: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    hold: bool = False
    failure: str | None = None
    seekable: bool | None = None
    """Whether a player can seek by reading a few ranges, as the object has an index. None: the object does not say."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What is told of when a recording started and how long it is kept; None: nothing, and what was told before holds.

    It is kept as long as the longest of ``expires_at``, its own ``retention_days`` and its tenant's, which count from when it
    started (else its call, else when it became ready); for ever where there is none of the three.
    """

    started_at: datetime | None = None
    expires_at: datetime | None = None
    retention_days: int | None = None


NOTHING_TOLD = Lifetime()


@dataclass(frozen=True, slots=True)
class Tenant:
    """An account."""

    id: UUID
    slug: str
    name: str
    recording_enabled: bool = False
    """Its recordings are served to whoever knows a call's id, on the surface where that is enough (agentphone)."""
    transcription_enabled: bool = False
    retention_days: int | None = None
    """None: for ever."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A timed piece of a transcript."""

    start_ms: int
    end_ms: int
    text: str = field(repr=False)
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, as the pipeline put it. Text never leaves for a log or the audit."""

    status: str
    """pending · processing · ready · failed"""
    language: str | None
    """BCP 47"""
    text: str | None = field(repr=False)
    segments: Sequence[Segment] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog holds under one call id."""

    call: Call
    recording: Recording | None
    account: Tenant
    """Whose the call is."""
    transcript: str | None = None
    """Its transcript's status. None: it has none, or its account has transcription switched off."""

    def state(self, now: datetime) -> State:
        """The core state of CONTRACTS at ``now``: retention that has run out counts before anything swept it."""
        if self.recording is None:
            return State.ABSENT
        end = self.recording.expires_at
        if end is not None and end <= now and not self.recording.hold:
            return State.EXPIRED
        return self.recording.state

    def left(self, now: datetime) -> timedelta:
        """How long, from ``now``, until its retention ends: zero if it has ended, ``timedelta.max`` if it is held or has no end."""
        end = None if self.recording is None or self.recording.hold else self.recording.expires_at
        return timedelta.max if end is None else max(end - now, timedelta())


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the catalog keeps it: never its secret."""

    id: UUID
    tenant: UUID
    tenant_slug: str
    name: str
    hint: str
    """Prefix and the last four characters, for people to tell keys apart."""
    scopes: frozenset[str]
    role: str | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """A gateway link that can be taken back, as the catalog keeps it: never its token."""

    id: UUID
    tenant: UUID
    call: UUID
    created_at: datetime
    created_by: str | None
    """The credential's id."""
    expires_at: datetime
    max_uses: int | None = None
    """Playbacks it is good for. None: any number."""
    network: IPv4Network | IPv6Network | None = None
    """Where it is good from. None: anywhere."""
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, newest first; ``cursor`` asks for the next."""

    entries: Sequence[Entry]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a LIST asks for. Times from ``since`` on, and before ``until``."""

    limit: int = 50
    cursor: str | None = None
    state: State | None = None
    since: datetime | None = None
    """Of registration, as ``until``."""
    until: datetime | None = None
    started_since: datetime | None = None
    """Of the call's start, as ``started_until``."""
    started_until: datetime | None = None
    number: str | None = field(default=None, repr=False)
    """Either side's, in any spelling of its digits."""
    department: UUID | None = None
    text: str | None = field(default=None, repr=False)
    """Words of the transcript, as a web search takes them."""
    scope: str | None = None
    """Asked for besides the route's own."""


class Catalog(Protocol):
    """Call id → recording, tenant in every question. Raises NotFound, Unavailable."""

    async def find(self, tenant: UUID | None, ref: CallRef) -> Entry:
        """``tenant`` None: whoever's, for a surface whose external ids are unique among all tenants."""
        ...

    async def list(self, tenant: UUID, listing: Listing) -> Page: ...
    async def transcript(self, tenant: UUID, call: UUID) -> Transcript | None: ...


class Credentials(Protocol):
    """What identity asks of the catalog. None: unknown. Raises Unavailable."""

    async def key(self, sha256: bytes) -> Key | None: ...
    async def tenant(self, slug: str) -> Tenant | None: ...
    async def link(self, link: UUID) -> IssuedLink | None: ...


Standing = Callable[[], float]
"""For how many seconds from now a credential proves the very caller that it proved, without anybody being asked; 0 or less: it does not."""


# --- where audio lies -----------------------------------------------------------------------------------------------


@value
class Span:
    """Bytes ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Link:
    """A URL that carries its own permission, and when it truly ends."""

    url: str
    expires_at: datetime
    id: UUID | None = None
    """By which it can be taken back. None: it can't."""


class Source(Protocol):
    """Bytes on their way. Reads ahead no further than its socket's buffer."""

    async def read(self) -> bytes:
        """The next piece, 1 to PIECE bytes; ``b""`` at the end and only there. Raises Broken, Changed."""
        ...

    async def close(self) -> None:
        """Give the origin's connection back or, where bytes are left on it, close it. Never raises; may be repeated."""
        ...


@runtime_checkable
class Pourable(Source, Protocol):
    """A Source whose bytes can go to a socket without passing through this process.

    ``read`` and ``pour`` may follow each other; together they give each byte once, in its order.
    """

    def at_hand(self) -> memoryview:
        """Bytes that came along with the store's answer, to leave with the head; empty: none, or taken before."""
        ...

    def pour(self, to: int, most: int) -> int:
        """Moves up to ``most`` of the next bytes to the socket with the descriptor ``to``; never waits.

        How many the socket took. 0: there is nothing to move before ``ready`` returns. Raises BlockingIOError where the
        socket is full: come again when it is writable; ConnectionError, its peer is gone; Broken, Changed as ``read``.
        """
        ...

    async def ready(self) -> None:
        """Returns when ``pour`` is worth another try. Raises Broken, Changed."""
        ...


class Store(Protocol):
    """Where audio lies. Keys are the store's own; they are never parsed."""

    def unfit(self, key: str) -> str | None:
        """What keeps an object here from ever having ``key``; None: one may have it. Asks nobody."""
        ...

    async def stat(self, key: str) -> Stat:
        """Raises NotFound (no such object), Unavailable, OriginFailed, OriginTimeout."""
        ...

    async def open(self, key: str, span: Span, version: str) -> Source:
        """The origin has answered, and rightly, when this returns. A Span is never empty.

        Raises Changed (no longer that version), NotFound, Unavailable, OriginFailed, OriginTimeout.
        """
        ...

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        """The store's own signed URL for GET, answering with that type and disposition; None: it has none."""
        ...

    async def delete(self, key: str, version: str) -> None:
        """The object is gone when this returns, if it was that version; if it was gone before, that is all right.

        Raises Changed (it is another version now), Unavailable, OriginFailed (the right to delete is missing, too),
        OriginTimeout.
        """
        ...

    async def check(self) -> None:
        """Can the store be reached, with these credentials? Raises Unavailable, saying why."""
        ...

    async def close(self) -> None: ...


# --- retention ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A recording that is past its end and not held; or one that has expired and whose object may still be there."""

    tenant: UUID
    tenant_slug: str
    call: UUID
    recording: Recording

    @property
    def object(self) -> Object | None:
        """What is to be deleted. None: no object was ever found to be this recording, whatever lies at its place."""
        return self.recording.object if self.recording.ready_at is not None else None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a retention sweep would do for one tenant now. ``bytes`` is an upper bound: two recordings may share an object."""

    tenant: UUID
    tenant_slug: str
    due: int
    """Past their end and not held."""
    left: int
    """Expired before; their objects could not be deleted then."""
    held: int
    """Past their end and held: they stay."""
    bytes: int
    """What the objects of ``due`` and ``left`` hold."""


# --- an answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart/byteranges body: its head, then its span of the object."""

    head: bytes
    span: Span


@value
class Plan:
    """What RFC 9110 sections 13 and 14 make of a request: 200, 206 or 304, and which bytes.

    ``parts`` is empty but for a multipart answer; ``tail`` closes that. ``length`` is the Content-Length in any case.
    """

    status: int
    headers: Mapping[str, str]
    length: int
    span: Span | None = None
    parts: tuple[Part, ...] = ()
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class LinkAsk:
    """What link is wanted: how long it should live, and by whom it is served."""

    ttl: timedelta
    delivery: str = "any"
    """store (its own signed URL) · gateway · any: the store's, else the gateway's"""
    max_uses: int | None = None
    """Playbacks that a gateway link is good for. None: any number."""
    ip_cidr: str | None = None
    """Network that a gateway link is good from. None: anywhere."""


# --- what the one path asks of others -------------------------------------------------------------------------------


class Limits(Protocol):
    """How much anybody may ask. Every method raises TooMany."""

    async def stranger(self, address: str) -> None:
        """Counts a request that needs no credential."""
        ...

    async def suspect(self, address: str, presented: Presented) -> None:
        """Refuses an address from which too many credentials failed lately, unless ``presented`` was proven lately. Counts nothing."""
        ...

    async def caller(self, caller: Caller, presented: Presented) -> None:
        """Counts a request of a proven caller, against the credential that was ``presented`` and against its tenant."""
        ...

    async def failed(self, address: str) -> None:
        """Counts a request that proved nothing. Never raises."""
        ...

    def doubt(self, presented: Presented) -> None:
        """What was ``presented`` has been refused: it no longer counts as proven lately. Never raises."""
        ...


class LinkUse(NamedTuple):
    """One use of a link whose uses are counted."""

    link: UUID
    session: UUID
    """The playback."""
    listener: UUID
    """Of the address and the player: all that two replicas can know the same playback by."""


class LinkUses(Protocol):
    """How often a link was used. Requests of one playback are one use."""

    async def known(self, use: LinkUse) -> UUID:
        """The playback that a request of this session belongs to, or would begin. Counts nothing.

        Another replica may have begun it under another session: then it is found by its listener.
        Raises LinkUsedUp, Unavailable.
        """
        ...

    async def use(self, use: LinkUse) -> UUID:
        """As ``known``, and counts the playback if it is new. To be called before anything leaves.

        Raises LinkUsedUp (also where others took the last use since ``known``), Unavailable.
        """
        ...

    def playing(self, use: LinkUse) -> Callable[[], None]:
        """A body of that playback is on its way until the returned function is called; meanwhile no replica takes it for over."""
        ...


class Operation(Protocol):
    """One thing that moves no audio, for a caller who may. ``entry``: the call that the route names, if it names one."""

    async def __call__(self, caller: Caller, entry: Entry | None, ask: Any, /) -> object: ...
