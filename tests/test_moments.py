"""Which times are kept of what others tell."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.moments import DAYS_MAX, Happened, Instant

EITHER: dict[str, TypeAdapter[Any]] = {"an instant": TypeAdapter(Instant), "what happened": TypeAdapter(Happened)}


@pytest.mark.parametrize("kind", EITHER)
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("1900-01-01T00:00:00Z", True),
        ("1899-12-31T23:59:59Z", False),
        ("1900-01-01T00:00:00+00:01", False),
        ("0001-01-01T00:00:00Z", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59-14:00", False),
        ("2026-05-25T10:04:48", False),
        ("1969-12-31T00:00:00Z", True),
        ("1970-01-01T00:00:00+14:00", False),
        ("1970-01-01T00:00:00Z", False),
        ("1970-01-01T00:00:00-12:00", False),
        ("0", False),
        ("1970-01-02T00:00:00Z", True),
    ],
)
def test_a_time_is_kept_from_1900_on_with_its_zone_but_for_the_zero_of_unix(kind: str, told: str, *, kept: bool):
    assert is_kept(EITHER[kind], told) is kept


@pytest.mark.parametrize(
    ("told", "instant", "happened"),
    [
        ("9999-12-31T23:59:59Z", True, False),
        ("9999-12-31T23:59:59.000001Z", False, False),
        ("9900-01-24T23:59:59Z", True, True),
        ("9900-01-25T00:00:00Z", True, False),
    ],
)
def test_what_happened_leaves_room_for_the_days_it_is_kept(told: str, *, instant: bool, happened: bool):
    assert is_kept(EITHER["an instant"], told) is instant
    assert is_kept(EITHER["what happened"], told) is happened
    if happened:
        assert EITHER["what happened"].validate_python(told) + timedelta(days=DAYS_MAX)


@pytest.mark.parametrize("kind", EITHER)
@pytest.mark.parametrize(
    "told",
    ["20260525", "20260525100448", "1779703488", "+1779703488", "1779703488.5", "-1", 20260525, 1779703488.5, True],
)
def test_a_number_is_no_time(kind: str, told: object):
    """Taken for Unix' clock, a date without its dashes would be a day of 1970 or of the year 2612."""
    with pytest.raises(ValidationError, match="must be a time with its zone, as 2026-05-25T10:04:48Z"):
        EITHER[kind].validate_python(told)


def test_a_time_is_kept_as_that_of_utc():
    kept = EITHER["an instant"].validate_python("2026-05-25T10:04:48+02:00")
    assert kept.isoformat() == "2026-05-25T08:04:48+00:00"


def is_kept(kind: TypeAdapter[Any], told: str) -> bool:
    try:
        kind.validate_python(told)
    except ValidationError:
        return False
    return True
