"""RFC 9110 sections 8.8.3, 13 and 14 the slow way, to hold the real thing against.

Written from the RFC's text and the decision table, one character and one byte at a time: ranges are sets of byte
positions, lists are cut up by hand, dates go through ``strptime`` and back. It shares no code and no technique with
``gateway.http``, and is fit for small objects only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

Lines = Sequence[tuple[str, str]]

_DIGITS = "0123456789"
_SHORT = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``spans`` are (start, stop): the whole object for a 200, one for a plain 206, more for a multipart one."""

    status: int
    spans: tuple[tuple[int, int], ...] = ()


def verdict(method: str, lines: Lines, size: int, etag: str, modified: datetime, *, ranges: bool = True) -> Verdict:
    """What must come of a request with these header lines."""
    fields: dict[str, list[str]] = {}
    for name, text in lines:
        fields.setdefault(name.lower(), []).append(text)
    second = modified.replace(microsecond=0)

    early = _conditions(fields, etag, second)
    if early is not None:
        return early
    # 13.2.2 step 5, and section 14.2
    whole = Verdict(200, ((0, size),) if size > 0 else ())
    if method != "GET" or not ranges or size == 0 or "range" not in fields:
        return whole
    if "if-range" in fields and not _same(fields["if-range"], etag, second):
        return whole
    if len(fields["range"]) != 1:
        return Verdict(400)
    return _ranged(fields["range"][0], size) or whole


def _conditions(fields: Mapping[str, list[str]], etag: str, second: datetime) -> Verdict | None:
    """Section 13.2.2, steps 1 to 4."""
    if "if-match" in fields:
        if not any(tag in ("*", etag) for tag in _list_of_tags(fields["if-match"])):
            return Verdict(412)
    elif "if-unmodified-since" in fields:
        limit = _only_date(fields["if-unmodified-since"])
        if limit is not None and not second <= limit:
            return Verdict(412)
    if "if-none-match" in fields:
        if any(tag in ("*", etag, "W/" + etag) for tag in _list_of_tags(fields["if-none-match"])):
            return Verdict(304)
    elif "if-modified-since" in fields:
        limit = _only_date(fields["if-modified-since"])
        if limit is not None and not second > limit:
            return Verdict(304)
    return None


def _same(texts: list[str], etag: str, second: datetime) -> bool:
    if len(texts) != 1:
        return False
    return _trim(texts[0]) == etag or _only_date(texts) == second


def _trim(text: str) -> str:
    while text and text[0] in (" ", "\t"):
        text = text[1:]
    while text and text[-1] in (" ", "\t"):
        text = text[:-1]
    return text


# --- ranges ---------------------------------------------------------------------------------------------------------


def _ranged(text: str, size: int) -> Verdict | None:
    """None: the field is ignored."""
    text = _trim(text)
    if "=" not in text:
        return None
    unit = text[: text.index("=")]
    if len(unit) != 5 or any(c not in pair for c, pair in zip(unit, ("bB", "yY", "tT", "eE", "sS"), strict=True)):
        return None
    wanted: list[set[int]] = []
    for member in _cut(text[text.index("=") + 1 :], quotes=False):
        positions = _positions(member, size)
        if positions is None:
            return Verdict(416)
        wanted.append(positions)
    if not any(wanted):
        return Verdict(416)
    if len(wanted) > 8 or sum(len(positions) for positions in wanted) > size:
        return None
    return Verdict(206, _coalesced(wanted))


def _coalesced(wanted: list[set[int]]) -> tuple[tuple[int, int], ...]:
    """From each member outwards, as far as bytes are wanted at all; what was found already counts once."""
    everything = set().union(*wanted)
    spans: list[tuple[int, int]] = []
    for positions in filter(None, wanted):
        start = stop = min(positions)
        while start - 1 in everything:
            start -= 1
        while stop in everything:
            stop += 1
        if (start, stop) not in spans:
            spans.append((start, stop))
    return tuple(spans)


def _positions(member: str, size: int) -> set[int] | None:
    """The bytes of the object that one range-spec means. None: it is none."""
    if member.count("-") != 1 or any(c not in _DIGITS + "-" for c in member):
        return None
    before, after = member.split("-")
    if before == after == "":
        return None
    if before == "":
        return {i for i in range(size) if size - i <= int(after)}
    if after == "":
        return {i for i in range(size) if i >= int(before)}
    if int(before) > int(after):
        return None
    return {i for i in range(size) if int(before) <= i <= int(after)}


# --- lists (section 5.6.1) ------------------------------------------------------------------------------------------


def _cut(text: str, *, quotes: bool) -> list[str]:
    """The members of a list, trimmed, empty ones left out. With ``quotes``, commas between quotes cut nothing."""
    members, current, inside = [], "", False
    for c in text:
        if c == '"' and quotes:
            inside = not inside
        if c == "," and not inside:
            members.append(current)
            current = ""
        else:
            current += c
    members.append(current)
    return [member for member in map(_trim, members) if member != ""]


def _list_of_tags(texts: list[str]) -> list[str]:
    """Either ``["*"]`` or entity-tags; nothing at all where anything else is among them."""
    members = _cut(",".join(texts), quotes=True)
    if [_trim(text) for text in texts] == ["*"]:
        return ["*"]
    for member in members:
        opaque = member[2:] if member[:2] == "W/" else member
        if len(opaque) < 2 or opaque[0] != '"' or opaque[-1] != '"':
            return []
        if any(c == '"' or ord(c) < 0x21 or ord(c) == 0x7F for c in opaque[1:-1]):
            return []
    return members


# --- dates (section 5.6.7) ------------------------------------------------------------------------------------------


def _only_date(texts: list[str]) -> datetime | None:
    if len(texts) != 1:
        return None
    text = _trim(texts[0])
    for day in _SHORT:
        if text.startswith(day + ", "):
            return _exactly(text[5:], "%d %b %Y %H:%M:%S GMT")
        if text.startswith(day + " "):
            # asctime pads the day with a space where strftime writes a zero
            zeroed = text[4:8] + "0" + text[9:] if text[8:9] == " " else text[4:]
            return _exactly(zeroed, "%b %d %H:%M:%S %Y")
    for day in _LONG:
        if text.startswith(day + ", "):
            when = _exactly(text[len(day) + 2 :], "%d-%b-%y %H:%M:%S GMT")
            return when and _within_fifty_years(when)
    return None


def _exactly(text: str, form: str) -> datetime | None:
    """``strptime`` is lenient; what it read must be what it would write."""
    try:
        when = datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
    return when if when.strftime(form) == text else None


def _within_fifty_years(when: datetime) -> datetime:
    now = datetime.now(UTC)
    when = when.replace(year=now.year // 100 * 100 + when.year % 100)
    return when.replace(year=when.year - 100) if (when - now).days > 50 * 365.25 else when
