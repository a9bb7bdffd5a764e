"""Yotel: a signed URL that lives seven days, and a stream under a scope of its own.

https://api.yotel.in, "Recordings". Ids are opaque; a malformed one is a call that does not exist.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from typing_extensions import TypedDict

from .. import errors
from ..contract import MEDIA, Doc, Found, Reply, Route, Surface
from ..errors import Refusal
from ..http.headers import content_disposition, extension_for, media_type
from ..model import Head, LinkAsk, Verb
from ._common import COMMON, missing
from ._words import BRIEFLY, Wording, alias, audio, bearer, json_reply, known, refuser, timestamp, whole_seconds

LINK_TTL = timedelta(days=7)
STEREO = 2
"""Channels: left = caller, right = AI agent."""

WORDS: dict[type[Refusal], Wording] = {
    **COMMON,
    **missing((404, "not_found", "Call not found."), errors.Malformed),
    errors.Unauthenticated: (401, "unauthorized", "Send a valid API key as 'Authorization: Bearer yt_live_…'."),
    errors.Forbidden: (403, "forbidden", "The API key lacks the scope for this endpoint."),
    errors.NotReady: (
        409,
        "recording_not_ready",
        "Recording not yet available. Wait for the call.recording_ready webhook.",
    ),
    errors.Failed: (409, "recording_failed", "The recording failed and will not become available."),
    errors.NoLink: (501, "link_unsupported", "This recording has no signed URL. Use the audio streaming endpoint."),
}


class SignedUrl(TypedDict):
    """Answer of the link endpoint."""

    call_id: str
    url: str
    expires_at: str
    duration_s: int | None
    stereo: bool
    format: str


def _error(_status: int, code: str, message: str, _refusal: Refusal, _head: Head) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _link(found: Found) -> Reply:
    call, recording, stored = known(found)
    assert found.link is not None
    answer: SignedUrl = {
        "call_id": found.head.path["call_id"],
        "url": found.link.url,
        "expires_at": timestamp(found.link.expires_at),
        "duration_s": whole_seconds(recording.duration_ms),
        "stereo": call.voice_agent and recording.channels == STEREO,
        "format": media_type(stored.media_type),
    }
    return json_reply(200, answer)


def _file_name(found: Found) -> str:
    _, _, stored = known(found)
    return content_disposition("inline", f"recording-{found.head.path['call_id']}{extension_for(stored.media_type)}")


_call = alias("yotel", r"[A-Za-z0-9_-]{1,128}")
_PATH = {"call_id": {"type": "string"}}

SURFACE = Surface(
    name="yotel",
    about="Yotel's contract: a signed URL that lives seven days, and a stream under a scope of its own. Ids are opaque.",
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
            doc=Doc("Get a recording's signed URL", "Good for seven days.", answer=SignedUrl, path=_PATH),
        ),
        Route(
            "GET",
            "/api/v1/calls/{call_id}/recording/audio",
            Verb.PLAY,
            frozenset({"recordings:download"}),
            _call,
            audio(BRIEFLY, _file_name),
            doc=Doc("Stream a recording's audio", media=MEDIA, path=_PATH),
        ),
    ),
)
