"""The gateway's own surface: stable audio URLs, metadata, listing, links. Errors are RFC 9457 problem details.

An id is a call's internal UUID, or any alias as ``{surface}:{external id}``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson

from .. import errors
from ..errors import BadRequest, Malformed, Refusal
from ..http.headers import content_disposition, extension_for
from ..model import CallRef, Entry, Found, Head, LinkAsk, Listing, Presented, Reply, Route, State, Surface, Verb
from ._words import NO_STORE, Wording, audio, bearer, json_reply, known, refuser, timestamp

PROBLEMS = "urn:recording-gateway:problem:"
"""Prefix of every problem's ``type``: an identifier that stays."""

PLAY_PATH = "/v1/links/{token}/audio"
"""Where a gateway link plays."""

LINK_TTL = timedelta(hours=1)
LINK_TTL_MAX = timedelta(days=7)
PAGE_MAX = 200

_NOT_FOUND: Wording = (404, "not_found", "There is no such recording.")
_RETRY = "Retry after the time given."

WORDS: dict[type[Refusal], Wording] = {
    errors.BadRequest: (400, "bad_request", "The request is ambiguous or broken: send each header and parameter once."),
    errors.TooLarge: (413, "too_large", "The request's body is too large."),
    errors.Malformed: (422, "malformed", "A parameter is not of its form; see 'errors'."),
    errors.Unauthenticated: (401, "unauthenticated", "Send a valid API key or token as 'Authorization: Bearer …'."),
    errors.Forbidden: (403, "forbidden", "The credential lacks the scope named in 'needed'."),
    errors.UnknownRoute: (404, "not_found", "There is no such endpoint."),
    errors.MethodNotAllowed: (405, "method_not_allowed", "This endpoint takes the methods named in Allow."),
    errors.NotFound: _NOT_FOUND,
    errors.ObjectMissing: _NOT_FOUND,
    errors.Absent: (404, "recording_absent", "The call exists and was not recorded."),
    errors.NotReady: (409, "recording_not_ready", f"The recording is not there yet. {_RETRY}"),
    errors.Failed: (409, "recording_unavailable", "The recording failed and will not become available."),
    errors.Expired: (410, "recording_expired", "The recording is past its retention."),
    errors.LinkSpent: (403, "link_invalid", "The link is not valid. Ask for a new one."),
    errors.LinkExpired: (410, "link_invalid", "The link is not valid. Ask for a new one."),
    errors.NoLink: (
        501,
        "link_unsupported",
        "This recording's store signs no URLs. Use the audio URL or a gateway link.",
    ),
    errors.PreconditionFailed: (412, "precondition_failed", "The recording is not the version asked for."),
    errors.Unsatisfiable: (416, "range_not_satisfiable", "The range lies outside of the recording; see Content-Range."),
    errors.TooMany: (429, "rate_limited", f"Too many requests. {_RETRY}"),
    errors.Internal: (500, "internal", "Something went wrong. Quote the X-Request-Id to the operator."),
    errors.OriginFailed: (502, "storage_failed", "The recording's storage failed. Retry later."),
    errors.Unavailable: (503, "unavailable", f"The service is unavailable. {_RETRY}"),
    errors.OriginTimeout: (504, "storage_timeout", "The recording's storage did not answer in time. Retry later."),
}


def _problem(status: int, code: str, message: str, refusal: Refusal, _head: Head) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": PROBLEMS + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": message,
    }
    match refusal:
        case Malformed(field=field, message=what):
            problem["errors"] = [{"loc": list(field), "msg": what}]
        case errors.Forbidden(needed=needed):
            problem["needed"] = needed
        case _:
            pass
    return problem


