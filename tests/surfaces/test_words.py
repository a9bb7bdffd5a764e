"""What surfaces say alike: times and durations, rounded here and nowhere before."""

from datetime import datetime

import pytest

from gateway.surfaces._words import timestamp, whole_seconds


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("2026-05-25T10:04:48Z", "2026-05-25T10:04:48Z"),
        ("2026-05-25T10:04:48.999999Z", "2026-05-25T10:04:48Z"),
        ("2026-05-25T01:34:48.5+05:30", "2026-05-24T20:04:48Z"),
        ("2026-12-31T20:00:00-04:00", "2027-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_told_in_utc_by_the_second_that_has_begun(when: str, told: str):
    assert timestamp(datetime.fromisoformat(when)) == told
    assert timestamp(None) is None


@pytest.mark.parametrize(
    ("duration_ms", "seconds"), [(0, 0), (499, 0), (500, 1), (1499, 1), (2500, 3), (141_500, 142), (None, None)]
)
def test_a_duration_is_told_by_the_nearest_second(duration_ms: int | None, seconds: int | None):
    assert whole_seconds(duration_ms) == seconds
