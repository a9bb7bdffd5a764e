"""Which refusals a route can meet, and how its surface words each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from multidict import CIMultiDict, MultiDict

from .. import errors
from ..contract import RETRY_S, Route, Surface, Transcribed
from ..errors import Refusal
from ..model import Head, State, Verb
from .credentials import Credentials, path_parameters

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_OF_STATES: dict[State, Refusal] = {
    State.ABSENT: errors.Absent(),
    State.PENDING: errors.NotReady(retry_after=RETRY_S),
    State.PROCESSING: errors.NotReady(retry_after=RETRY_S),
    State.FAILED: errors.Failed(),
    State.EXPIRED: errors.Expired(),
}
_ALWAYS: tuple[Refusal, ...] = (
    errors.BadRequest(),
    errors.TooMany("key", quota=600, window_s=60, retry_after=7),
    errors.Internal(),
    errors.Unavailable(),
)
_OF_STORES: tuple[Refusal, ...] = (errors.OriginFailed(), errors.OriginTimeout())
_OF_STREAMS: tuple[Refusal, ...] = (
    errors.StreamsLimited("streams_per_tenant", quota=50, retry_after=5),
    errors.TooManyStreams(),
)
_OF_LINKS: tuple[Refusal, ...] = (errors.LinkSpent(), errors.LinkExpired(), errors.LinkRevoked(), errors.LinkUsedUp())
_OF_ACTS_ON_CALLS: tuple[Refusal, ...] = (errors.Absent(), errors.Expired(), *_OF_STORES)
_SIZE = 3_376_044
_CONTRADICTS = "What was asked contradicts what is there."
_HIDDEN = frozenset({"cache-control", "content-type", "x-content-type-options"})
"""Fields that every refusal carries alike."""
_SENTENCE = re.compile(r".*\s.*")


@dataclass(frozen=True, slots=True)
class Worded:
    """A refusal as a client gets it."""

    reason: str
    status: int
    media_type: str
    fields: dict[str, str]
    """Header fields particular to this refusal, with example values."""
    body: Any
    """The parsed JSON: whatever the surface writes."""

    @property
    def message(self) -> str:
        """What its body says to a person."""
        texts = sorted(_texts(self.body), key=len)
        return texts[-1] if texts else ""


def worded(surface: Surface, route: Route, allowed: Credentials) -> list[Worded]:
    """Every refusal that ``route`` can answer with, least status first."""
    told = {(type(refusal), _name(refusal)): refusal for refusal in _refusals(route, allowed)}
    return sorted((_worded(surface, each, _head(route)) for each in told.values()), key=lambda each: each.status)


def _name(refusal: Refusal) -> str:
    """The refusal's reason; of a contradiction its own code, which clients act on."""
    return refusal.code if isinstance(refusal, errors.Contradicts) else refusal.reason


def _worded(surface: Surface, refusal: Refusal, head: Head) -> Worded:
    reply = surface.refuse(refusal, head)
    fields = {name: value for name, value in reply.headers.items() if name.lower() not in _HIDDEN}
    return Worded(
        _name(refusal), reply.status, reply.headers["Content-Type"], fields, orjson.loads(reply.body or b"null")
    )


def _refusals(route: Route, allowed: Credentials) -> Iterator[Refusal]:
    yield from _ALWAYS
    yield from _of_credentials(route, allowed)
    yield from _of_reading(route, allowed)
    yield from (errors.Contradicts(code, _CONTRADICTS) for code in route.doc.conflicts)
    if path_parameters(route.path):
        yield errors.NotFound()
    match route.verb:
        case Verb.PLAY | Verb.LINK | Verb.DESCRIBE:
            yield from (refusal for state, refusal in _OF_STATES.items() if state not in route.states)
            yield from _of_bytes(route)
        case Verb.ACT if _names_call(route):
            yield from _OF_ACTS_ON_CALLS
        case Verb.DELETE:
            yield errors.MethodNotAllowed(route.allow)
        case _:
            pass


def _of_credentials(route: Route, allowed: Credentials) -> Iterator[Refusal]:
    if allowed.link:
        yield from _OF_LINKS
    elif not allowed.public:
        yield errors.Unauthenticated()
        yield errors.Forbidden(min(route.scopes, default=route.role or ""))


def _of_reading(route: Route, allowed: Credentials) -> Iterator[Refusal]:
    """Refusals of ids, parameters and bodies that are not of their form."""
    names = path_parameters(route.path)
    if allowed.link:  # which is refused for anything that is wrong with it
        return
    if names:
        yield errors.Malformed("path", names[0])
    elif route.method in WITH_BODY:
        yield errors.Malformed("body")
    elif route.verb in {Verb.LIST, Verb.ACT, Verb.BATCH} or route.doc.query:
        yield errors.Malformed("query", next(iter(route.doc.query), ""))
    if route.method in WITH_BODY:
        yield errors.TooLarge()
        yield errors.CodedBody()


def _names_call(route: Route) -> bool:
    """Whether the route names a call: given a dummy id, it gives a reference or refuses the id's form."""
    try:
        return route.ref(_head(route)) is not None
    except Refusal:
        return True


def _head(route: Route) -> Head:
    path = dict.fromkeys(path_parameters(route.path), "x")
    return Head(route.method, path, MultiDict(), CIMultiDict(), request_id="0" * 32)


def _of_bytes(route: Route) -> Iterator[Refusal]:
    """Refusals that come once the recording is known: of its store, its streams and the request's conditions."""
    if route.transcript is Transcribed.REQUIRED:
        yield errors.NoTranscript()
    if route.verb is Verb.DESCRIBE:
        return
    yield from _OF_STORES
    if route.verb is Verb.LINK:
        yield errors.NoLink()
        return
    yield from _OF_STREAMS
    yield from (errors.ObjectMissing(), errors.PreconditionFailed())
    if route.ranges:
        yield errors.Unsatisfiable(_SIZE)


def _texts(value: Any) -> Iterator[str]:  # Any: parsed JSON
    match value:
        case str() if _SENTENCE.fullmatch(value):
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            pass
