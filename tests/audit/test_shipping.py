"""From the journal to the sink: in order, all of it, and no file longer than it is needed."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from parts.audit import FaultyFiles, House, MemorySink, delivering, intent, outcome, settings, until
from parts.pouring import descriptors
from structlog.testing import capture_logs

from gateway.audit import portion, shipper, writer
from gateway.audit.courier import Courier
from gateway.audit.events import OpenEvents
from gateway.audit.frames import Kind, frame
from gateway.audit.portion import PROMPT
from gateway.audit.quarantine import Quarantine
from gateway.audit.segments import segments_of
from gateway.audit.shipper import Shipper
from gateway.errors import Unavailable
from gateway.event import Intent


class Shipping(House):
    """A House with a shipper towards a sink in memory."""

    def __init__(self, folder: Path, files: FaultyFiles | None = None, **values: Any) -> None:
        super().__init__(settings(folder, **values), files or FaultyFiles())
        self.sink = MemorySink()
        self.quarantine = Quarantine(folder)
        self.courier = Courier(self.sink, self.quarantine, retry_max_s=0.02)
        self.shipper = Shipper(self.journal, self.trail, self.courier, self.quarantine, self.settings)

    def files_left(self) -> list[Path]:
        assert self.journal.folder is not None
        return segments_of(self.journal.folder.path)

    async def access(self, **fields: Any) -> Intent:
        given = intent(**fields)
        await self.trail.intend(given)
        self.trail.conclude(outcome(given))
        return given

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Shipping"]:
        async with delivering(self.shipper.run(), self.courier):
            yield self


Ship = Callable[..., Awaitable[Shipping]]


@pytest.fixture
def from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shipped from memory, as where the shipper does not keep up."""
    monkeypatch.setattr("gateway.audit.fresh.Fresh.take", lambda *_: None)


@pytest.fixture(params=["from memory", "from the disk"])
def shipping(request: pytest.FixtureRequest, journals: Ship) -> Ship:
    if request.param == "from the disk":
        request.getfixturevalue("from_disk")
    return journals


@pytest.fixture
async def journals(tmp_path: Path) -> AsyncIterator[Ship]:
    async with AsyncExitStack() as stack:

        async def make(**values: Any) -> Shipping:
            at = Shipping(tmp_path / "journal", **values)
            await at.journal.start()
            stack.push_async_callback(at.journal.close)
            return at

        yield make


async def test_every_record_arrives_once_and_as_it_was(shipping: Ship):
    at = await shipping()
    async with at.running():
        given = [await at.access() for _ in range(30)]
        await until(lambda: not at.journal.used)
    assert list(at.sink.intents) == [str(each.event_id) for each in given]
    assert sum(at.sink.batches) == 60
    first = at.sink.intents[str(given[0].event_id)]
    assert UUID(first["session"]) == given[0].session
    assert first["range"] == given[0].range
    assert (at.journal.used, at.journal.records, at.journal.oldest_s) == (0, 0, 0.0)


async def test_little_is_sent_together_and_much_in_batches(shipping: Ship):
    at = await shipping(batch=100, ship_interval_ms=20)
    for _ in range(5):
        await asyncio.gather(*(at.access() for _ in range(100)))
    assert await at.journal.drain()
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 500)
    assert at.sink.batches == [100] * 10


@pytest.mark.parametrize(("behind_s", "sizes"), [(60.0, [PROMPT, PROMPT, 600 - 2 * PROMPT]), (0.0, [500, 100])])
async def test_a_backlog_is_sent_in_larger_batches_than_what_is_new(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch, behind_s: float, sizes: list[int]
):
    monkeypatch.setattr(portion, "BEHIND_S", behind_s)
    at = await shipping(batch=500)
    await asyncio.gather(*(at.access() for _ in range(300)))
    assert await at.journal.drain()
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 300)
    assert at.sink.batches == [size for size in sizes if size]


