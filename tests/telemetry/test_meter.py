"""What the meter makes of requests."""

import asyncio
import time

import pytest

from gateway.event import Result
from gateway.telemetry.lag import INTERVAL_S, LoopLag
from gateway.telemetry.meter import DURATIONS, FIRST_BYTES, METHODS, Histogram, Meter

AUDIO = "/v1/recordings/{id}/audio"


def counts(meter: Meter) -> dict[tuple[str, str, str, int], int]:
    return {key: row.count for key, row in meter.rows.items()}


def test_each_surface_route_method_and_status_is_counted_by_itself():
    meter = Meter()
    meter.answered("native", AUDIO, "GET", 206, 0.1, 0.01, 10)
    meter.answered("native", AUDIO, "GET", 206, 0.1, 0.01, 10)
    meter.answered("native", AUDIO, "GET", 200, 0.1, 0.01, 10)
    meter.answered("native", AUDIO, "HEAD", 200, 0.1, None, 0)
    meter.answered("yotel", AUDIO, "GET", 206, 0.1, 0.01, 5)
    assert counts(meter) == {
        ("native", AUDIO, "GET", 206): 2,
        ("native", AUDIO, "GET", 200): 1,
        ("native", AUDIO, "HEAD", 200): 1,
        ("yotel", AUDIO, "GET", 206): 1,
    }
    assert {name: one.sent for name, one in meter.surfaces.items()} == {"native": 30, "yotel": 5}


def test_methods_that_clients_invent_share_a_row():
    meter = Meter()
    for number in range(100):
        meter.answered("native", AUDIO, f"INVENTED{number}", 405, 0.1, None, 0)
    for method in METHODS:
        meter.answered("native", AUDIO, method, 405, 0.1, None, 0)
    assert meter.rows[("native", AUDIO, "other", 405)].count == 100
    assert len(meter.rows) == 1 + len(METHODS)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (DURATIONS[0], 0), (0.0011, 1), (1800.0, len(DURATIONS) - 1), (1e6, len(DURATIONS))],
)
def test_a_duration_falls_under_the_first_bound_that_it_does_not_exceed(seconds: float, bucket: int):
    meter, alone = Meter(), Histogram(DURATIONS)
    meter.answered("native", AUDIO, "GET", 200, seconds, None, 0)
    alone.observe(seconds)
    durations = meter.surfaces["native"].durations
    assert [at for at, count in enumerate(durations.counts) if count] == [bucket]
    assert (durations.counts, durations.sum) == (alone.counts, alone.sum)


def test_first_bytes_are_those_of_requests_that_had_one():
    meter = Meter()
    meter.answered("native", AUDIO, "GET", 200, 2.0, 0.003, 100)
    meter.answered("native", AUDIO, "GET", 404, 2.0, None, 0)
    first = meter.surfaces["native"].first_bytes
    assert (sum(first.counts), first.counts[FIRST_BYTES.index(0.005)], first.sum) == (1, 1, 0.003)
    assert meter.surfaces["native"].durations.sum == 4.0


def test_what_did_not_end_complete_is_told_apart_by_its_reason():
    meter = Meter()
    meter.answered("native", AUDIO, "GET", 200, 0.1, None, 0, Result.COMPLETE)
    meter.answered("native", AUDIO, "GET", 404, 0.1, None, 0, Result.REFUSED, "not_found")
    meter.answered("native", AUDIO, "GET", 404, 0.1, None, 0, Result.REFUSED, "not_found")
    meter.answered("native", AUDIO, "GET", 200, 0.1, None, 0, Result.CLIENT_GONE, None)
    assert meter.unserved == {
        ("native", Result.REFUSED, "not_found"): 2,
        ("native", Result.CLIENT_GONE, ""): 1,
    }


async def test_a_loop_that_is_held_up_is_found_late():
    async with LoopLag() as lag:
        time.sleep(INTERVAL_S + 0.15)  # noqa: ASYNC251  as long as the loop is to be held up
        await asyncio.sleep(0.001)  # timers go off in their order
        assert 0.15 <= lag.worst() == lag.lags.sum
        assert lag.worst() == 0
    looks = sum(lag.lags.counts)
    await asyncio.sleep(INTERVAL_S * 1.5)
    assert sum(lag.lags.counts) == looks, "the timer outlived its context"
