"""The decision table of conditionals and ranges as data: what is asked of an object, and what must come of it.

A row is usable with any object of 1000 bytes or more (rows that are ``empty``: of none), whatever its tag and date, and
over any road: the pure plan, or a server on a socket. Nothing here uses the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

Fields = tuple[tuple[str, str], ...]
Bytes = tuple[int, int]
"""Start, and stop: one past the last."""

HUGE = "9" * 40


@dataclass(frozen=True, slots=True)
class Known:
    """What a row's template may speak of."""

    size: int
    etag: str
    modified: datetime

    def date(self, seconds: int = 0) -> str:
        return format_datetime(self._second() + timedelta(seconds=seconds), usegmt=True)

    def rfc850(self, seconds: int = 0) -> str:
        return f"{self._second() + timedelta(seconds=seconds):%A, %d-%b-%y %H:%M:%S} GMT"

    def asctime(self, seconds: int = 0) -> str:
        when = self._second() + timedelta(seconds=seconds)
        return f"{when:%a %b} {when.day:2} {when:%H:%M:%S %Y}"

    def _second(self) -> datetime:
        return self.modified.astimezone(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Row:
    """``number`` is the table's. ``template`` gives the request's fields; ``chosen`` the spans of a 206."""

    number: int
    name: str
    status: int
    template: Callable[[Known], Fields]
    chosen: Callable[[Known], tuple[Bytes, ...]]
    method: str = "GET"
    empty: bool = False

    def request(self, size: int, etag: str, modified: datetime) -> Fields:
        """The conditional and range fields to send, a pair per line."""
        return self.template(Known(size, etag, modified))

    def spans(self, size: int, etag: str, modified: datetime) -> tuple[Bytes, ...]:
        """The bytes of the object in the answer to a GET, in order; more than one: multipart/byteranges."""
        if self.status == 206:
            return self.chosen(Known(size, etag, modified))
        return ((0, size),) if self.status == 200 and size else ()

    def answer(self, size: int, etag: str, modified: datetime) -> Mapping[str, str | None]:
        """The fields that must be there, exactly so; None: must not be there. A multipart's own are not given."""
        date = Known(size, etag, modified).date()
        spans = self.spans(size, etag, modified)
        match self.status:
            case 200:
                own = {"Accept-Ranges": "bytes", "Content-Length": str(size), "Content-Range": None}
            case 206 if len(spans) > 1:
                own = {"Accept-Ranges": "bytes", "Content-Range": None}
            case 206:
                ((start, stop),) = spans
                own = {
                    "Accept-Ranges": "bytes",
                    "Content-Length": str(stop - start),
                    "Content-Range": f"bytes {start}-{stop - 1}/{size}",
                }
            case 304:
                own = {"Content-Length": None, "Content-Range": None, "Content-Type": None}
            case 416:
                return {"Content-Range": f"bytes */{size}", "ETag": None}
            case _:
                return {"Content-Range": None, "ETag": None}
        return {"ETag": etag, "Last-Modified": date} | own

    def __str__(self) -> str:
        return f"{self.number:02} {self.method} {self.name}"


Text = str | Callable[[Known], str]


def _row(
    number: int,
    status: int,
    name: str,
    *lines: tuple[str, Text],
    spans: Callable[[int], tuple[Bytes, ...]] = lambda _: (),
    method: str = "GET",
    empty: bool = False,
) -> Row:
    def template(known: Known) -> Fields:
        return tuple((field, text if isinstance(text, str) else text(known)) for field, text in lines)

    return Row(number, name, status, template, lambda known: spans(known.size), method, empty)


def _range(number: int, status: int, text: Text, *spans: Callable[[int], Bytes], name: str = "") -> Row:
    title = name or (text if isinstance(text, str) else "")
    return _row(number, status, title, ("Range", text), spans=lambda size: tuple(span(size) for span in spans))


def _fixed(start: int, stop: int) -> Callable[[int], Bytes]:
    return lambda _: (start, stop)


def _etag(known: Known) -> str:
    return known.etag


def _whole(size: int) -> Bytes:
    return 0, size


_FIRST = _fixed(0, 1)
_TEN = _fixed(0, 10)
_OTHER = '"another"'
_PAST: Text = lambda o: f"bytes={o.size}-"  # noqa: E731  one of the table's words

_IF_MATCH = (
    _row(1, 412, "If-Match another", ("If-Match", _OTHER)),
    _row(1, 412, "If-Match others only", ("If-Match", '"a", "b",W/"c"')),
    _row(1, 412, "If-Match its own tag, weak", ("If-Match", lambda o: "W/" + o.etag)),
    _row(1, 412, "If-Match its tag without quotes", ("If-Match", lambda o: o.etag.strip('"'))),
    _row(1, 412, "If-Match its tag beside garbage", ("If-Match", lambda o: f"{o.etag}, garbage")),
    _row(1, 412, "If-Match its tag inside another", ("If-Match", lambda o: f'"x,{o.etag[1:]}')),
    _row(1, 412, "If-Match empty", ("If-Match", "")),
    _row(1, 412, "If-Match another on HEAD", ("If-Match", _OTHER), method="HEAD"),
    _row(1, 412, "If-Match another beside Range", ("If-Match", _OTHER), ("Range", "bytes=0-0")),
    _row(1, 412, "If-Match another beside Range past the end", ("If-Match", _OTHER), ("Range", _PAST)),
    _row(1, 412, "If-Match another beside If-None-Match its own", ("If-Match", _OTHER), ("If-None-Match", _etag)),
    _row(1, 200, "If-Match any", ("If-Match", "*")),
    _row(1, 200, "If-Match its own", ("If-Match", _etag)),
    _row(1, 200, "If-Match a list with commas in its tags", ("If-Match", lambda o: f'"a,b",, ",",{o.etag} ,"c"')),
    _row(1, 200, "If-Match its own on a second line", ("If-Match", '"a"'), ("If-Match", _etag)),
    _row(
        1, 206, "If-Match its own beside Range", ("If-Match", _etag), ("Range", "bytes=0-0"), spans=lambda _: ((0, 1),)
    ),
    _row(1, 304, "If-Match and If-None-Match its own", ("If-Match", _etag), ("If-None-Match", _etag)),
)
_IF_UNMODIFIED_SINCE = (
    _row(2, 412, "If-Unmodified-Since a second before", ("If-Unmodified-Since", lambda o: o.date(-1))),
    _row(2, 412, "If-Unmodified-Since before, RFC 850", ("If-Unmodified-Since", lambda o: o.rfc850(-1))),
    _row(2, 412, "If-Unmodified-Since before, asctime", ("If-Unmodified-Since", lambda o: o.asctime(-1))),
    _row(2, 412, "If-Unmodified-Since before, on HEAD", ("If-Unmodified-Since", lambda o: o.date(-1)), method="HEAD"),
    _row(
        2,
        412,
        "If-Unmodified-Since before, Range past",
        ("If-Unmodified-Since", lambda o: o.date(-1)),
        ("Range", _PAST),
    ),
    _row(2, 200, "If-Unmodified-Since that second", ("If-Unmodified-Since", lambda o: o.date())),
    _row(2, 200, "If-Unmodified-Since later", ("If-Unmodified-Since", lambda o: o.date(1))),
    _row(2, 200, "If-Unmodified-Since no date", ("If-Unmodified-Since", "yesterday")),
    _row(2, 200, "If-Unmodified-Since twice", *(("If-Unmodified-Since", lambda o: o.date(-1)),) * 2),
    _row(2, 200, "If-Match counts instead", ("If-Match", _etag), ("If-Unmodified-Since", lambda o: o.date(-1))),
)
_IF_NONE_MATCH = (
    _row(3, 304, "If-None-Match its own", ("If-None-Match", _etag)),
    _row(3, 304, "If-None-Match its own, weak", ("If-None-Match", lambda o: "W/" + o.etag)),
    _row(3, 304, "If-None-Match any", ("If-None-Match", "*")),
    _row(3, 304, "If-None-Match a list", ("If-None-Match", lambda o: f'"a" , W/"b,c",\t{o.etag},')),
    _row(3, 304, "If-None-Match its own on a second line", ("If-None-Match", '"a"'), ("If-None-Match", _etag)),
    _row(3, 304, "If-None-Match its own on HEAD", ("If-None-Match", _etag), method="HEAD"),
    _row(3, 304, "If-None-Match its own beside Range", ("If-None-Match", _etag), ("Range", "bytes=0-0")),
    _row(3, 304, "If-None-Match its own, Range past the end", ("If-None-Match", _etag), ("Range", _PAST)),
    _row(3, 304, "If-None-Match its own beside an invalid Range", ("If-None-Match", _etag), ("Range", "bytes=5-4")),
    _row(3, 304, "If-None-Match counts alone", ("If-None-Match", _etag), ("If-Modified-Since", lambda o: o.date(-1))),
    _row(3, 200, "If-None-Match another", ("If-None-Match", _OTHER)),
    _row(3, 200, "If-None-Match garbage", ("If-None-Match", lambda o: o.etag + o.etag)),
    _row(3, 206, "If-None-Match another beside Range", ("If-None-Match", _OTHER), ("Range", "bytes=0-0"), spans=lambda _: ((0, 1),)),
)  # fmt: skip
_IF_MODIFIED_SINCE = (
    _row(4, 304, "If-Modified-Since that second", ("If-Modified-Since", lambda o: o.date())),
    _row(4, 304, "If-Modified-Since that second, RFC 850", ("If-Modified-Since", lambda o: o.rfc850())),
    _row(4, 304, "If-Modified-Since that second, asctime", ("If-Modified-Since", lambda o: o.asctime())),
    _row(4, 304, "If-Modified-Since later", ("If-Modified-Since", lambda o: o.date(1))),
    _row(4, 304, "If-Modified-Since that second, on HEAD", ("If-Modified-Since", lambda o: o.date()), method="HEAD"),
    _row(4, 304, "If-Modified-Since later, Range past", ("If-Modified-Since", lambda o: o.date(1)), ("Range", _PAST)),
    _row(4, 200, "If-Modified-Since a second before", ("If-Modified-Since", lambda o: o.date(-1))),
    _row(4, 200, "If-Modified-Since a bad date", ("If-Modified-Since", lambda o: o.date().replace("GMT", "UTC"))),
    _row(4, 200, "If-Modified-Since a number", ("If-Modified-Since", "0")),
    _row(4, 200, "If-Modified-Since twice", *(("If-Modified-Since", lambda o: o.date()),) * 2),
    _row(4, 200, "If-None-Match instead", ("If-None-Match", _OTHER), ("If-Modified-Since", lambda o: o.date())),
)
_HEAD = tuple(
    _row(5, 200, f"HEAD with {text}", ("Range", text), method="HEAD")
    for text in ("bytes=0-0", "bytes=0-", "bytes=-0", f"bytes={HUGE}-", "bytes=5-4", "bytes=0-0,9-9", "x=1")
)
_IF_RANGE = (
    _row(6, 200, "If-Range without Range", ("If-Range", _etag)),
    _row(6, 200, "If-Range another without Range", ("If-Range", _OTHER)),
    *(
        _row(7, 200, f"If-Range {name}", ("If-Range", text), ("Range", "bytes=0-0"))
        for name, text in (
            ("another", _OTHER),
            ("its own, weak", lambda o: "W/" + o.etag),
            ("its tag without quotes", lambda o: o.etag.strip('"')),
            ("a list with its tag", lambda o: f"{o.etag}, {o.etag}"),
            ("any", "*"),
            ("empty", ""),
            ("garbage", "garbage"),
            ("a second later", lambda o: o.date(1)),
            ("a second before", lambda o: o.date(-1)),
        )
    ),
    _row(7, 200, "If-Range twice", ("If-Range", _etag), ("If-Range", _etag), ("Range", "bytes=0-0")),
    _row(7, 200, "If-Range another, Range past the end", ("If-Range", _OTHER), ("Range", _PAST)),
    _row(7, 200, "If-Range another, Range invalid", ("If-Range", _OTHER), ("Range", "bytes=5-4")),
    _row(7, 416, "If-Range its own, Range past the end", ("If-Range", _etag), ("Range", _PAST)),
    *(
        _row(7, 206, f"If-Range {name}", ("If-Range", text), ("Range", "bytes=0-0"), spans=lambda _: ((0, 1),))
        for name, text in (
            ("its own", _etag),
            ("exactly its date", lambda o: o.date()),
            ("exactly its date, RFC 850", lambda o: o.rfc850()),
            ("exactly its date, asctime", lambda o: o.asctime()),
        )
    ),
)
_UNITS = (
    *(
        _range(8, 200, text)
        for text in ("items=0-0", "seconds=5-4", "xbytes=0-0", "bytes", "bytes 0-0", "0-0", "", "=")
    ),
    _range(8, 206, "BYTES=0-0", _FIRST),
)
_INVALID = tuple(
    _range(9, 416, "bytes=" + members)
    for members in (
        "5-4", "A-Z", "7", "", ",", "--5", "+1-2", "1_0-2_0", "\u0660-\u0669", "\uff10-\uff11", "\u00b2-", "-", "-A", "-+5",
        "1-2-3", "0x0-0x9", "0.0-1", "0 - 1", "bytes=0-0", "0-0;", "0-0,5-4", "5-4,0-0", "0-0,7", "0-0,A-Z", "0-0 1-1",
        f"{HUGE}1-{HUGE}0", f"0-0,{HUGE}1-{HUGE}0",
    )
)  # fmt: skip
_SINGLE = (
    _range(10, 206, "bytes=0-0", _FIRST),
    _range(10, 206, "bytes=0-1", _fixed(0, 2)),
    _range(10, 206, "bytes=1-1", _fixed(1, 2)),
    _range(10, 206, "bytes=0000-0009", _TEN),
    _range(10, 206, "bytes=100-199", _fixed(100, 200)),
    _range(10, 206, "bytes= 0-0", _FIRST),
    _range(10, 206, "bytes=0-0,", _FIRST),
    _range(10, 206, "bytes=,\t,0-0", _FIRST),
    _range(10, 206, "bytes=0-", _whole),
    _range(10, 206, "bytes=1-", lambda size: (1, size)),
    _range(10, 206, "bytes=-1", lambda size: (size - 1, size)),
    _range(10, 206, f"bytes=0-{HUGE}", _whole),
    _range(10, 206, f"bytes=-{HUGE}", _whole),
    _range(10, 206, f"bytes={'0' * 40}-{'0' * 39}9", _TEN),
    _range(10, 206, lambda o: f"bytes=0-{o.size - 1}", _whole, name="to the last byte"),
    _range(10, 206, lambda o: f"bytes=0-{o.size}", _whole, name="to one past the last byte"),
    _range(10, 206, lambda o: f"bytes={o.size - 1}-", lambda size: (size - 1, size), name="from the last byte"),
    _range(10, 206, lambda o: f"bytes={o.size - 1}-{HUGE}", lambda size: (size - 1, size), name="the last byte and on"),
    _range(10, 206, lambda o: f"bytes=-{o.size - 1}", lambda size: (1, size), name="the last size - 1"),
    _range(10, 206, lambda o: f"bytes=-{o.size}", _whole, name="the last size"),
    _range(10, 206, lambda o: f"bytes=-{o.size + 1}", _whole, name="the last size + 1"),
)
_UNSATISFIABLE = (
    _range(11, 416, "bytes=-0"),
    _range(11, 416, "bytes=-000"),
    _range(11, 416, f"bytes={HUGE}-"),
    _range(11, 416, f"bytes={HUGE}-{HUGE}"),
    _range(11, 416, f"bytes={HUGE}-,-0"),
    _range(11, 416, _PAST, name="from one past the last byte"),
    _range(11, 416, lambda o: f"bytes={o.size}-{o.size}", name="one past the last byte"),
    _range(11, 416, lambda o: f"bytes={o.size}-,{o.size + 1}-,-0", name="three past the end"),
)
_SEVERAL = (
    _range(12, 206, "bytes=0-9,20-29", _TEN, _fixed(20, 30)),
    _range(12, 206, "bytes=500-509,0-9", _fixed(500, 510), _TEN),
    _range(12, 206, "bytes=-1,0-0", lambda size: (size - 1, size), _FIRST),
    _range(12, 206, "bytes=0-0, 2-2\t,4-4", _FIRST, _fixed(2, 3), _fixed(4, 5)),
    _range(12, 206, f"bytes={','.join(f'{n}0-{n}1' for n in range(1, 9))}", *(_fixed(n * 10, n * 10 + 2) for n in range(1, 9))),
    _range(12, 206, "bytes=0-9,5-14", _fixed(0, 15)),
    _range(12, 206, "bytes=0-9,10-19", _fixed(0, 20)),
    _range(12, 206, "bytes=10-19,0-9", _fixed(0, 20)),
    _range(12, 206, "bytes=0-9,0-9", _TEN),
    _range(12, 206, "bytes=0-9,2-3", _TEN),
    _range(12, 206, "bytes=0-8,10-19", _fixed(0, 9), _fixed(10, 20)),
    _range(12, 206, "bytes=50-59,0-9,55-64", _fixed(50, 65), _TEN),
    _range(12, 206, "bytes=0-9,100-109,20-29,10-19", _fixed(0, 30), _fixed(100, 110)),
    _range(12, 206, f"bytes=0-9,{HUGE}-", _TEN),
    _range(12, 206, f"bytes=-0,20-29,{HUGE}-{HUGE},0-9", _fixed(20, 30), _TEN),
    _range(12, 206, lambda o: f"bytes=0-499,500-{o.size - 1}", _whole, name="two halves"),
    _range(12, 206, lambda o: f"bytes=0-{o.size - 3},{o.size - 1}-", lambda size: (0, size - 2), lambda size: (size - 1, size),
           name="all but one byte"),
)  # fmt: skip
_TOO_MUCH = (
    _range(13, 200, f"bytes={','.join(f'{n}0-{n}1' for n in range(1, 10))}"),
    _range(13, 200, "bytes=" + "0-0," * 9),
    _range(13, 200, "bytes=" + "0-0," * 600),
    _range(13, 200, "bytes=0-,0-"),
    _range(13, 200, "bytes=0-,-1"),
    _range(13, 200, "bytes=0-0,0-"),
    _range(13, 200, f"bytes=-{HUGE},1-1"),
)
_EMPTY = (
    _row(14, 200, "empty, no Range", empty=True),
    _row(14, 200, "empty, HEAD", method="HEAD", empty=True),
    *(
        _row(14, 200, f"empty, {text}", ("Range", text), empty=True)
        for text in ("bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-4", "bytes=0-0,2-2", "x=0-")
    ),
    _row(14, 200, "empty, If-Range its own", ("If-Range", _etag), ("Range", "bytes=0-"), empty=True),
    _row(14, 304, "empty, If-None-Match its own", ("If-None-Match", _etag), ("Range", "bytes=0-"), empty=True),
)
_TWICE = (
    _row(15, 400, "two Range lines", ("Range", "bytes=0-0"), ("Range", "bytes=2-2")),
    _row(15, 400, "the same Range line twice", ("Range", "bytes=0-0"), ("Range", "bytes=0-0")),
)

ROWS: tuple[Row, ...] = (
    _row(0, 200, "nothing asked"),
    _row(0, 200, "nothing asked, HEAD", method="HEAD"),
    *_IF_MATCH,
    *_IF_UNMODIFIED_SINCE,
    *_IF_NONE_MATCH,
    *_IF_MODIFIED_SINCE,
    *_HEAD,
    *_IF_RANGE,
    *_UNITS,
    *_INVALID,
    *_SINGLE,
    *_UNSATISFIABLE,
    *_SEVERAL,
    *_TOO_MUCH,
    *_EMPTY,
    *_TWICE,
)
