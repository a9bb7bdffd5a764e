"""What becomes of a delivery after a try. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

from ...http.headers import parse_date

JITTER = 0.1
"""Part by which a wait may be longer or shorter, so that what failed together is not tried together."""

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_ASKED_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Tried:
    """How one try ended."""

    at: datetime
    took_ms: int
    status: int | None
    """None: there was no answer."""
    error: str | None
    """None: it was taken."""
    retry_after: str | None = None
    """The field as it came."""
    asked: bool = True
    """False: it failed in the gateway itself, and the endpoint was not asked."""


class Fate(StrEnum):
    """What is to be done."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    """The schedule is used up."""
    GONE = "gone"
    """The endpoint wants nothing any more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``delay_s``: seconds until the next try, where there is one."""

    fate: Fate
    delay_s: float = 0


def judge(tried: Tried, tries: int, schedule_s: Sequence[float], chance: float) -> Verdict:
    """``tries`` ended in failure before this one. ``chance`` lies between 0 and 1, and spreads the next try.

    A 429 or 503 with Retry-After puts the next try off, to the longest wait of the schedule at most; it brings none forward.
    """
    if tried.error is None:
        return Verdict(Fate.DELIVERED)
    if tried.status == HTTPStatus.GONE:
        return Verdict(Fate.GONE)
    if tries >= len(schedule_s):
        return Verdict(Fate.FAILED)
    delay = schedule_s[tries] * (1 + JITTER * (2 * chance - 1))
    if tried.status in _ASKED_TO_WAIT:
        delay = max(delay, min(asked_wait_s(tried.retry_after, tried.at), max(schedule_s)))
    return Verdict(Fate.RETRY, delay)


def asked_wait_s(retry_after: str | None, now: datetime) -> float:
    """RFC 9110 section 10.2.3: seconds, or a date; 0 where it is neither."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    when = parse_date(text)
    return 0 if when is None else max(0, math.ceil((when - now).total_seconds()))
