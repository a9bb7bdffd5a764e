"""Who touched which recording, and how it ended. Reading it is audited itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import TypedDict

from ...asks.audit import AccessPage, ListAccesses
from ...contract import Doc, Found, Reply, Route
from ...event import Method, Result
from ...model import Head, Verb
from .._words import Timestamp, json_reply
from . import parameters
from .ids import PATH, call, nothing
from .parameters import Parameter, next_page, read_query, schemas
from .recordings import Id, NextPage

_EVENTS = "/v1/audit/events"
_ACCESSES = "/v1/recordings/{id}/accesses"
_SCOPES = frozenset({"audit:read"})


class Actor(TypedDict):
    """Who. ``kind``: api_key · user · link · anonymous · system; ``id``: the key's, the token's sub, the link's."""

    kind: str
    id: str | None


class AccessTold(TypedDict):
    """One request that touched a recording, or tried to. What tells its end is null while it is going on."""

    event_id: Id
    occurred_at: Timestamp
    completed_at: Timestamp | None
    surface: str
    method: Method
    tenant: Id
    actor: Actor
    credential_id: str | None
    auth_method: str | None
    scopes: list[str]
    role: str | None
    address: str
    peer: str
    user_agent: str | None
    request_id: str
    trace_id: str | None
    call: Id | None
    recording: Id | None
    etag: str | None
    range: str | None
    bytes_sent: int | None
    status: int | None
    result: Result | None
    reason: str | None
    session: Id | None


class AccessesTold(TypedDict):
    """Newest first. ``next_cursor`` null: there are no older ones. A page that has one may hold fewer than ``limit``."""

    data: list[AccessTold]
    next_cursor: str | None
    links: NextPage


def _told(access: Mapping[str, Any]) -> AccessTold:  # Any: a row's own types, which the statement chose
    """The row with its actor in one."""
    rest = {name: value for name, value in access.items() if name not in {"actor_kind", "actor_id"}}
    return {**rest, "actor": {"kind": access["actor_kind"], "id": access["actor_id"]}}  # type: ignore[typeddict-item]  # of ``rest`` nobody knows more than that its names are text


def _page(path: Callable[[Found], str]) -> Callable[[Found], Reply]:
    def render(found: Found) -> Reply:
        page = found.done
        assert isinstance(page, AccessPage)
        body: AccessesTold = {
            "data": [_told(access) for access in page.accesses],
            "next_cursor": page.cursor,
            "links": {} if page.cursor is None else {"next": next_page(found, path(found), page.cursor)},
        }
        return json_reply(200, body)

    return render


def _of_call(found: Found) -> str:
    assert found.entry is not None
    return _ACCESSES.format(id=found.entry.call.id)


_OF_CALL: dict[str, Parameter] = {
    "limit": parameters.LIMIT,
    "cursor": parameters.CURSOR,
    "since": parameters.instant("Then or later."),
    "until": parameters.instant("Before then."),
    "actor": parameters.words("By this actor: a key's id, a token's sub, a link's id."),
    "credential": parameters.words("With this credential, by its id."),
    "method": parameters.one_of(Method, "Of this kind."),
    "surface": parameters.words("On this surface.", most=32),
    "result": parameters.one_of(Result, "That ended so."),
    "status": parameters.number(0, 599, "Answered with this HTTP status; 0: the client left before any."),
    "session": parameters.uuid("Of this playback."),
    "address": parameters.words("From this client address, as it is written in the audit."),
}
_AT_LARGE: dict[str, Parameter] = {
    **_OF_CALL,
    "call": parameters.uuid("To this call, by its UUID."),
    "recording": parameters.uuid("To this recording, by its UUID."),
}


def _asked(known: Mapping[str, Parameter]) -> Callable[[Head], ListAccesses]:
    return lambda head: ListAccesses(**read_query(head, known))


_LATE = (
    " An access is there once it has reached Postgres: as a rule 0.1 s after it began; after an outage with the time that it"
    " happened at. One that is going on is there without its end."
)

ROUTES = (
    Route(
        "GET",
        _ACCESSES,
        Verb.ACT,
        _SCOPES,
        call,
        _page(_of_call),
        ask=_asked(_OF_CALL),
        audited=Method.AUDIT,
        doc=Doc(
            "List accesses to a call and its recording",
            "Newest first, whatever has become of the recording." + _LATE,
            answer=AccessesTold,
            path=PATH,
            query=schemas(_OF_CALL),
        ),
    ),
    Route(
        "GET",
        _EVENTS,
        Verb.ACT,
        _SCOPES,
        nothing,
        _page(lambda _found: _EVENTS),
        ask=_asked(_AT_LARGE),
        audited=Method.AUDIT,
        doc=Doc(
            "List the account's accesses",
            "Newest first." + _LATE,
            answer=AccessesTold,
            query=schemas(_AT_LARGE),
        ),
    ),
)
