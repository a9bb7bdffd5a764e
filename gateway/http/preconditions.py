"""What a request's conditions and ranges come to (RFC 9110 sections 13.2.2 and 14.2).

In this order:

    If-Match (strong comparison) is false                  412
    no If-Match, and If-Unmodified-Since is false          412
    If-None-Match (weak comparison) matches                304, whatever Range says
    no If-None-Match, and not modified since               304
    anything but GET, an empty object, one offered whole   Range and If-Range ignored
    If-Range is false                                      Range ignored
    two Range lines                                        400
    a Range                                                200, 206 or 416, as ``ranges.select`` finds

A date that is none, or that comes twice, is as good as absent. A list of entity-tags with anything else in it is
present and matches nothing, so that a broken If-Match refuses and a broken If-None-Match sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from multidict import MultiMapping, istr

from ..errors import BadRequest, PreconditionFailed
from ..model import Plan, Span, Stat
from .headers import media_type as safe_media_type
from .headers import parse_date, seconds_as_date, whole_seconds
from .multipart import frame, new_boundary
from .ranges import content_range, select

_IF_MATCH = istr("If-Match")
_IF_NONE_MATCH = istr("If-None-Match")
_IF_MODIFIED_SINCE = istr("If-Modified-Since")
_IF_UNMODIFIED_SINCE = istr("If-Unmodified-Since")
_IF_RANGE = istr("If-Range")
_RANGE = istr("Range")

_MEMBER = re.compile(r'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")[ \t]*(?:,|\Z)')


def plan(
    method: str,
    headers: MultiMapping[str],
    stat: Stat,
    *,
    media_type: str,
    ranges: bool = True,
    boundary: Callable[[], str] = new_boundary,
) -> Plan:
    """Which bytes of the object answer a GET or HEAD, under which fields: 200, 206 or 304.

    The plan for HEAD is that for GET without its Range. ``media_type`` is what is known of the object; what is not
    on the allow-list goes out as opaque. ``ranges`` False: Range is neither offered nor heeded.
    Raises PreconditionFailed, Unsatisfiable, BadRequest.
    """
    size, etag = stat.size, stat.etag
    modified = whole_seconds(stat.modified)
    if _failed(headers, etag, modified):
        raise PreconditionFailed
    if _not_modified(headers, etag, modified):
        return Plan(304, {"ETag": etag, "Last-Modified": seconds_as_date(modified)}, 0)
    asked = _range(headers, etag, modified) if ranges and size and method == "GET" else None
    spans = () if asked is None else select(asked, size)
    kind = safe_media_type(media_type)
    fields = {
        "Accept-Ranges": "bytes" if ranges else "none",
        "ETag": etag,
        "Last-Modified": seconds_as_date(modified),
    }
    if len(spans) > 1:
        framed = frame(spans, size, kind, boundary())
        fields["Content-Type"] = framed.media_type
        fields["Content-Length"] = str(framed.length)
        return Plan(206, fields, framed.length, None, framed.parts, framed.tail)
    span = Span(0, size)
    if spans:
        span = spans[0]
        fields["Content-Range"] = content_range(span, size)
    length = span.stop - span.start
    fields["Content-Type"] = kind
    fields["Content-Length"] = str(length)
    return Plan(206 if spans else 200, fields, length, span if size else None)


def _failed(headers: MultiMapping[str], etag: str, modified: int) -> bool:
    if _IF_MATCH in headers:
        return not _listed(headers, _IF_MATCH, etag, weak=False)
    since = _date(headers, _IF_UNMODIFIED_SINCE)
    return since is not None and modified > since


def _not_modified(headers: MultiMapping[str], etag: str, modified: int) -> bool:
    if _IF_NONE_MATCH in headers:
        return _listed(headers, _IF_NONE_MATCH, etag, weak=True)
    since = _date(headers, _IF_MODIFIED_SINCE)
    return since is not None and modified <= since


def _range(headers: MultiMapping[str], etag: str, modified: int) -> str | None:
    """The Range field that counts, if any. Raises BadRequest where there are two."""
    asked = headers.get(_RANGE)
    if asked is None or (_IF_RANGE in headers and not _unchanged(headers, etag, modified)):
        return None
    if len(headers.getall(_RANGE)) > 1:
        raise BadRequest("two Range lines")
    return asked


def _unchanged(headers: MultiMapping[str], etag: str, modified: int) -> bool:
    """If-Range (section 13.1.5): the very same strong tag, or exactly the date of Last-Modified."""
    validators = headers.getall(_IF_RANGE)
    if len(validators) > 1:
        return False
    validator = validators[0].strip(" \t")
    if '"' in validator:
        return validator == etag
    return _date(headers, _IF_RANGE) == modified


def _listed(headers: MultiMapping[str], name: str, etag: str, *, weak: bool) -> bool:
    """Whether ``etag``, which is strong, is in the list of tags that the lines of ``name`` are together."""
    field = ", ".join(headers.getall(name))
    if field.strip(" \t") == "*":
        return True
    tags = _tags(field)
    return etag in tags or (weak and f"W/{etag}" in tags)


def _tags(field: str) -> list[str]:
    """The members of a list of entity-tags (section 8.8.3); none where anything else stands in it."""
    tags: list[str] = []
    at = 0
    while (member := _MEMBER.match(field, at)) is not None:
        tags.append(member[1])
        at = member.end()
    return [] if field[at:].strip(" \t,") else tags


def _date(headers: MultiMapping[str], name: str) -> int | None:
    """Seconds since 1970; None where there is no such field, or it is not one date."""
    if name not in headers:
        return None
    lines = headers.getall(name)
    when = parse_date(lines[0].strip(" \t")) if len(lines) == 1 else None
    return None if when is None else whole_seconds(when)
