"""Option values that click doesn't know: lengths of time, and points in it; names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import click

from ..aliases import kept
from ..model import CallRef
from ..moments import DAYS_MAX

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = re.compile(r"[1-9][0-9]*", re.ASCII)
_LENGTH = re.compile(r"([1-9][0-9]*)([smhdw])", re.ASCII)
_DIGITS = 12
"""More than a hundred years have in any unit."""
_LONGEST = timedelta(days=DAYS_MAX)
_LINE = re.compile(r"[^\x00-\x1F\x7F\uD800-\uDFFF]{0,200}")
"""As the API takes one; an argument that was not UTF-8 comes with surrogates in it."""


def length(text: str) -> timedelta:
    """``90d``, ``12h``: a number and a unit."""
    if (match := _LENGTH.fullmatch(text)) is None:
        raise click.BadParameter(f"{text!r} is no length of time; write 90d, 12h or 30m: a number and s, m, h, d or w")
    unit = timedelta(**{_UNITS[match[2]]: 1})
    if len(match[1]) > _DIGITS or int(match[1]) > _LONGEST / unit:
        raise click.BadParameter(f"{text!r} is longer than a hundred years; write {_LONGEST.days}d at most")
    return int(match[1]) * unit


def name(text: str) -> str:
    """A name for people: 1 to 200 characters on one line."""
    if not text or _LINE.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r} is no name; write 1 to 200 characters on one line")
    return text


def note(text: str) -> str:
    """A note for people: up to 200 characters on one line, or none."""
    if _LINE.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r} is no note; write at most 200 characters on one line")
    return text


def id_of(what: str, listing: str) -> Callable[[str], UUID]:
    """The id of one of those that the command ``listing`` shows. Not repeated where it is none: it may be a key itself."""

    def take(text: str) -> UUID:
        try:
            return UUID(text)
        except ValueError:
            raise click.BadParameter(f"write the {what}'s id, as `recording-gateway {listing}` shows it") from None

    return take


def call(text: str) -> CallRef:
    """A call as people name it: its UUID, or ``surface:id``."""
    surface, colon, external = stored(text).partition(":")
    if colon:
        return CallRef(surface, kept(surface, external))
    try:
        return CallRef(None, str(UUID(text)))
    except ValueError:
        raise click.BadParameter(f"{text!r} names no call; write its UUID, or SURFACE:ID as yotel:call_a1") from None


def utf8(text: str) -> str:
    """Text to be stored, which must be UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{text!r} is not UTF-8; what is kept must be") from None
    return text


def stored(text: str) -> str:
    """Text to look up. What is not UTF-8 cannot be stored, so nothing can be found by it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{text!r} is not UTF-8, and so nobody's") from None
    return text


@dataclass(frozen=True, slots=True)
class Days:
    """``number`` None: for ever."""

    number: int | None


def days(text: str) -> Days:
    """``365`` or ``forever``."""
    if text == "forever":
        return Days(None)
    if _DAYS.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r} is no number of days; write 365, or forever")
    if len(text) > _DIGITS or int(text) > DAYS_MAX:
        raise click.BadParameter(f"{text!r} is longer than a hundred years; write {DAYS_MAX} at most, or forever")
    return Days(int(text))


def when(text: str) -> datetime:
    """An ISO 8601 time (UTC where it has no zone), or a length of time before now."""
    if _LENGTH.fullmatch(text) is not None:
        return datetime.now(UTC) - length(text)
    if (time := _moment(text)) is None:
        raise click.BadParameter(f"{text!r} is no time; write 2026-05-25T10:00:00Z, or 2h for two hours ago")
    return time


def moment(text: str) -> datetime:
    """An ISO 8601 time alone: where the future is meant, ``90d`` would be read as 90 days ahead, and mean 90 days ago."""
    if (time := _moment(text)) is None:
        raise click.BadParameter(f"{text!r} is no time; write 2026-05-25T10:00:00Z")
    return time


def _moment(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
