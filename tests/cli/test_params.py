"""What options take, and what they make of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click
import pytest

from gateway.cli import params

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("90d", 90 * DAY),
        ("2w", 14 * DAY),
        ("36500d", 36500 * DAY),
    ],
)
def test_a_length_is_a_number_of_its_unit(text: str, meant: timedelta):
    assert params.length(text) == meant
    before = datetime.now(UTC)
    assert before - meant <= params.when(text) <= datetime.now(UTC) - meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-05-25T10:00:00Z", datetime(2026, 5, 25, 10, tzinfo=UTC)),
        ("2026-05-25T10:00:00+02:00", datetime(2026, 5, 25, 8, tzinfo=UTC)),
        ("2026-05-25T10:00:00", datetime(2026, 5, 25, 10, tzinfo=UTC)),
        ("2026-05-25", datetime(2026, 5, 25, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_where_it_has_no_zone(text: str, meant: datetime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "America/New_York")
    assert params.when(text) == params.moment(text) == meant


@pytest.mark.parametrize(
    ("take", "text"),
    [
        (params.length, "36501d"),
        (params.length, "0d"),
        (params.length, "1.5h"),
        (params.length, "90"),
        (params.when, "yesterday"),
        (params.when, "0001-01-01T00:00:00+14:00"),
        (params.moment, "90d"),
        (params.days, "0"),
        (params.days, "36501"),
        (params.name, ""),
        (params.name, "A" * 201),
        (params.name, "A\x7f"),
        (params.name, "A\nB"),
        (params.note, "A" * 201),
        (params.note, "A\tB"),
        (params.utf8, "A\udcff"),
        (params.stored, "A\udcff"),
    ],
)
def test_what_cannot_be_meant_is_refused_as_it_was_written(take: Callable[[str], object], text: str):
    with pytest.raises(click.BadParameter) as refused:
        take(text)
    assert refused.value.message.startswith(f"{text!r} is ")


@pytest.mark.parametrize("take", [params.length, params.days])
@pytest.mark.parametrize("number", ["36501", "99999999", "9" * 5000], ids=["by a day", "by far", "beyond any number"])
def test_what_is_too_long_is_called_so(take: Callable[[str], object], number: str):
    with pytest.raises(click.BadParameter, match="is longer than a hundred years; write 36500"):
        take(number + "d" * (take is params.length))


@pytest.mark.parametrize(
    ("take", "text", "meant"),
    [
        (params.days, "36500", params.Days(36500)),
        (params.days, "forever", params.Days(None)),
        (params.name, "Ä" * 200, "Ä" * 200),
        (params.note, "", ""),
        (params.note, "A" * 200, "A" * 200),
        (params.stored, "", ""),
    ],
)
def test_what_is_just_within_is_taken(take: Callable[[str], object], text: str, meant: object):
    assert take(text) == meant