async def test_a_backlog_that_takes_long_is_sent_in_ever_larger_batches(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch
):
    """As where each turn of the loop is long: what a shipment waits for is the same for many records as for few."""
    monkeypatch.setattr(portion, "BEHIND_S", 0.0)
    monkeypatch.setattr(portion, "BACKLOG", 20)
    monkeypatch.setattr(portion, "LONG_S", 0.0)
    at = await shipping(batch=150)
    await asyncio.gather(*(at.access() for _ in range(300)))
    assert await at.journal.drain()
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 300)
    assert at.sink.batches == [20, 40, 80, 150, 150, 150, 10]


async def test_files_go_when_all_of_them_arrived(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    for _ in range(40):
        await at.access()
    assert await at.journal.drain()
    before = at.files_left()
    assert len(before) > 5
    async with at.running():
        await until(lambda: at.files_left() == before[-1:])
        await until(lambda: not at.journal.used)
    assert len(at.sink.outcomes) == 40


class SmallDisk(FaultyFiles):
    """Has room for six files."""

    def create(self, path: Path, size: int) -> int:
        if len(segments_of(path.parent)) >= 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path, size)


async def test_a_disk_that_the_journal_filled_is_freed_though_an_event_stays_open(shipping: Ship):
    at = await shipping(files=SmallDisk(), segment_bytes=4096)
    at.sink.away = True
    async with at.running():
        lasting = intent()
        await at.trail.intend(lasting)
        with suppress(Unavailable):
            while True:
                await at.access()
        assert len(at.files_left()) == 6
        at.sink.away = False
        await until(lambda: at.trail.admits)
        await at.access()
        await until(lambda: len(at.files_left()) == 1)
        assert at.trail.open_events == 1
        seen = OpenEvents()
        for kind, payload in at.on_disk():
            seen.see(kind, payload)
        assert str(lasting.event_id) in seen._open


async def test_a_full_disk_does_not_slow_down_what_is_shipped(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    lasting = [intent() for _ in range(40)]
    for each in lasting:
        await at.trail.intend(each)
    for _ in range(100):
        await at.access()
    assert await at.journal.drain()
    at.files.faults["write"] = errno.ENOSPC
    with pytest.raises(Unavailable):
        await at.trail.intend(intent())
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 100, within_s=5)
        assert len(at.journal._writer._kept) + len(at.journal._writer._pending) <= 3
    at.files.faults.clear()


