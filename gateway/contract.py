"""A surface as data: what a contract says of its routes, what the core hands it to word, and what it words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from .errors import Refusal
from .event import Method
from .model import CallRef, Entry, Head, Link, LinkAsk, Listing, Page, Plan, Presented, State, Transcript, Verb
from .values import value


@value
class Found:
    """What the core hands a surface to word."""

    head: Head
    base: str
    """The mount's public URL, without a slash at its end."""
    now: datetime
    entry: Entry | None = None
    state: State = State.ABSENT
    plan: Plan | None = None
    link: Link | None = None
    page: Page | None = None
    transcript: Transcript | None = None
    batch: Sequence[Reply] = ()
    """Verb BATCH: an answer for each of the route's ``several``, in their order."""
    done: object = None
    """Verb ACT: what the operation gave back; its type belongs to the ask's."""
    scopes: frozenset[str] = frozenset()
    """The caller's own."""


@value
class Reply:
    """A worded answer. ``body`` None: the bytes come from a Source, or there are none."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = None


MEDIA = ("audio/*", "video/*", "application/octet-stream")
"""What a recording's media type can be: other stored types are told as opaque."""
UUID_FORM = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
RETRY_S = 15
"""Seconds after which asking for an unfinished recording again makes sense."""


class Transcribed(StrEnum):
    """Whether a DESCRIBE tells the transcript."""

    NO = "no"
    OPTIONAL = "optional"
    """Found.transcript is None where there is none, or the tenant has none made."""
    REQUIRED = "required"
    """Refused with NoTranscript instead."""


Schema = Mapping[str, object]
"""JSON Schema 2020-12."""


@dataclass(frozen=True, slots=True)
class Doc:
    """What the OpenAPI document says of a route that the route itself doesn't."""

    summary: str = ""
    """One line, as "Get a call's recording"."""
    description: str = ""
    status: int = 200
    """Of success."""
    also: tuple[int, ...] = ()
    """Further statuses of success, with the same answer."""
    answer: object = None
    """Type of the JSON body of a success, as pydantic reads types: a TypedDict (of typing_extensions) mostly. None: no JSON."""
    media: tuple[str, ...] = ()
    """Media types of a success that is not JSON."""
    body: object = None
    """Type of the JSON body asked for. None: there is none."""
    path: Mapping[str, Schema] = field(default_factory=dict)
    query: Mapping[str, Schema] = field(default_factory=dict)
    fields: Mapping[str, Schema] = field(default_factory=dict)
    """Request header fields beside those of the credential."""
    given: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Status of success → header fields that a client acts on."""
    conflicts: tuple[str, ...] = ()
    """Codes of the 409s for what contradicts what is there."""


@dataclass(frozen=True, slots=True)
class Several:
    """What a BATCH asks: this route, once for each head."""

    route: Route
    heads: Sequence[Head]


READY_ALONE = frozenset({State.READY})
ANY_STATE = frozenset(State)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a surface, as data."""

    method: str
    path: str
    """A template of whole segments: ``/api/v1/calls/{call_id}/recording``"""
    verb: Verb
    scopes: frozenset[str]
    """Any one of these permits, together with ``role``. None at all and no role: nobody."""
    ref: Callable[[Head], CallRef | None]
    """Reads the call's id, or raises Malformed. None: it names no call, or the credential itself does."""
    render: Callable[[Found], Reply]
    present: Callable[[Head], Presented] | None = None
    """Where the credential stands, if elsewhere than on the surface's other routes."""
    link: Callable[[Head], LinkAsk] = field(default=lambda _head: LinkAsk(timedelta(hours=1)))
    """Verb LINK: which link is asked for, or raises Malformed."""
    listing: Callable[[Head], Listing] = field(default=lambda _head: Listing())
    """Verb LIST: which page is asked for, or raises Malformed."""
    ranges: bool = True
    disposition: Callable[[Found], str | None] = field(default=lambda _found: None)
    """The Content-Disposition of what is played or linked."""
    role: str | None = None
    """The least role that permits; scopes, where there are any, are asked for besides."""
    states: frozenset[State] = READY_ALONE
    """States in which it answers; in the others it refuses as the state says. PLAY and LINK need a known object too."""
    transcript: Transcribed = Transcribed.NO
    several: Callable[[Head], Several] | None = None
    """Verb BATCH: what is asked, or raises Malformed."""
    ask: Callable[[Head], object] = field(default=lambda _head: None)
    """Verb ACT: reads what is to be done into one of ``asks``, or raises Malformed."""
    makes: bool = False
    """Verb ACT: the call need not be there; its entry is None then."""
    allow: str = ""
    """Verb DELETE: the Allow field of its refusal."""
    audited: Method | None = None
    """How the audit calls it, if not as its verb says."""
    even_s: float = 0
    """A refusal leaves at a multiple of so many seconds after its request came, so that its time tells nothing."""
    doc: Doc = field(default_factory=Doc)


@dataclass(frozen=True, slots=True)
class Surface:
    """One contract: its paths, where a credential stands, how each refusal is worded. No logic of its own."""

    name: str
    routes: tuple[Route, ...]
    present: Callable[[Head], Presented]
    refuse: Callable[[Refusal, Head], Reply]
    vary: str = "Authorization"
    """The request fields that authorise, and so tell answers apart."""
    about: str = ""
    """A sentence or two for those who write a client: whose contract it is, what its ids are."""
