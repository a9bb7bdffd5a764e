"""Requests with Range and If-* fields, generated from integers and tokens and drawn towards the edges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from .http_table import Known

_ETAGS = ('"e"', '"a,b"', '""', '"W/x"', '"\u00e9"', '"0123456789abcdef-7"')
_BAD_SPECS = (
    "A-Z",
    "7",
    "--5",
    "+1-2",
    "1_0-2_0",
    "\u0661-\u0662",
    "-",
    "1-2-3",
    "0x1-2",
    "1 - 2",
    "5-4",
    "*",
    "bytes=0-1",
)
_UNITS = ("bytes=", "Bytes=", "BYTES=", " bytes=", "bytes= ")
_OTHER_UNITS = ("items=", "byte=", "bytess=", "bytes =", "bytes", "", "=")
_COMMAS = (",", ",", ",", ", ", " ,", ",,", ",\t", " , ,")
_BAD_TAGS = ("e", '"e', 'e"', "'e'", 'w/"e"', 'W/ "e"', '"a"b"', '"a b"', "*", "W/*", '"\x7f"')


@dataclass(frozen=True, slots=True)
class Case:
    """A request for an object, as header lines in their order."""

    method: str
    lines: tuple[tuple[str, str], ...]
    size: int
    etag: str
    modified: datetime


def case(r: Random) -> Case:
    """One request. ``r`` alone decides."""
    size = r.choice((0, 1, 2, 3, 10)) if r.random() < 0.2 else r.randint(1, 40)
    etag = r.choice(_ETAGS)
    modified = datetime(2024, 2, 28, 23, 59, 58, tzinfo=UTC) + timedelta(
        days=r.randint(0, 700), seconds=r.randint(0, 3), microseconds=r.choice((0, 1, 999_999))
    )
    named = fields(r, Known(size, etag, modified))
    return Case(r.choice(("GET",) * 18 + ("HEAD", "POST")), named, size, etag, modified)


def fields(r: Random, known: Known) -> tuple[tuple[str, str], ...]:
    """Range and If-* for that object, as header lines in their order."""
    size, etag = known.size, known.etag
    lines: list[tuple[str, str]] = []
    if r.random() < 0.8:
        lines += [("Range", _range(r, size)) for _ in range(2 if r.random() < 0.04 else 1)]
        if r.random() < 0.2:
            lines += _lines(r, "If-Range", _one_tag(r, etag) if r.random() < 0.6 else _date(r, known), twice=0.05)
    for name in ("If-Match", "If-None-Match"):
        if r.random() < 0.12:
            lines += [(name, _tags(r, etag)) for _ in range(r.choice((1, 1, 1, 2)))]
    for name in ("If-Unmodified-Since", "If-Modified-Since"):
        if r.random() < 0.12:
            lines += _lines(r, name, _date(r, known), twice=0.1)
    r.shuffle(lines)
    return tuple((r.choice((name, name.lower(), name.upper())), text) for name, text in lines)


def _lines(r: Random, name: str, text: str, *, twice: float) -> list[tuple[str, str]]:
    return [(name, text)] * (2 if r.random() < twice else 1)


def _range(r: Random, size: int) -> str:
    unit = r.choice(_OTHER_UNITS) if r.random() < 0.05 else r.choice(_UNITS) if r.random() < 0.2 else "bytes="
    many = 1 if r.random() < 0.5 else r.choice((0, 2, 2, 2, 3, 3, 4, 5, 7, 8, 9, 10))
    if r.random() < 0.05:
        specs = [r.choice(("-0", f"{size}-", f"{size + 1}-{size + 1}")) for _ in range(many)]
    else:
        small = many > 1 and r.random() < 0.7
        specs = [_spec(r, size, small=small) for _ in range(many)]
    return unit + r.choice(_COMMAS).join(specs)


def _spec(r: Random, size: int, *, small: bool) -> str:
    if r.random() < 0.03:
        return r.choice(_BAD_SPECS)
    if small:
        first = r.randint(0, size)
        return f"{first}-{first + r.randint(0, max(size // 8, 1))}"
    match r.randrange(6):
        case 0:
            return f"{_number(r, size)}-"
        case 1:
            return f"-{_number(r, size)}"
        case 2:
            return f"{_number(r, size)}-{_number(r, size)}"
        case _:
            return "{}-{}".format(*sorted((r.randint(0, size + 2), r.randint(0, size + 2))))


def _number(r: Random, size: int) -> str:
    edges = (0, 1, size - 1, size, size + 1, 2 * size, 10**18 - 1, 10**18, 10**18 + 1, 10**40 + r.randint(0, 2))
    number = max(r.choice(edges), 0) if r.random() < 0.6 else r.randint(0, size + 2)
    return "0" * r.choice((0, 0, 0, 0, 1, 30)) + str(number)


def _one_tag(r: Random, etag: str) -> str:
    return r.choice((etag, etag, etag, "W/" + etag, '"other"', etag[:-1], f" {etag}\t", f"{etag},", *_BAD_TAGS))


def _tags(r: Random, etag: str) -> str:
    if r.random() < 0.1:
        return r.choice(("*", " * ", "", ",", "*,*"))
    pool = (
        etag,
        "W/" + etag,
        '"other"',
        '"a,b"',
        'W/"x"',
        '","',
        '"*"',
        r.choice(_BAD_TAGS) if r.random() < 0.3 else '"y"',
    )
    return r.choice(_COMMAS).join(r.choice(pool) for _ in range(r.randint(1, 3)))


def _date(r: Random, known: Known) -> str:
    seconds = r.choice((-86_400, -1, -1, 0, 0, 0, 1, 1, 86_400))
    text = r.choice((known.date, known.date, known.rfc850, known.asctime))(seconds)
    if r.random() < 0.85:
        return text
    return r.choice(
        ("0", "", "now", text.lower(), text + "+1", text[1:], text.replace("GMT", "UTC"), text.replace(" ", "  "), text[:-4],
         text.replace(":", "-"), "Thu, 31 Feb 2040 00:00:00 GMT", "Thu, 01 Jan 2040 24:00:00 GMT")
    )  # fmt: skip
