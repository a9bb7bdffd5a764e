"""Building blocks that surfaces share: JSON and audio answers, credentials, ids, refusals. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, overload

import orjson
from pydantic import Field

from ..contract import Found, Reply, Schema
from ..errors import (
    BadRequest,
    CodedBody,
    Forbidden,
    Malformed,
    MethodNotAllowed,
    Refusal,
    StreamsLimited,
    TooMany,
    Unauthenticated,
    Unsatisfiable,
)
from ..model import Call, CallRef, Head, Object, Presented, Recording

NO_STORE = "private, no-store"
BRIEFLY = "private, max-age=300"
NOT_MODIFIED = 304
TRANSCRIPTION = {"pending": "pending", "processing": "processing", "ready": "completed", "failed": "failed"}
"""A transcript's status → as vendors word it."""
_JSON = "application/json"


Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""What ``timestamp`` makes of a time, in the type of an answer."""


def json_reply(status: int, body: Any, *, media_type: str = _JSON, **headers: str) -> Reply:
    """A JSON answer that no cache keeps. ``body`` is whatever orjson writes; header names take ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"Content-Type": media_type, "Cache-Control": NO_STORE, "X-Content-Type-Options": "nosniff"}
    return Reply(status, fields | named, orjson.dumps(body))


def no_content(_found: Found) -> Reply:
    """204: it is done, and there is nothing to tell."""
    return Reply(204, {"Cache-Control": NO_STORE})


@overload
def timestamp(when: datetime) -> str: ...
@overload
def timestamp(when: datetime | None) -> str | None: ...
def timestamp(when: datetime | None) -> str | None:
    """ISO 8601 in UTC to the second, with ``Z``."""
    return None if when is None else when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def whole_seconds(duration_ms: int | None) -> int | None:
    """Milliseconds rounded to the nearest second."""
    return None if duration_ms is None else (duration_ms + 500) // 1000


def known(found: Found) -> tuple[Call, Recording, Object]:
    """The call, its ready recording and the object it lies in: what every Found of a PLAY or LINK has."""
    assert found.entry is not None and found.entry.recording is not None and found.entry.recording.object is not None
    return found.entry.call, found.entry.recording, found.entry.recording.object


def audio(
    cache_control: str, disposition: Callable[[Found], str], fields: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Found], Reply]:
    """Words a PLAY: the plan's own status and fields, how long a client may keep it and under what name.

    ``fields`` are the surface's own besides.
    """
    always = {**fields, "Cache-Control": cache_control}
    extra = always | {"X-Content-Type-Options": "nosniff"}

    def render(found: Found) -> Reply:
        plan = found.plan
        assert plan is not None
        if plan.status == NOT_MODIFIED:
            return Reply(plan.status, {**plan.headers, **always})
        return Reply(plan.status, {**plan.headers, **extra, "Content-Disposition": disposition(found)})

    return render


def bearer(head: Head, *, tenant_field: str | None = None) -> Presented:
    """RFC 6750 section 2.1: the one place a Bearer credential stands. Raises BadRequest for two of them, Unauthenticated."""
    fields = head.headers.getall("Authorization", [])
    if len(fields) > 1:
        raise BadRequest("two Authorization fields")
    tenant = None
    if tenant_field is not None:
        named = head.headers.getall(tenant_field, [])
        if len(named) > 1:
            raise BadRequest(f"two {tenant_field} fields")
        tenant = named[0] if named else None
    if not fields:
        return Presented(None, tenant)
    scheme, _, token = fields[0].partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("another scheme than Bearer")
    if not (token := token.strip()):
        raise Unauthenticated("Bearer, and no credential", presented=True)
    return Presented(token, tenant)


def alias(surface: str, pattern: str, parameter: str = "call_id") -> Callable[[Head], CallRef]:
    """Reads ``parameter`` from the path as an external id of ``surface``; Malformed unless ``pattern`` matches it all."""
    form = re.compile(pattern, re.ASCII)

    def ref(head: Head) -> CallRef:
        external = head.path[parameter]
        if form.fullmatch(external) is None:
            raise Malformed("path", parameter)
        return CallRef(surface, external)

    return ref


def form(pattern: str) -> Schema:
    """JSON Schema of text that ``pattern`` matches whole."""
    return {"type": "string", "pattern": f"^{pattern}$"}


def refusal_fields(refusal: Refusal) -> dict[str, str]:
    """The fields a refusal carries on every surface (RFC 9110, RFC 6750 section 3, draft-ietf-httpapi-ratelimit-headers-10)."""
    fields = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if refusal.retry_after is not None:
        fields["Retry-After"] = str(refusal.retry_after)
    match refusal:
        case Unauthenticated(presented=presented):
            fields["WWW-Authenticate"] = 'Bearer error="invalid_token"' if presented else "Bearer"
        case Forbidden(role=True):
            fields["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
        case Forbidden(needed=needed):
            fields["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{needed}"'
        case Unsatisfiable(size=size):
            fields["Content-Range"] = f"bytes */{size}"
        case CodedBody():
            fields["Accept-Encoding"] = "identity"
        case MethodNotAllowed(allow=allow):
            fields["Allow"] = allow
        case TooMany(policy=policy, quota=quota, window_s=window, retry_after=wait):
            fields["RateLimit-Policy"] = f'"{policy}";q={quota};w={window}'
            fields["RateLimit"] = f'"{policy}";r=0;t={wait}'
        case StreamsLimited(policy=policy, quota=quota):
            # Without w and t: there is no window, and nobody knows when a place comes free.
            fields["RateLimit-Policy"] = f'"{policy}";q={quota};qu="concurrent-requests"'
            fields["RateLimit"] = f'"{policy}";r=0'
        case _:
            pass
    return fields


Wording = tuple[int, str, str]
"""status, the surface's code, what the client should do next"""


def refuser(
    table: Mapping[type[Refusal], Wording],
    body: Callable[[int, str, str, Refusal, Head], Any],
    *,
    media_type: str = _JSON,
    fields: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Refusal, Head], Reply]:
    """Words every refusal by ``table``; ``body`` puts status, code and message into the surface's form.

    ``fields`` are the surface's own on each. A 404 never carries Retry-After: it would tell that there is something to wait for.
    """

    def refuse(refusal: Refusal, head: Head) -> Reply:
        status, code, message = table[type(refusal)]
        told = {**fields, **refusal_fields(refusal), "Content-Type": media_type}
        if status == HTTPStatus.NOT_FOUND:
            told.pop("Retry-After", None)
        return Reply(status, told, orjson.dumps(body(status, code, message, refusal, head)))

    return refuse
