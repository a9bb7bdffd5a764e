"""Wordings that the vendors' surfaces share, for refusals that their contracts say nothing of. Pure."""

from __future__ import annotations

from .. import errors
from ..errors import Refusal
from ._words import Wording

COMMON: dict[type[Refusal], Wording] = {
    errors.BadRequest: (400, "bad_request", "The request is ambiguous: send each header once, and one credential."),
    errors.TooLarge: (413, "too_large", "The request's body is too large."),
    errors.CodedBody: (415, "content_coding_unsupported", "Send the body as it is, without a Content-Encoding."),
    errors.UnknownRoute: (404, "not_found", "There is no such endpoint."),
    errors.MethodNotAllowed: (405, "method_not_allowed", "This endpoint does not take that method."),
    errors.Contradicts: (409, "conflict", "The request contradicts what is there."),
    errors.NoLink: (501, "link_unsupported", "This recording has no signed URL."),
    errors.PreconditionFailed: (412, "precondition_failed", "The recording is not the version asked for."),
    errors.Unsatisfiable: (416, "range_not_satisfiable", "The range lies outside of the recording."),
    errors.TooMany: (429, "rate_limited", "Too many requests. Retry after the time given."),
    errors.StreamsLimited: (429, "streams_limited", "Too many downloads at once. Retry after the time given."),
    errors.Internal: (500, "internal_error", "Something went wrong. Quote the X-Request-Id to support."),
    errors.OriginFailed: (502, "storage_failed", "The recording's storage failed. Retry later."),
    errors.TooManyStreams: (503, "overloaded", "The service is at its capacity. Retry after the time given."),
    errors.Unavailable: (503, "unavailable", "The service is unavailable. Retry after the time given."),
    errors.OriginTimeout: (504, "storage_timeout", "The recording's storage did not answer in time. Retry later."),
}


def missing(words: Wording, *more: type[Refusal]) -> dict[type[Refusal], Wording]:
    """One wording for all refusals that every vendor's surface gives as a missing call, and for ``more``: they must not differ."""
    kinds: tuple[type[Refusal], ...] = (
        errors.NotFound,
        errors.ObjectMissing,
        errors.Absent,
        errors.Expired,
        errors.NoTranscript,
        errors.LinkSpent,
        errors.LinkExpired,
        errors.LinkRevoked,
        errors.LinkUsedUp,
        *more,
    )
    return dict.fromkeys(kinds, words)
