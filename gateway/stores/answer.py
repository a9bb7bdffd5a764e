"""What a store's answer to a ranged read must show before a byte of it is believed: RFC 9110 sections 14.4, 15.3.7 and 8.4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..model import Span

UNCODED: Final = frozenset({"", "identity", "aws-chunked"})
"""Content codings that change no byte; ``aws-chunked`` is a leftover of some uploads."""
CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Pin:
    """The response field that tells which version was read, and what it must be."""

    field: str
    value: str
    required: bool = True
    """Whether an answer without the field is refused."""


def fault(status: int, headers: Mapping[str, str], span: Span) -> str | None:
    """What is wrong with the head of a 200 or 206 for ``span``; None: nothing."""
    if headers.get("Content-Encoding", "").strip().lower() not in UNCODED:
        return "a content-encoded body; objects must be stored without Content-Encoding"
    if "Transfer-Encoding" in headers:
        return "a body of no known length"
    if headers.get("Content-Length") != str(len(span)):
        return f"Content-Length {headers.get('Content-Length')} where {len(span)} bytes were asked for"
    if status == 200:  # noqa: PLR2004 - a status code is its own name
        return "200 and its beginning where a part was asked for" if span.start else None
    return _another(headers.get("Content-Range", ""), span)


def _another(told: str, span: Span) -> str | None:
    """What is wrong with a Content-Range; None: it is that of ``span``."""
    part, _, size = told.partition("/")
    if part == f"bytes {span.start}-{span.stop - 1}" and _NUMBER(size) and int(size) >= span.stop:
        return None
    match = CONTENT_RANGE.fullmatch(told)
    if match is None:
        return "206 without a Content-Range that can be read"
    first, last, total = map(int, match.groups())
    right = (first, last) == (span.start, span.stop - 1) and total >= span.stop
    return None if right else f"bytes {first}-{last}/{total} where {span.start}-{span.stop - 1} were asked for"
