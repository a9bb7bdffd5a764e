"""Sweeps go on, whatever becomes of one of them, until the gateway stops."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import Unavailable
from gateway.lifecycle import sweeps
from gateway.lifecycle.retention import Fate, Summary
from gateway.lifecycle.sweeps import FIRST_S, Sweeps


class Sweeper:
    """Ends each sweep as it is told to; ``asked`` counts them."""

    def __init__(self, *ends: Exception | Summary | None) -> None:
        self.ends = list(ends)
        self.asked = 0
        self.enough = asyncio.Event()

    async def sweep(self, *, stop: asyncio.Event) -> Summary | None:
        self.asked += 1
        assert not stop.is_set()
        if not self.ends:
            self.enough.set()
            return Summary()
        if isinstance(end := self.ends.pop(0), Exception):
            raise end
        return end


def run(sweeper: Any, interval_s: float) -> Sweeps:
    return Sweeps(sweeper, interval_s)


async def test_neither_an_outage_nor_a_defect_is_the_last_sweep():
    sweeper = Sweeper(Unavailable("away"), RuntimeError("a defect"), None)
    async with asyncio.timeout(20), run(sweeper, 0.001):
        await sweeper.enough.wait()
    assert sweeper.asked >= 4


@pytest.mark.parametrize(("end", "seconds"), [(None, 86_400), (RuntimeError("x"), 86_400), (Unavailable("x"), FIRST_S)])
async def test_what_an_outage_ended_begins_anew_soon(end: Exception | None, seconds: float):
    assert await run(Sweeper(end), 86_400)._sweep() == seconds


@pytest.mark.parametrize(
    ("fates", "level"),
    [
        ({}, None),
        ({Fate.DELETED: 2, Fate.SHARED: 1}, "info"),
        ({Fate.DELETED: 2, Fate.FAILED: 1}, "warning"),
        ({Fate.PUT_OFF: 1}, "warning"),
    ],
)
async def test_what_a_sweep_did_is_one_line_of_the_log_and_a_warning_where_an_object_is_left(
    fates: dict[Fate, int], level: str | None
):
    with capture_logs() as logged:
        await run(Sweeper(Summary(Counter(fates), 7)), 86_400)._sweep()
    told = {fate.value: count for fate, count in fates.items()}
    line = {"event": "retention_swept", "log_level": level, "bytes": 7, **told}
    assert logged == ([] if level is None else [line])


@pytest.mark.parametrize(("interval_s", "most"), [(0.5, 0.5), (86_400, FIRST_S)])
async def test_the_first_begins_within_a_minute_and_no_later_than_any_other(
    interval_s: float, most: float, monkeypatch: pytest.MonkeyPatch
):
    spread: list[tuple[float, float]] = []

    def uniform(least: float, greatest: float) -> float:
        spread.append((least, greatest))
        return 3600.0

    monkeypatch.setattr(sweeps.random, "uniform", uniform)
    async with run(Sweeper(), interval_s):
        await asyncio.sleep(0)
    assert spread == [(0, most)]


async def test_stopping_waits_for_no_interval(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeps.random, "uniform", lambda *_: 3600.0)
    sweeper, started = Sweeper(), time.monotonic()
    async with run(sweeper, 3600):
        await asyncio.sleep(0)
    assert time.monotonic() - started < 3
    assert sweeper.asked == 0


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_batch_under_way_is_let_to_its_end_but_not_for_ever(*, hangs: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeps, "LAST_S", 0.05)
    begun, ended = asyncio.Event(), False

    class Busy:
        async def sweep(self, *, stop: asyncio.Event) -> None:
            nonlocal ended
            begun.set()
            await stop.wait()
            if hangs:
                await asyncio.Event().wait()
            ended = True

    async with asyncio.timeout(20), run(Busy(), 0.001) as going:
        await begun.wait()
    assert going._task.done()
    assert ended is not hangs
