"""Yotel: a signed URL that lives seven days, and a stream under a scope of its own.

https://api.yotel.in, "Recordings". Ids are opaque; a malformed one is a call that does not exist.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .. import errors
from ..contract import Found, Reply, Route, Surface
from ..errors import Refusal
from ..http.headers import content_disposition, extension_for, media_type
from ..model import Head, LinkAsk, Verb
from ._words import Wording, alias, audio, bearer, json_reply, known, refuser, timestamp, whole_seconds

LINK_TTL = timedelta(days=7)
STEREO = 2
"""Channels: left = caller, right = AI agent."""

_NOT_FOUND: Wording = (404, "not_found", "Call not found.")

WORDS: dict[type[Refusal], Wording] = {
    errors.BadRequest: (400, "bad_request", "The request is ambiguous: send each header once."),
    errors.TooLarge: (413, "too_large", "The request's body is too large."),
    errors.Malformed: _NOT_FOUND,
    errors.Unauthenticated: (401, "unauthorized", "Send a valid API key as 'Authorization: Bearer yt_live_…'."),
    errors.Forbidden: (403, "forbidden", "The API key lacks the scope for this endpoint."),
    errors.UnknownRoute: (404, "not_found", "There is no such endpoint."),
    errors.MethodNotAllowed: (405, "method_not_allowed", "This endpoint does not take that method."),
    errors.NotFound: _NOT_FOUND,
    errors.ObjectMissing: _NOT_FOUND,
    errors.Absent: _NOT_FOUND,
    errors.NotReady: (
        409,
        "recording_not_ready",
        "Recording not yet available. Wait for the call.recording_ready webhook.",
    ),
    errors.Failed: (409, "recording_failed", "The recording failed and will not become available."),
    errors.Expired: _NOT_FOUND,
    errors.LinkSpent: _NOT_FOUND,
    errors.LinkExpired: _NOT_FOUND,
    errors.LinkRevoked: _NOT_FOUND,
    errors.LinkUsedUp: _NOT_FOUND,
    errors.NoTranscript: _NOT_FOUND,
    errors.Contradicts: (409, "conflict", "The request contradicts what is there."),
    errors.NoLink: (501, "link_unsupported", "This recording has no signed URL. Use the audio streaming endpoint."),
    errors.PreconditionFailed: (412, "precondition_failed", "The recording is not the version asked for."),
    errors.Unsatisfiable: (416, "range_not_satisfiable", "The range lies outside of the recording."),
    errors.TooMany: (429, "rate_limited", "Too many requests. Retry after the time given."),
    errors.Internal: (500, "internal_error", "Something went wrong. Quote the X-Request-Id to support."),
    errors.OriginFailed: (502, "storage_failed", "The recording's storage failed. Retry later."),
    errors.Unavailable: (503, "unavailable", "The service is unavailable. Retry after the time given."),
    errors.OriginTimeout: (504, "storage_timeout", "The recording's storage did not answer in time. Retry later."),
}


def _error(_status: int, code: str, message: str, _refusal: Refusal, _head: Head) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _link(found: Found) -> Reply:
    call, recording, stored = known(found)
    assert found.link is not None
    return json_reply(
        200,
        {
            "call_id": found.head.path["call_id"],
            "url": found.link.url,
            "expires_at": timestamp(found.link.expires_at),
            "duration_s": whole_seconds(recording.duration_ms),
            "stereo": call.voice_agent and recording.channels == STEREO,
            "format": media_type(stored.media_type),
        },
    )


def _file_name(found: Found) -> str:
    _, _, stored = known(found)
    return content_disposition("inline", f"recording-{found.head.path['call_id']}{extension_for(stored.media_type)}")


_call = alias("yotel", r"[A-Za-z0-9_-]{1,128}")

SURFACE = Surface(
    name="yotel",
    present=bearer,
    refuse=refuser(WORDS, _error),
    routes=(
        Route(
            "GET",
            "/api/v1/calls/{call_id}/recording",
            Verb.LINK,
            frozenset({"calls:read"}),
            _call,
            _link,
            link=lambda _head: LinkAsk(LINK_TTL),
            disposition=_file_name,
        ),
        Route(
            "GET",
            "/api/v1/calls/{call_id}/recording/audio",
            Verb.PLAY,
            frozenset({"recordings:download"}),
            _call,
            audio("private, max-age=300", _file_name),
        ),
    ),
)
