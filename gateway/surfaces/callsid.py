"""A presigned URL for an hour, and a download, for calls named ``call_…``. The document names no vendor.

"Stream Recording" and "Download Recording". X-Organization-Id picks the organisation, and must be the credential's own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from typing_extensions import TypedDict

from .. import errors
from ..contract import MEDIA, Doc, Found, Reply, Route, Schema, Surface
from ..errors import Contradicts, Refusal
from ..http.headers import content_disposition, extension_for, media_type, safe_name
from ..model import CallRef, Head, LinkAsk, Presented, Verb
from ._common import COMMON, missing
from ._words import BRIEFLY, Wording, alias, audio, bearer, form, json_reply, known, refuser

LINK_TTL = timedelta(hours=1)
ORGANISATION = "X-Organization-Id"
ID = r"call_[A-Za-z0-9]+"
LONGEST = 255
"""Characters of an id that the catalog keeps; the contract names no bound."""

WORDS: dict[type[Refusal], Wording] = {
    **COMMON,
    **missing((404, "not_found", "Call not found, or it has no recording.")),
    errors.Malformed: (422, "invalid_call_sid", "A call_sid is 'call_' and then letters and digits."),
    errors.Unauthenticated: (401, "unauthorized", "Send a valid API key or token as 'Authorization: Bearer …'."),
    errors.Forbidden: (403, "forbidden", "The credential lacks the scope for this endpoint."),
    errors.NotReady: (
        409,
        "recording_not_ready",
        "The recording is still being processed. Retry after the time given.",
    ),
    errors.Failed: (409, "recording_failed", "The recording failed and will not become available."),
    errors.NoLink: (501, "link_unsupported", "This recording has no presigned URL. Use the download endpoint."),
}


class Stream(TypedDict):
    """Where the recording streams from, and for how many seconds."""

    url: str
    expires_in: int
    content_type: str
    filename: str


class StreamAnswer(TypedDict):
    """Answer of the stream endpoint."""

    success: Literal[True]
    data: Stream


def _error(_status: int, code: str, message: str, refusal: Refusal, _head: Head) -> dict[str, Any]:
    if isinstance(refusal, Contradicts):
        code, message = refusal.code, refusal.message
    return {"success": False, "error": {"code": code, "message": message}}


def _present(head: Head) -> Presented:
    return bearer(head, tenant_field=ORGANISATION)


def _name(found: Found) -> str:
    """By the number that was called; the call_sid where that is not known."""
    call, _, stored = known(found)
    return f"recording_{call.to_number or found.head.path['call_sid']}{extension_for(stored.media_type)}"


def _stream(found: Found) -> Reply:
    _, _, stored = known(found)
    assert found.link is not None
    left = found.link.expires_at - found.now
    # A store's signature counts whole seconds, from the one that has begun.
    whole = LINK_TTL if left > LINK_TTL - timedelta(seconds=1) else left
    answer: StreamAnswer = {
        "success": True,
        "data": {
            "url": found.link.url,
            "expires_in": int(whole.total_seconds()),
            "content_type": media_type(stored.media_type),
            "filename": safe_name(_name(found)),
        },
    }
    return json_reply(200, answer)


_named = alias("callsid", ID, "call_sid")


def _call(head: Head) -> CallRef:
    """Raises Malformed; NotFound for an id longer than any that is kept: well-formed, and nobody's."""
    ref = _named(head)
    if len(ref.id) > LONGEST:
        raise errors.NotFound("longer than any id that is kept")
    return ref


_PATH: dict[str, Schema] = {"call_sid": form(ID)}
_FIELDS: dict[str, Schema] = {ORGANISATION: {"type": "string"}}
_SCOPES = frozenset({"recordings:download"})

SURFACE = Surface(
    name="callsid",
    about="A published contract without a vendor's name: a presigned URL for an hour, and a download, of calls named call_….",
    present=_present,
    refuse=refuser(WORDS, _error),
    vary=f"Authorization, {ORGANISATION}",
    routes=(
        # The link names no file: the name holds a phone number, and URLs end up in logs.
        Route(
            "GET",
            "/api/calls/{call_sid}/recording/stream",
            Verb.LINK,
            _SCOPES,
            _call,
            _stream,
            link=lambda _head: LinkAsk(LINK_TTL),
            doc=Doc(
                "Get a presigned URL of a call's recording",
                "For playing in a browser; good for an hour.",
                answer=StreamAnswer,
                path=_PATH,
                fields=_FIELDS,
            ),
        ),
        Route(
            "GET",
            "/api/calls/{call_sid}/recording/download",
            Verb.PLAY,
            _SCOPES,
            _call,
            audio(BRIEFLY, lambda found: content_disposition("attachment", _name(found))),
            ranges=False,
            doc=Doc("Download a call's recording", "For saving whole.", media=MEDIA, path=_PATH, fields=_FIELDS),
        ),
    ),
)