_EXTERNAL = re.compile(r"([a-z]{1,32}):([A-Za-z0-9_.+-]{1,128})", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _call(head: Head) -> CallRef:
    text = head.path["id"]
    if _UUID.fullmatch(text) is not None:
        return CallRef(None, str(UUID(text)))
    if (named := _EXTERNAL.fullmatch(text)) is not None:
        return CallRef(named[1], named[2])
    raise Malformed("path", "id", message="must be a UUID, or surface:external-id")


def _none(_head: Head) -> None:
    return None


def _described(entry: Entry, state: State, base: str) -> dict[str, Any]:
    call, recording = entry.call, entry.recording
    described: dict[str, Any] = {"id": str(call.id), "state": state, "aliases": dict(call.aliases)}
    described |= {
        "direction": call.direction,
        "voice_agent": call.voice_agent,
        "started_at": timestamp(call.started_at),
        "ended_at": timestamp(call.ended_at),
        "recording": None,
        "links": {"self": f"{base}/v1/recordings/{call.id}"},
    }
    if recording is None:
        return described
    known = recording.object if state is State.READY else None
    described["recording"] = {
        "id": str(recording.id),
        "media_type": known and known.media_type,
        "size_bytes": known and known.stat.size,
        "etag": known and known.stat.etag,
        "duration_ms": recording.duration_ms,
        "channels": recording.channels,
        "created_at": timestamp(recording.created_at),
        "started_at": timestamp(recording.started_at),
        "ready_at": timestamp(recording.ready_at),
        "expires_at": timestamp(recording.expires_at),
        "hold": recording.hold,
    }
    if known is not None:
        described["links"]["audio"] = f"{base}/v1/recordings/{call.id}/audio"
    return described


def _describe(found: Found) -> Reply:
    assert found.entry is not None
    return json_reply(200, _described(found.entry, found.state, found.base))


def _list(found: Found) -> Reply:
    assert found.page is not None
    body: dict[str, Any] = {
        "data": [_described(entry, entry.state(found.now), found.base) for entry in found.page.entries],
        "next_cursor": found.page.cursor,
        "links": {},
    }
    if found.page.cursor is not None:
        query = {name: value for name, value in found.head.query.items() if name != "cursor"}
        body["links"]["next"] = f"{found.base}/v1/recordings?" + urlencode({**query, "cursor": found.page.cursor})
    return json_reply(200, body)


_LIMIT = re.compile(r"[0-9]{1,4}", re.ASCII)
_PARAMETERS = ("limit", "cursor", "state", "since", "until")


def _listing(head: Head) -> Listing:
    """Reads ``limit`` (1 to 200), ``cursor``, ``state``, ``since`` and ``until`` (ISO 8601 with a zone)."""
    for name in head.query:
        if name not in _PARAMETERS:
            raise Malformed("query", message=f"the parameters are {', '.join(_PARAMETERS)}")
        if len(head.query.getall(name)) > 1:
            raise Malformed("query", name, message="given twice")
    limit = head.query.get("limit", "50")
    if _LIMIT.fullmatch(limit) is None or not 1 <= int(limit) <= PAGE_MAX:
        raise Malformed("query", "limit", message=f"must be a number from 1 to {PAGE_MAX}")
    state = head.query.get("state")
    if state is not None and state not in set(State):
        raise Malformed("query", "state", message="must be one of " + ", ".join(State))
    return Listing(
        limit=int(limit),
        cursor=head.query.get("cursor"),
        state=None if state is None else State(state),
        since=_when(head, "since"),
        until=_when(head, "until"),
    )


def _when(head: Head, name: str) -> datetime | None:
    text = head.query.get(name)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Malformed("query", name, message="must be a time with its zone, as 2026-05-25T10:04:48Z")


def _link_ask(head: Head) -> LinkAsk:
    """Reads ``{"ttl_s": int, "delivery": "store" | "gateway"}``; both may be left out."""
    try:
        asked = orjson.loads(head.body) if head.body else {}
    except orjson.JSONDecodeError:
        raise Malformed("body", message="must be JSON") from None
    if not isinstance(asked, dict):
        raise Malformed("body", message="must be a JSON object")
    if not asked.keys() <= {"ttl_s", "delivery"}:
        raise Malformed("body", message="the members are ttl_s and delivery")
    ttl, delivery = asked.get("ttl_s", int(LINK_TTL.total_seconds())), asked.get("delivery", "store")
    if type(ttl) is not int or not 1 <= ttl <= LINK_TTL_MAX.total_seconds():
        raise Malformed("body", "ttl_s", message=f"must be a number from 1 to {int(LINK_TTL_MAX.total_seconds())}")
    if delivery not in {"store", "gateway"}:
        raise Malformed("body", "delivery", message='must be "store" or "gateway"')
    return LinkAsk(timedelta(seconds=ttl), delivery)


def _link(found: Found) -> Reply:
    assert found.link is not None
    return json_reply(201, {"url": found.link.url, "expires_at": timestamp(found.link.expires_at)})


def _file_name(found: Found) -> str:
    """``?download=1`` makes a browser save what it would play."""
    call, _, stored = known(found)
    kind: Literal["attachment", "inline"] = "attachment" if found.head.query.get("download") == "1" else "inline"
    return content_disposition(kind, f"recording-{call.id}{extension_for(stored.media_type)}")


def _presented_link(head: Head) -> Presented:
    """The link is the credential. Raises BadRequest where a second one stands beside it."""
    if any(field[:7].lower() == "bearer " for field in head.headers.getall("Authorization", [])):
        raise BadRequest("a link and a Bearer credential")
    return Presented(head.path["token"], link=True)


def play_url(base: str, token: str) -> str:
    """The URL under which the gateway link ``token`` plays, on a native mount at ``base``."""
    return base + PLAY_PATH.format(token=quote(token, safe=""))


SURFACE = Surface(
    name="native",
    present=bearer,
    refuse=refuser(WORDS, _problem, media_type="application/problem+json"),
    routes=(
        Route("GET", "/v1/recordings", Verb.LIST, frozenset({"calls:read"}), _none, _list, listing=_listing),
        Route("GET", "/v1/recordings/{id}", Verb.DESCRIBE, frozenset({"calls:read"}), _call, _describe),
        Route(
            "GET",
            "/v1/recordings/{id}/audio",
            Verb.PLAY,
            frozenset({"recordings:download"}),
            _call,
            audio("private, max-age=300", _file_name),
        ),
        Route(
            "POST",
            "/v1/recordings/{id}/links",
            Verb.LINK,
            frozenset({"recordings:download"}),
            _call,
            _link,
            link=_link_ask,
            disposition=_file_name,
        ),
        Route(
            "GET",
            PLAY_PATH,
            Verb.PLAY,
            frozenset({"recordings:download"}),
            _none,
            audio(NO_STORE, _file_name),
            present=_presented_link,
        ),
    ),
)
