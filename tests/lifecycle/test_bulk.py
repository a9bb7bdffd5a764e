"""A whole manifest through the pipeline."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from parts.labs import store_of
from parts.pipeline import Works
from parts.wavs import silence

from gateway.errors import NotFound, OriginFailed, OriginTimeout
from gateway.lifecycle.bulk import Done, Fate, run
from gateway.lifecycle.manifest import Line, Row
from gateway.lifecycle.pipeline import Outcome, Pipeline, Result
from gateway.model import CallRef, Lifetime, Listing, Recording, State

disk_only = pytest.mark.parametrize("works", ["disk"], indirect=True)


def line(number: int, key: str, **fields: object) -> Line:
    return Line(number, Row.model_validate({"key": key, "store": "main", "aliases": f"yotel:c-{number}"} | fields))


async def done(works: Works, lines: list[Line], **how: object) -> list[Done]:
    return sorted([d async for d in run(works.pipeline, works.tenant, lines, **how)], key=lambda d: d.number)


async def test_a_manifest_is_registered_and_a_second_run_passes_over_it(works: Works):
    keys = [works.put(f"{n}.wav", silence(n)) for n in range(1, 13)]
    lines = [line(n, key, to="+4930", voice_agent=True) for n, key in enumerate(keys, 1)]
    first = await done(works, lines)
    assert [d.fate for d in first] == [Fate.READY] * 12
    entry = await works.catalog.find(works.tenant, CallRef("yotel", "c-7"))
    assert entry.recording is not None
    assert (entry.recording.duration_ms, entry.call.to_number, entry.call.voice_agent) == (7000, "+4930", True)
    assert entry.call.id == first[6].call
    works.put("3.wav", silence(30))
    works.store.opened.clear()
    second = await done(works, lines)
    assert Counter(d.fate for d in second) == {Fate.UNCHANGED: 11, Fate.READY: 1}
    assert second[2].fate is Fate.READY
    assert len(works.store.opened) == 1
    assert await works.events() == 12


@disk_only
async def test_each_line_has_a_fate_of_its_own(works: Works):
    good, noise = works.put("good.wav", silence()), works.put("noise.wav", b"noise")
    taken = await works.call(yotel="taken")
    lines = [
        line(1, good),
        line(2, noise),
        line(3, "not-there.wav"),
        Line(4, "key: required"),
        line(5, good, store="tape"),
        line(6, good, media_type="text/html"),
        line(7, good, aliases="yotel:taken voki:1"),
        line(8, good, call=taken, aliases="yotel:c-1"),
        line(9, good, department=uuid4()),
        line(10, "/a.wav"),
    ]
    found = await done(works, lines, concurrency=1)
    assert [d.fate for d in found] == [
        *[Fate.READY, Fate.FAILED, Fate.PENDING, Fate.INVALID, Fate.INVALID, Fate.INVALID, Fate.READY, Fate.INVALID],
        *[Fate.INVALID, Fate.INVALID],
    ]
    assert found[3].reason == "key: required"
    assert "no store 'tape'" in found[4].reason
    assert "text/html" in found[5].reason
    assert found[7].reason == "these ids belong to different calls"
    assert all(d.reason for d in found if d.fate is not Fate.READY)
    for wrong in ("c-5", "c-6", "c-9", "c-10"):
        with pytest.raises(NotFound):
            await works.catalog.find(works.tenant, CallRef("yotel", wrong))


@disk_only
async def test_a_store_out_of_reach_decides_nothing_and_is_asked_again_next_time(works: Works):
    key = works.put("a.wav", silence())
    away = Pipeline({"main": await store_of(works.lab, gone=True)}, works.registry, works.catalog)
    (found,) = [d async for d in run(away, works.tenant, [line(1, key)])]
    assert (found.fate, bool(found.reason)) == (Fate.UNDECIDED, True)
    for fault in (OriginFailed("no right to read"), OriginTimeout()):
        works.store.before_open = Mock(side_effect=fault)
        (found,) = await done(works, [line(1, key)])
        assert (found.fate, found.reason) == (Fate.UNDECIDED, fault.detail or fault.reason)
    works.store.before_open = lambda: None
    assert [d.fate for d in await done(works, [line(1, key)])] == [Fate.READY]


@disk_only
async def test_no_more_than_so_many_are_under_way_and_lines_are_taken_as_needed(works: Works):
    key = works.put("a.wav", silence())
    taken = 0

    def lines() -> Iterator[Line]:
        nonlocal taken
        for number in range(1, 31):
            taken += 1
            yield line(number, key)

    seen = 0
    async for _ in run(works.pipeline, works.tenant, lines(), concurrency=4):
        seen += 1
        assert taken <= seen + 4 + 3  # three more may have been done in the same moment
    assert (seen, taken) == (30, 30)


@disk_only
async def test_closing_it_lets_what_is_under_way_come_to_its_end(works: Works):
    keys = [works.put(f"{n}.wav", silence()) for n in range(8)]
    before = asyncio.all_tasks()
    results = run(works.pipeline, works.tenant, [line(n, key) for n, key in enumerate(keys, 1)], concurrency=3)
    await anext(results)
    await results.aclose()
    assert asyncio.all_tasks() <= before
    page = await works.catalog.list(works.tenant, Listing())
    assert 3 <= len(page.entries) < 8
    assert {entry.recording.state for entry in page.entries if entry.recording} == {State.READY}


class Counted:
    """A pipeline that only counts what is under way in it."""

    def __init__(self) -> None:
        self.registry = self
        self.now = self.most = 0
        self.told: list[dict[str, object]] = []

    def known(self, *_given: object) -> None: ...

    async def create_call(self, *_given: object) -> UUID:
        return uuid4()

    async def register(self, *_given: object, **told: object) -> Result:
        self.told.append(told)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)  # the others' turn
        self.now -= 1
        return Result(Outcome.READY, Recording(uuid4(), State.READY))


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_exactly_so_many_are_under_way(concurrency: int):
    pipeline: Any = Counted()
    lines = [line(number, "a.wav") for number in range(30)]
    assert len([done async for done in run(pipeline, uuid4(), lines, concurrency=concurrency)]) == 30
    assert pipeline.most == concurrency


async def test_what_a_row_says_of_its_recording_goes_with_it():
    pipeline: Any = Counted()
    at = datetime(2026, 3, 1, tzinfo=UTC)
    kept = {"started_at": at, "expires_at": at + timedelta(days=9), "retention_days": 7}
    row = line(1, "a.wav", **kept, media_type="audio/wav")
    assert [done.fate async for done in run(pipeline, uuid4(), [row])] == [Fate.READY]
    assert pipeline.told == [{"lifetime": Lifetime(**kept), "media_type": "audio/wav", "fail_missing": False}]
