"""The Range field (RFC 9110 sections 14.1 and 14.2): parsed to a sum type, resolved once against an object's size.

    unit other than bytes, no unit at all            ignored
    a set that is not wholly well-formed             unsatisfiable
    no spec within the object                        unsatisfiable
    more than MOST specs, or more bytes than it has  ignored
    else                                             the specs within the object, coalesced, in the order asked

Work and memory grow with the length of the field alone, whatever the numbers in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from ..errors import Unsatisfiable
from ..model import Span

MOST = 8
"""Specs in one field; more than these are no player's."""

_DIGITS = 18
_ENDLESS = 10**_DIGITS
"""Stands for every number of more than ``_DIGITS`` digits: it lies past the end of any object."""

_SIMPLE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")
_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Bounded:
    """``first-last``, the last inclusive as on the wire; never last < first."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class From:
    """``first-``: all from there on."""

    first: int


@dataclass(frozen=True, slots=True)
class Last:
    """``-count``: the last so many."""

    count: int


Spec = Bounded | From | Last


def select(field: str, size: int) -> tuple[Span, ...]:
    """The spans of an object of ``size`` bytes to answer ``field`` with; none: the field is ignored.

    An empty object has no ranges: any field is ignored. Raises Unsatisfiable.
    """
    if size == 0:
        return ()
    simple = _SIMPLE.fullmatch(field)
    if simple is None:
        return _select(field, size)
    first, last, count = simple.groups()
    if count is not None:
        start, stop = max(size - int(count), 0), size
    else:
        start = int(first)
        stop = size if last is None else min(int(last) + 1, size)
    if start >= stop:
        raise Unsatisfiable(size)
    return (Span(start, stop),)


def _select(field: str, size: int) -> tuple[Span, ...]:
    """``select`` for any field and a size above 0."""
    specs = parse(field)
    if specs is None:
        return ()
    spans = [span for spec in specs if (span := resolve(spec, size)) is not None]
    if not spans:
        raise Unsatisfiable(size)
    if len(specs) > MOST or sum(map(len, spans)) > size:
        return ()
    return coalesce(spans)


def parse(field: str) -> tuple[Spec, ...] | None:
    """The set of byte ranges that a field value holds. None: its unit is another. Empty: the set is invalid.

    Empty list members are passed over, as section 5.6.1.2 asks of recipients; one bad member spoils the set.
    """
    unit, equals, members = field.strip(" \t").partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    specs: list[Spec] = []
    for member in members.split(","):
        text = member.strip(" \t")
        if not text:
            continue
        spec = _spec(text)
        if spec is None:
            return ()
        specs.append(spec)
    return tuple(specs)


def _spec(text: str) -> Spec | None:
    match = _SPEC.fullmatch(text)
    if match is None:
        return None
    first, last, count = match.groups()
    if count is not None:
        return Last(_number(count))
    if not last:
        return From(_number(first))
    if _rank(last) < _rank(first):
        return None
    return Bounded(_number(first), _number(last))


def _rank(digits: str) -> tuple[int, str]:
    """Orders numbers of any length exactly, without the cost (or the refusal) of ``int`` on thousands of digits."""
    plain = digits.lstrip("0")
    return len(plain), plain


def _number(digits: str) -> int:
    plain = digits.lstrip("0")
    return int(plain or "0") if len(plain) <= _DIGITS else _ENDLESS


def resolve(spec: Spec, size: int) -> Span | None:
    """The bytes of an object of ``size`` bytes that ``spec`` means. None: there are none, it is unsatisfiable."""
    match spec:
        case Bounded(first, last):
            span = Span(first, min(last + 1, size))
        case From(first):
            span = Span(first, size)
        case Last(count):
            span = Span(max(size - count, 0), size)
        case _:
            assert_never(spec)
    return span if span.start < span.stop else None


def coalesce(spans: list[Span]) -> tuple[Span, ...]:
    """Joins what overlaps or touches. Each joined span stands where the first of its members was asked for."""
    runs: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if runs and span.start <= runs[-1].stop:
            runs[-1] = Span(runs[-1].start, max(runs[-1].stop, span.stop))
        else:
            runs.append(span)
    return tuple(dict.fromkeys(next(run for run in runs if run.start <= span.start < run.stop) for span in spans))


def content_range(span: Span, size: int) -> str:
    """The Content-Range of one span, in a head or in a part of a multipart body (section 14.4)."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"
