"""Times that others tell of calls and recordings, as they may be kept. Pure.

Programs that do not know a time often send a placeholder: the first or the last time that their language has, or the zero
of Unix' clock. Those are refused. Postgres would keep the first two as infinities, which cannot be read back as times, and a
recording that started in 1970 would be past its retention at once. So it would be if a date without its dashes, 20260525,
were taken for seconds of that clock: no number is a time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Strict

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_ZERO, _NEAR = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
"""1970-01-01 in any time zone."""
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
DAYS_MAX = 36_500
"""The most days that a recording may be kept: a hundred years."""
_LAST_START = _LAST - timedelta(days=DAYS_MAX)
"""The latest start: DAYS_MAX days later must still be a date."""
_YEAR = re.compile(r"[0-9]{4}-", re.ASCII)


def _dated(told: object) -> object:
    """Pydantic reads numbers, and text that is one, as seconds or milliseconds since 1970."""
    if isinstance(told, datetime) or (isinstance(told, str) and _YEAR.match(told) is not None):
        return told
    raise ValueError("must be a time with its zone, as 2026-05-25T10:04:48Z")


def _until(last: datetime) -> AfterValidator:
    def kept(when: datetime) -> datetime:
        try:
            in_utc = when.astimezone(UTC)
        except OverflowError:
            in_utc = None
        if in_utc is None or not _FIRST <= in_utc <= last:
            raise ValueError(
                f"must lie between the years {_FIRST.year} and {last.year} in UTC; what is not known is left out"
            )
        if abs(in_utc - _ZERO) < _NEAR:
            raise ValueError("1970-01-01 stands for a time that nobody knew; what is not known is left out")
        return in_utc

    return AfterValidator(kept)


_Dated = Annotated[AwareDatetime, Strict(False), BeforeValidator(_dated)]  # a strict one takes no text from a validator
Instant = Annotated[_Dated, _until(_LAST)]
"""A time with its zone, as 2026-05-25T10:04:48Z."""
Happened = Annotated[_Dated, _until(_LAST_START)]
"""A time at which something of a call began or ended."""
