"""CORS (Fetch standard, section 3.2), the same on every status.

Credentials in the browser's sense are never allowed: the gateway's own travel in Authorization, by a page's own hand.
"""

from __future__ import annotations

from collections.abc import Sequence

EXPOSED = "Content-Range, Accept-Ranges, Content-Length, ETag, Content-Disposition, Retry-After"
"""What a page's script may read of an answer."""

ALLOWED = (
    "Authorization, Content-Type, Range, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, "
    "X-API-Key, X-Organization-Id, X-Request-Id, X-Tenant"
)
"""What a page's script may send."""


def response_headers(origins: Sequence[str], origin: str | None) -> dict[str, str]:
    """For any answer, refusals too. ``origins``: those allowed, ``*`` for any. ``origin``: the request's field."""
    fields = {"Vary": "Origin"}
    allowed = _allowed(origins, origin)
    if allowed is not None:
        fields["Access-Control-Allow-Origin"] = allowed
        fields["Access-Control-Expose-Headers"] = EXPOSED
    return fields


def preflight_headers(
    origins: Sequence[str], origin: str | None, *, methods: Sequence[str] = ("GET", "HEAD"), max_age_s: int = 600
) -> dict[str, str]:
    """For the answer to a preflight. ``methods``: those the path has."""
    fields = {"Vary": "Origin"}
    allowed = _allowed(origins, origin)
    if allowed is not None:
        fields["Access-Control-Allow-Origin"] = allowed
        fields["Access-Control-Allow-Methods"] = ", ".join(methods)
        fields["Access-Control-Allow-Headers"] = ALLOWED
        fields["Access-Control-Max-Age"] = str(max_age_s)
    return fields


def _allowed(origins: Sequence[str], origin: str | None) -> str | None:
    if "*" in origins:
        return "*"
    # What is echoed was configured, up to how it is written.
    return origin if origin is not None and origin in map(_as_browsers_write, origins) else None


def _as_browsers_write(origin: str) -> str:
    """Scheme and host in lower case, and no port that goes without saying (RFC 6454 section 6.2)."""
    lowered = origin.lower()
    return lowered.removesuffix(":443" if lowered.startswith("https:") else ":80")
