"""Envoy: a playback URL for an hour, for calls named by a UUID.

https://tryenvoy.ai, "Get call recording". The id comes bare or with ``call_`` before it, and always goes out with it; an
alias of this surface is the bare UUID in lower case. Beside a Bearer credential there is X-API-Key.
"""

from __future__ import annotations

from datetime import timedelta

from typing_extensions import TypedDict

from .. import errors
from ..aliases import ENVOY_PREFIX, kept
from ..contract import UUID_FORM, Doc, Found, Reply, Route, Schema, Surface
from ..errors import BadRequest, Malformed, Unauthenticated
from ..http.headers import content_disposition, extension_for, media_type
from ..model import CallRef, Head, LinkAsk, Presented, State, Verb
from . import _fastapi
from ._words import alias, bearer, form, json_reply, known, refuser, timestamp

LINK_TTL = timedelta(hours=1)
ORGANISATION = "X-Organization-ID"
API_KEY = "X-API-Key"
ID = rf"(call_)?{UUID_FORM}"

WORDS = _fastapi.WORDS | {
    errors.Unauthenticated: (
        401,
        "unauthenticated",
        f"Not authenticated: send a valid key or token as 'Authorization: Bearer …', or a key as '{API_KEY}: …'.",
    ),
}


class PlaybackUrl(TypedDict):
    """Answer of the endpoint."""

    call_id: str
    url: str
    content_type: str
    expires_at: str
    recording_status: str
    """pending · processing · ready"""
    duration_seconds: float | None
    file_size_bytes: int | None
    recording_start_time: str | None


def _present(head: Head) -> Presented:
    """Raises BadRequest (two credentials), Unauthenticated."""
    keys = head.headers.getall(API_KEY, [])
    if len(keys) > 1 or (keys and "Authorization" in head.headers):
        raise BadRequest("two credentials")
    presented = bearer(head, tenant_field=ORGANISATION)
    if not keys:
        return presented
    if "." in keys[0]:  # as in every token, and in no key
        raise Unauthenticated(f"{API_KEY}: not a key", presented=True)
    return Presented(keys[0], presented.tenant)


_given = alias("envoy", ID)


def _call(head: Head) -> CallRef:
    try:
        given = _given(head)
    except Malformed as error:
        raise Malformed(*error.field, message="must be a UUID, with or without call_ before it") from None
    return CallRef("envoy", kept("envoy", given.id))


def _link(found: Found) -> Reply:
    _, recording, stored = known(found)
    assert found.link is not None
    milliseconds = recording.duration_ms
    answer: PlaybackUrl = {
        "call_id": ENVOY_PREFIX + _call(found.head).id,
        "url": found.link.url,
        "content_type": media_type(stored.media_type),
        "expires_at": timestamp(found.link.expires_at),
        "recording_status": found.state.value,
        "duration_seconds": None if milliseconds is None else milliseconds / 1000,
        "file_size_bytes": stored.stat.size,
        "recording_start_time": timestamp(recording.started_at),
    }
    return json_reply(200, answer)


def _file_name(found: Found) -> str:
    _, _, stored = known(found)
    return content_disposition("inline", f"recording-{_call(found.head).id}{extension_for(stored.media_type)}")


_PATH: dict[str, Schema] = {"call_id": form(ID)}
_FIELDS: dict[str, Schema] = {ORGANISATION: {"type": "string"}}

SURFACE = Surface(
    name="envoy",
    about="Envoy's contract: a playback URL for an hour, of calls named by a UUID, with or without call_ before it.",
    present=_present,
    refuse=refuser(WORDS, _fastapi.detail),
    vary=f"Authorization, {API_KEY}, {ORGANISATION}",
    routes=tuple(
        Route(
            "GET",
            path,
            Verb.LINK,
            frozenset({"recordings:download"}),
            _call,
            _link,
            link=lambda _head: LinkAsk(LINK_TTL),
            disposition=_file_name,
            states=frozenset({State.READY, State.PENDING, State.PROCESSING}),
            doc=Doc(
                "Get a playback URL of a call's recording",
                "Good for an hour.",
                answer=PlaybackUrl,
                path=_PATH,
                fields=_FIELDS,
            ),
        )
        for path in ("/api/v1/calls/{call_id}/recording", "/calls/{call_id}/recording")
    ),
)
