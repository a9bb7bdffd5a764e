"""How the native surface words refusals: RFC 9457 problem details with a ``type`` that stays."""

from __future__ import annotations

from typing import Any

from ... import errors
from ...errors import Malformed, Refusal
from ...model import Head
from .._words import Wording

PROBLEMS = "urn:recording-gateway:problem:"
"""Prefix of every problem's ``type``: an identifier that stays."""

_NOT_FOUND: Wording = (404, "not_found", "There is nothing under this id.")
_RETRY = "Retry after the time given."

WORDS: dict[type[Refusal], Wording] = {
    errors.BadRequest: (
        400,
        "bad_request",
        "The request is ambiguous or broken: send each header, parameter and credential once.",
    ),
    errors.TooLarge: (413, "too_large", "The request's body is too large."),
    errors.CodedBody: (415, "content_coding_unsupported", "Send the body as it is, without a Content-Encoding."),
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
    errors.LinkRevoked: (410, "link_invalid", "The link is not valid. Ask for a new one."),
    errors.LinkUsedUp: (403, "link_invalid", "The link is not valid. Ask for a new one."),
    errors.NoTranscript: (404, "transcript_absent", "The call has no transcript, or none of this form yet."),
    errors.Contradicts: (409, "conflict", "What was asked contradicts what is there."),
    errors.NoLink: (
        409,
        "link_unsupported",
        "This recording's store signs no URLs. Use the audio URL or a gateway link.",
    ),
    errors.PreconditionFailed: (
        412,
        "precondition_failed",
        "The recording is not the version asked for. Fetch it anew.",
    ),
    errors.Unsatisfiable: (416, "range_not_satisfiable", "The range lies outside of the recording; see Content-Range."),
    errors.TooMany: (429, "rate_limited", f"Too many requests. {_RETRY}"),
    errors.StreamsLimited: (429, "streams_limited", f"Too many downloads at once. {_RETRY}"),
    errors.Internal: (500, "internal", "Something went wrong. Quote the X-Request-Id to the operator."),
    errors.OriginFailed: (502, "storage_failed", "The recording's storage failed. Retry later."),
    errors.TooManyStreams: (503, "overloaded", f"The service is at its capacity. {_RETRY}"),
    errors.Unavailable: (503, "unavailable", f"The service is unavailable. {_RETRY}"),
    errors.OriginTimeout: (504, "storage_timeout", "The recording's storage did not answer in time. Retry later."),
}


def problem(status: int, code: str, message: str, refusal: Refusal, _head: Head) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": PROBLEMS + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": message,
    }
    match refusal:
        case errors.Contradicts(code=own, message=what):
            told |= {"type": PROBLEMS + own, "title": own.replace("_", " ").capitalize(), "code": own, "detail": what}
        case Malformed(field=field, message=what):
            told["errors"] = [{"loc": list(field), "msg": what}]
        case errors.TooLarge(most=int(most)):
            told["detail"] = f"The request's body is too large: it may have {most} bytes."
        case errors.Forbidden(needed=needed):
            told["needed"] = needed
        case _:
            pass
    return told
