"""Metadata, listings and the stable audio URL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from ...contract import Found, Reply, Route
from ...errors import Malformed
from ...http.headers import content_disposition, extension_for
from ...model import Entry, Head, Listing, State, Verb
from .._words import audio, json_reply, known, timestamp
from .ids import call, nothing

PAGE_MAX = 200


def described(entry: Entry, state: State, base: str) -> dict[str, Any]:
    """A call's metadata and its recording's, as every answer here tells them."""
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
    return json_reply(200, described(found.entry, found.state, found.base))


def _list(found: Found) -> Reply:
    assert found.page is not None
    body: dict[str, Any] = {
        "data": [described(entry, entry.state(found.now), found.base) for entry in found.page.entries],
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


def file_name(found: Found) -> str:
    """``?download=1`` makes a browser save what it would play."""
    call, _, stored = known(found)
    kind: Literal["attachment", "inline"] = "attachment" if found.head.query.get("download") == "1" else "inline"
    return content_disposition(kind, f"recording-{call.id}{extension_for(stored.media_type)}")


ROUTES = (
    Route("GET", "/v1/recordings", Verb.LIST, frozenset({"calls:read"}), nothing, _list, listing=_listing),
    Route("GET", "/v1/recordings/{id}", Verb.DESCRIBE, frozenset({"calls:read"}), call, _describe),
    Route(
        "GET",
        "/v1/recordings/{id}/audio",
        Verb.PLAY,
        frozenset({"recordings:download"}),
        call,
        audio("private, max-age=300", file_name),
    ),
)
