"""Single header fields as values: dates, media types, Content-Disposition. Total: any text in, a safe field out."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote

# --- dates (RFC 9110 section 5.6.7) ---------------------------------------------------------------------------------

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

_DAY = "|".join(_WEEKDAYS)
_MONTH = "|".join(_MONTHS)
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_LEAP: Final = 60
_FIXDATE = re.compile(rf"(?:{_DAY}), (?P<day>[0-9]{{2}}) (?P<month>{_MONTH}) (?P<year>[0-9]{{4}}) {_TIME} GMT")
_RFC_850 = re.compile(
    r"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), "
    rf"(?P<day>[0-9]{{2}})-(?P<month>{_MONTH})-(?P<year>[0-9]{{2}}) {_TIME} GMT"
)
_ASCTIME = re.compile(rf"(?:{_DAY}) (?P<month>{_MONTH}) (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})")


def whole_seconds(when: datetime) -> int:
    """Seconds since 1970 of an aware time, as coarse as HTTP tells them: a fraction is cut off, towards the past."""
    return (when - _EPOCH) // _SECOND


@lru_cache(maxsize=4096)
def seconds_as_date(seconds: int) -> str:
    """An IMF-fixdate of seconds since 1970."""
    when = _EPOCH + timedelta(seconds=seconds)
    day, month = _WEEKDAYS[when.weekday()], _MONTHS[when.month - 1]
    return f"{day}, {when.day:02} {month} {when.year:04} {when.hour:02}:{when.minute:02}:{when.second:02} GMT"


def parse_date(text: str, *, now: datetime | None = None) -> datetime | None:
    """An HTTP-date in any of its three formats, else None. Case counts; the weekday's name is not compared.

    ``now`` (in UTC, else the clock) settles the century of RFC 850's two digits: more than 50 years ahead means the past.
    """
    match = _FIXDATE.fullmatch(text) or _RFC_850.fullmatch(text) or _ASCTIME.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"])
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if match.re is _RFC_850:
        today = now or datetime.now(UTC)
        year += today.year // 100 * 100
        if (year - 50, month, day, hour, minute, second) > today.timetuple()[:6]:
            year -= 100
    leap = second == _LEAP  # valid, and datetime has none
    try:
        when = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
        return when + leap * _SECOND
    except (ValueError, OverflowError):
        return None


# --- media types ----------------------------------------------------------------------------------------------------

OPAQUE: Final = "application/octet-stream"

_EXTENSIONS: Final = {
    "audio/aac": ".aac",
    "audio/aiff": ".aiff",
    "audio/amr": ".amr",
    "audio/basic": ".au",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "video/mp4": ".mp4",
    "video/ogg": ".ogv",
    "video/webm": ".webm",
}
_OTHER_NAMES: Final = {
    "application/ogg": "audio/ogg",
    "audio/aacp": "audio/aac",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-pn-wav": "audio/wav",
    "audio/x-wav": "audio/wav",
}


_BY_EXTENSION: Final = {extension: kind for kind, extension in _EXTENSIONS.items()} | {
    ".oga": "audio/ogg",
    ".wave": "audio/wav",
}
NAMES: Final = frozenset({*_EXTENSIONS, *_OTHER_NAMES})
"""Every name of a type that is answered with."""


@lru_cache(maxsize=1024)
def media_type(stored: str | None) -> str:
    """The type to answer with for one that was stored: of the allow-list, under its registered name, or OPAQUE.

    Parameters are dropped: players look into the container, and what was stored is not trusted.
    """
    essence = (stored or "").partition(";")[0].strip(" \t").lower()
    essence = _OTHER_NAMES.get(essence, essence)
    return essence if essence in _EXTENSIONS else OPAQUE


def type_by_name(name: str) -> str:
    """The type that a file name's extension stands for; OPAQUE where it stands for none."""
    _, extension = _split(name.lower())
    return _BY_EXTENSION.get(extension, OPAQUE)


def extension_for(stored: str | None) -> str:
    """The file name extension, with its dot, of ``media_type(stored)``; ``.bin`` for OPAQUE."""
    return _EXTENSIONS.get(media_type(stored), ".bin")


# --- Content-Disposition (RFC 6266, RFC 8187) -----------------------------------------------------------------------

_NAME_BYTES = 200
"""UTF-8 bytes of a file name; every file system takes 255."""
_EXTENSION_CHARACTERS = 10
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Bidirectional controls, which make an .exe look like a .wav."""
_UNQUOTABLE = re.compile(r'(?:[^ -~]|["%/\\])+')
_ATTRIBUTE = "!#$&+-.^_`|~"
"""attr-char of RFC 8187 beside letters and digits."""


@lru_cache(maxsize=4096)
def content_disposition(kind: Literal["attachment", "inline"], filename: str) -> str:
    """One well-formed field whatever ``filename`` holds: a quoted ASCII name, and ``filename*`` where that loses any."""
    name = safe_name(filename)
    plain = _ascii_name(name)
    field = f'{kind}; filename="{plain}"'
    return field if plain == name else f"{field}; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"


def safe_name(filename: str) -> str:
    """A name to save a file under, as ``content_disposition`` tells it.

    Path separators, control characters and lone surrogates become ``_``; the name is cut to 200 bytes of UTF-8, its
    extension kept.
    """
    # A little more than can remain is enough to look at; the extension is taken from the end, where it stands.
    if len(filename) > 2 * _NAME_BYTES:
        filename = filename[:_NAME_BYTES] + filename[-_NAME_BYTES:]
    seen = (
        "_" if c in "/\\" or c in _TURNING or unicodedata.category(c) in _UNSEEN else c
        for c in unicodedata.normalize("NFC", filename)
    )
    stem, extension = _split("".join(seen).strip(". "))
    room = _NAME_BYTES - len(extension.encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore").strip(" ")
    return (stem or "recording") + extension


def _ascii_name(name: str) -> str:
    """Without what a quoted-string would have to escape, and without ``%``, which some readers decode."""
    if _UNQUOTABLE.search(name) is None:
        return name
    stem, extension = _split(name)
    return (_ascii(stem) or "recording") + _ascii(extension)


def _ascii(text: str) -> str:
    """Letters without their accents, anything else that must go as ``_``; empty where nothing would tell a name."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = _UNQUOTABLE.sub("_", "".join(c for c in decomposed if not unicodedata.combining(c)))
    return bare if re.search(r"[A-Za-z0-9]", bare) else ""


def _split(name: str) -> tuple[str, str]:
    """Stem, and extension with its dot where it looks like one."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension) > _EXTENSION_CHARACTERS or not extension.isalnum():
        return name, ""
    return stem, dot + extension