async def test_an_event_that_stays_open_keeps_no_file_and_is_not_forgotten(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    lasting = intent()
    await at.trail.intend(lasting)
    async with at.running():
        for _ in range(10):
            for _ in range(10):
                await at.access()
            await until(lambda: not at.journal.used)
        assert len(at.files_left()) <= 3
        seen = OpenEvents()
        for kind, payload in at.on_disk():
            seen.see(kind, payload)
        assert list(seen._open) == [str(lasting.event_id)]
        at.trail.conclude(outcome(lasting))
        await until(lambda: str(lasting.event_id) in at.sink.outcomes)
    assert len(at.sink.intents) == len(at.sink.outcomes) == 101


async def test_carrying_many_open_events_on_does_not_go_round_in_circles(shipping: Ship):
    """Files here are shorter than what it takes to mention all that is open."""
    at = await shipping(segment_bytes=4096)
    lasting = [intent() for _ in range(300)]
    async with at.running():
        await asyncio.gather(*(at.trail.intend(each) for each in lasting))
        await until(lambda: not at.journal.used)
        entries = at.journal.entries
        for _ in range(30):
            await at.access()
            await until(lambda: not at.journal.used)
        assert at.journal.entries - entries <= 30 * 2 + 3
        seen = OpenEvents()
        for kind, payload in at.on_disk():
            seen.see(kind, payload)
        assert set(seen._open) == {str(each.event_id) for each in lasting}


async def test_a_file_stays_where_what_is_open_in_it_cannot_be_carried_on(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    lasting = intent()
    await at.trail.intend(lasting)
    for _ in range(20):
        await at.access()
    assert await at.journal.drain()
    first = at.files_left()[0]
    at.files.faults["write"] = 28
    async with at.running():
        await until(lambda: at.journal.problem)
        await until(lambda: len(at.sink.outcomes) == 20)
        assert first in at.files_left()
        at.files.faults.clear()
        await until(lambda: not at.journal.problem)
        for _ in range(20):
            await at.access()
        await until(lambda: first not in at.files_left())
        seen = OpenEvents()
        for kind, payload in at.on_disk():
            seen.see(kind, payload)
        assert list(seen._open)[:1] == [str(lasting.event_id)]


async def test_a_sink_that_is_away_gets_everything_when_it_is_back(shipping: Ship):
    at = await shipping(batch=64)
    at.sink.away = True
    async with at.running():
        for _ in range(5):
            await asyncio.gather(*(at.access() for _ in range(50)))
        await until(lambda: at.courier.problem)
        assert at.journal.records == 500
        assert at.journal.oldest_s > 0
        at.sink.away = False
        await until(lambda: len(at.sink.outcomes) == 250)
        await until(lambda: at.courier.problem is None)
    assert sum(at.sink.batches) == 500


async def test_a_batch_that_fails_is_tried_in_halves(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    """A sink may be too slow for so many at once: halves get through where the whole never would."""
    monkeypatch.setattr(portion, "BEHIND_S", 0.0)
    at = await shipping(batch=400)
    write, sizes = at.sink.write, []

    async def slow(intents: list[bytes], outcomes: list[bytes]) -> None:
        sizes.append(len(intents) + len(outcomes))
        if sizes[-1] > 60 or len(sizes) < 10:
            raise Unavailable("cancelled for its length")
        await write(intents, outcomes)

    monkeypatch.setattr(at.sink, "write", slow)
    given = await asyncio.gather(*(at.access() for _ in range(200)))
    assert await at.journal.drain()
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 200)
    assert list(at.sink.intents) == [str(each.event_id) for each in given]
    assert sizes[:10] == [400, 200, 100, *[50] * 7], "which no more of them would get through"
    assert min(sizes) == 50


async def test_an_outage_is_asked_after_at_the_same_pace_however_long_and_told_once(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch
):
    at, tries = await shipping(), []

    async def away(*_: object) -> None:
        tries.append(1)
        raise Unavailable("the sink is away")

    write = at.sink.write
    monkeypatch.setattr(at.sink, "write", away)
    await at.access()
    with capture_logs() as logs:
        async with at.running():
            await until(lambda: len(tries) >= 12)
            monkeypatch.setattr(at.sink, "write", write)
            await until(lambda: at.sink.outcomes)
            await until(lambda: at.courier.problem is None)
    assert [line["event"] for line in logs] == ["audit_sink_away", "audit_sink_back"]


async def test_a_write_that_never_ends_is_cut_in_the_end(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    at, entered, cut = await shipping(), asyncio.Event(), asyncio.Event()

    async def hanging(*_: object) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    monkeypatch.setattr(at.sink, "write", hanging)
    run = asyncio.create_task(at.shipper.run())
    await at.access()
    await entered.wait()
    run.cancel()
    await asyncio.wait([run])
    assert not cut.is_set()
    async with asyncio.timeout(20):
        await at.courier.close(0.05)
    assert cut.is_set()


@pytest.mark.parametrize("poisoned", [(7,), (0, 99), (3, 4, 50)])
async def test_a_record_that_is_refused_is_set_aside_and_holds_up_nothing(shipping: Ship, poisoned: tuple[int, ...]):
    at = await shipping()
    given = [await at.access() for _ in range(100)]
    at.sink.poison = frozenset(str(given[n].event_id) for n in poisoned)
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 100 - len(poisoned))
        await until(lambda: not at.journal.used)
    lines = (at.settings.journal_dir / "quarantine" / "refused.jsonl").read_bytes().splitlines()
    aside = [orjson.loads(line) for line in lines]
    assert {record["record"]["event_id"] for record in aside} == at.sink.poison
    assert len(aside) == at.quarantine.records == 2 * len(poisoned)
    assert {record["reason"] for record in aside} == {"poison"}
    assert len(at.sink.intents) == 100 - len(poisoned)


@pytest.mark.usefixtures("from_disk")
async def test_a_file_that_cannot_be_read_keeps_nobody_busy_at_the_end(journals: Ship, monkeypatch: pytest.MonkeyPatch):
    at, reads = await journals(), []

    def fail(path: Path, *_: object) -> None:
        reads.append(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shipper, "read_batch", fail)
    await at.access()
    async with at.running():
        await until(lambda: reads)
        at.shipper.finish()
        await asyncio.sleep(0.1)  # for what should not happen; it read thousands of times in that
        assert len(reads) == 1


async def test_a_record_of_a_kind_nobody_knows_is_set_aside(shipping: Ship):
    at = await shipping()
    at.journal.append(frame(9, b"later's"))  # what a later version might write
    async with at.running():
        given = await at.access()
        await until(lambda: str(given.event_id) in at.sink.outcomes)
    assert b'"kind":9' in (at.settings.journal_dir / "quarantine" / "refused.jsonl").read_bytes()


@pytest.mark.usefixtures("from_disk")
async def test_bytes_that_went_bad_on_the_disk_are_set_aside_and_the_rest_arrives(journals: Ship):
    at = await journals()
    given = [await at.access() for _ in range(10)]
    assert await at.journal.drain()
    (path,) = at.files_left()
    data = path.read_bytes()
    spot = data.index(str(given[4].event_id).encode())
    with path.open("r+b") as file:
        file.seek(spot)
        file.write(b"#")
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 10)
        await until(lambda: not at.journal.used)
    assert str(given[4].event_id) not in at.sink.intents
    assert len(at.sink.intents) == 9
    assert at.journal.records == 0
    (kept,) = (at.settings.journal_dir / "quarantine").glob("*.damaged")
    assert str(given[4].event_id)[1:].encode() in kept.read_bytes()
    assert at.quarantine.damages == 1


@pytest.mark.usefixtures("from_disk")
async def test_a_file_cut_short_behind_our_back_is_told_and_holds_up_nothing(journals: Ship):
    at = await journals(segment_bytes=4096)
    for _ in range(20):
        await at.access()
    assert await at.journal.drain()
    os.truncate(at.files_left()[0], 100)
    async with at.running():
        await until(lambda: not at.journal.used)
    assert at.quarantine.damages == 2  # the frame that was cut, and what is missing
    assert not list((at.settings.journal_dir / "quarantine").glob("*.torn"))  # no crash did that
    assert 10 < len(at.sink.outcomes) < 20


@pytest.mark.usefixtures("from_disk")
async def test_a_journal_removed_behind_our_back_is_begun_anew(journals: Ship):
    at = await journals()
    await at.access()
    assert await at.journal.drain()
    before, held = at.journal.folder, descriptors()
    shutil.rmtree(at.settings.journal_dir)
    given = intent()
    await at.trail.intend(given)
    await until(lambda: at.journal.folder not in (None, before))
    await until(lambda: at.journal.problem is None)
    later = await at.access()
    assert await at.journal.drain()
    assert descriptors() == held  # neither the old file's nor the old folder's
    at.trail.conclude(outcome(given))
    async with at.running():
        await until(lambda: {str(given.event_id), str(later.event_id)} <= set(at.sink.outcomes))
        await until(lambda: not at.journal.used)
    assert str(given.event_id) in at.sink.intents
    assert at.quarantine.damages == 1


async def test_what_goes_into_a_file_that_was_removed_is_written_again(shipping: Ship):
    at = await shipping()
    await at.access()
    assert await at.journal.drain()
    (path,) = at.files_left()
    path.unlink()
    given = [await at.access() for _ in range(20)]
    events = {str(each.event_id) for each in given}
    await until(lambda: {orjson.loads(record)["event_id"] for _, record in at.on_disk()} >= events)
    assert at.journal.problem is None
    async with at.running():
        await until(lambda: set(at.sink.outcomes) >= events)
        await until(lambda: not at.journal.used)
    assert set(at.sink.intents) >= events


async def test_what_is_written_again_stands_before_what_came_after_it(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    """An outcome before its intent would leave the event open to whoever reads the file after a crash."""
    monkeypatch.setattr(writer, "LOOK_S", 60)
    at = await shipping()
    given = intent()
    await at.trail.intend(given)
    (path,) = at.files_left()
    path.unlink()
    monkeypatch.setattr(writer, "LOOK_S", 0)
    at.trail.conclude(outcome(given))
    assert await at.journal.drain()
    assert [kind for kind, _ in at.on_disk()] == [Kind.INTENT, Kind.OUTCOME]


@pytest.mark.parametrize("then", ["it is full", "a write fails"])
async def test_a_file_removed_between_two_looks_is_written_again_before_it_is_left(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch, then: str
):
    monkeypatch.setattr(writer, "LOOK_S", 60)
    at = await shipping(segment_bytes=4096)
    given = [intent(), intent()]
    for each in given:
        await at.trail.intend(each)  # the second is written after a first look, and a minute before the next
    at.files_left()[0].unlink()
    del given[0]
    if then == "it is full":
        while len(at.journal.segments) < 2:
            given.append(intent())
            await at.trail.intend(given[-1])
    else:
        at.files.faults["write"] = errno.ENOSPC
        given.append(intent())
        with pytest.raises(Unavailable):
            await at.trail.intend(given[-1])
        at.files.faults.clear()
        await until(lambda: at.journal.problem is None)
    written = [orjson.loads(record)["event_id"] for kind, record in at.on_disk() if kind == Kind.INTENT]
    assert written == [str(each.event_id) for each in given]


async def test_a_file_removed_just_before_the_end_is_written_again_as_well(shipping: Ship):
    at = await shipping()
    await at.access()
    assert await at.journal.drain()
    (path,) = at.files_left()
    path.unlink()
    given = await at.access()
    assert await at.journal.drain()
    await at.journal.close()
    assert str(given.event_id) in {orjson.loads(record)["event_id"] for _, record in at.on_disk()}


@pytest.mark.usefixtures("from_disk")
async def test_a_file_that_cannot_be_read_is_tried_again(journals: Ship, monkeypatch: pytest.MonkeyPatch):
    at = await journals()
    monkeypatch.setattr("gateway.audit.shipper.PAUSE_S", 0.01)
    await at.access()
    assert await at.journal.drain()
    (path,) = at.files_left()
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    with capture_logs() as logs:
        async with at.running():
            await until(lambda: at.shipper.problem)
            path.rmdir()
            path.with_suffix(".away").rename(path)
            await until(lambda: at.sink.outcomes)
            assert at.shipper.problem is None
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert "Is a directory" in told["problem"]
    assert not told.get("exc_info"), "a disk's trouble is told without a traceback"


async def test_finishing_ships_what_is_left_at_once(shipping: Ship):
    at = await shipping(ship_interval_ms=60_000)
    run = asyncio.create_task(at.shipper.run())
    await at.access()
    await until(lambda: at.sink.intents)  # and now it rests for a minute
    for _ in range(10):
        await at.access()
    assert await at.journal.drain()
    assert len(at.sink.batches) == 1
    at.shipper.finish()
    async with asyncio.timeout(20):
        await run
    assert len(at.sink.outcomes) == 11


async def test_finishing_with_nothing_left_ends_at_once(shipping: Ship):
    at = await shipping()
    at.journal.grown.set()
    run = asyncio.create_task(at.shipper.run())
    await until(lambda: not at.journal.grown.is_set())  # it has looked, and waits for more
    at.shipper.finish()
    async with asyncio.timeout(20):
        await run


async def test_between_full_batches_there_is_no_rest(shipping: Ship):
    at = await shipping(ship_interval_ms=60_000, batch=10)
    for _ in range(15):
        await at.access()
    assert await at.journal.drain()
    async with at.running():
        await until(lambda: len(at.sink.outcomes) == 15)
    assert at.sink.batches == [10, 10, 10]


async def test_what_comes_while_files_are_tidied_away_is_shipped_as_well(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch
):
    at, late = await shipping(), list[Intent]()
    tidy = at.shipper._tidy

    async def busy() -> None:
        if not late:
            late.append(await at.access())
            assert await at.journal.drain()
        await tidy()

    monkeypatch.setattr(at.shipper, "_tidy", busy)
    async with at.running():
        await until(lambda: late and str(late[0].event_id) in at.sink.outcomes)


async def test_a_write_under_way_is_not_cut_by_ending(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    at = await shipping()
    write, entered, leave = at.sink.write, asyncio.Event(), asyncio.Event()

    async def slow(intents: list[bytes], outcomes: list[bytes]) -> None:
        entered.set()
        await leave.wait()
        await write(intents, outcomes)

    monkeypatch.setattr(at.sink, "write", slow)
    run = asyncio.create_task(at.shipper.run())
    await at.access()
    await entered.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    asyncio.get_running_loop().call_later(0.02, leave.set)
    await at.courier.close(5)
    assert at.sink.intents
    assert at.journal.records  # nobody confirmed it: it is delivered again, by whoever comes


async def test_only_intents_and_outcomes_are_delivered(shipping: Ship):
    at = await shipping()
    at.journal.append(frame(Kind.OPEN, b"[]"), 0)
    async with at.running():
        await at.access()
        await until(lambda: at.sink.outcomes)
    assert sum(at.sink.batches) == 2
    assert at.quarantine.records == 0


async def test_files_go_as_they_are_delivered_though_more_is_waiting(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    at = await shipping(segment_bytes=4096, batch=10)
    write, leave = at.sink.write, asyncio.Event()

    async def halting(intents: list[bytes], outcomes: list[bytes]) -> None:
        if len(at.sink.batches) == 5:
            await leave.wait()
        await write(intents, outcomes)

    monkeypatch.setattr(at.sink, "write", halting)
    for _ in range(40):
        await at.access()
    assert await at.journal.drain()
    first = at.files_left()[0]
    async with at.running():
        await until(lambda: not first.exists())
        leave.set()
        await until(lambda: len(at.sink.outcomes) == 40)


async def test_what_is_open_in_any_of_several_files_is_mentioned_anew_before_they_go(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch
):
    at = await shipping(segment_bytes=4096)
    given = await begun_until(at, 4)
    files = [segment.path for segment in at.journal.segments]
    monkeypatch.setattr("gateway.audit.shipper.PAUSE_S", 0.01)
    monkeypatch.setattr("gateway.audit.shipper.CARRY_SHARE", 10**6)
    async with at.running():
        await until(lambda: len(at.shipper._done) == 3)
        monkeypatch.setattr("gateway.audit.shipper.CARRY_SHARE", 0)
        await until(lambda: not any(file.exists() for file in files[:3]))
    seen = OpenEvents()
    for kind, payload in at.on_disk():
        seen.see(kind, payload)
    assert set(seen._open) == {str(each.event_id) for each in given}


async def test_a_file_stays_until_the_outcome_of_what_was_begun_in_it_is_durable(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    lasting = await begun_in_the_first_of_several_files(at)
    first = at.files_left()[0]
    async with at.running():
        at.trail.conclude(outcome(lasting))  # it waits for company in memory for a while
        await until(lambda: not first.exists())
        assert is_on_disk(at, lasting)


@pytest.mark.parametrize("error", [None, errno.EIO, errno.ENOSPC], ids=["slow", "failing", "full"])
async def test_on_a_disk_that_takes_nothing_it_stays_as_long_unless_room_is_wanted(
    shipping: Ship, monkeypatch: pytest.MonkeyPatch, error: int | None
):
    monkeypatch.setattr("gateway.audit.shipper.PAUSE_S", 0.01)
    at = await shipping(segment_bytes=4096)
    lasting = await begun_in_the_first_of_several_files(at)
    first = at.files_left()[0]
    if error is None:
        at.files.gate.clear()
    else:
        at.files.faults["write"] = error
    at.trail.conclude(outcome(lasting))
    async with at.running():
        await until(lambda: len(at.sink.intents) == 21)
        if error is not None:
            await until(lambda: at.journal.problem)
        if error == errno.ENOSPC:
            await until(lambda: not first.exists())
        else:
            await asyncio.sleep(0.3)  # that something does not happen has no event: thirty looks are made meanwhile
            assert is_on_disk(at, lasting)
        at.files.faults.clear()
        at.files.gate.set()
        await until(lambda: str(lasting.event_id) in at.sink.outcomes)
        await until(lambda: not first.exists())


async def test_for_want_of_room_the_oldest_file_goes_alone(shipping: Ship, monkeypatch: pytest.MonkeyPatch):
    gone: list[list[Path]] = []
    monkeypatch.setattr("gateway.audit.shipper.PAUSE_S", 0.01)
    monkeypatch.setattr("gateway.audit.shipper._delete", lambda done: gone.append([segment.path for segment in done]))
    at = await shipping(segment_bytes=4096)
    given = await begun_until(at, 4)
    files = [segment.path for segment in at.journal.segments]
    at.files.faults["write"] = errno.ENOSPC
    for each in given:
        at.trail.conclude(outcome(each))
    async with at.running():
        await until(lambda: len(at.sink.intents) == len(given))
        await until(lambda: sum(map(len, gone)) == 3)
        at.files.faults.clear()
        await until(lambda: len(at.sink.outcomes) == len(given))
    assert [each for each in gone if each][:3] == [[file] for file in files[:3]]


async def test_a_file_is_needed_by_the_event_begun_last_in_it_and_the_next_file_is_not(shipping: Ship):
    at = await shipping(segment_bytes=4096)
    given = await begun_until(at, 2)
    first, second = at.journal.segments
    last = given[-2]
    for each in given:
        if each is not last:
            at.trail.conclude(outcome(each))
    await at.trail.settled()
    assert (at.trail.needs(first, 0), at.trail.needs(second, first.last_entry)) == (True, False)
    at.files.gate.clear()
    at.trail.conclude(outcome(last))
    assert (at.trail.awaits(first, 0), at.trail.awaits(second, first.last_entry)) == (True, False)
    at.files.gate.set()
    await at.trail.settled()
    assert not at.trail.awaits(first, 0)


async def begun_until(at: Ship, files: int) -> list[Intent]:
    """Events that nothing has ended, as many as it takes for the journal to have ``files``."""
    given: list[Intent] = []
    while len(at.journal.segments) < files:
        given.append(intent())
        await at.trail.intend(given[-1])
    return given


async def begun_in_the_first_of_several_files(at: Shipping) -> Intent:
    lasting = intent()
    await at.trail.intend(lasting)
    for _ in range(20):
        await at.access()
    assert await at.journal.drain()
    assert len(at.files_left()) > 1
    return lasting


def is_on_disk(at: Shipping, event: Intent) -> bool:
    """Whether the next process would know of it."""
    return any(str(event.event_id).encode() in file.read_bytes() for file in at.files_left())
