"""What is acknowledged is on the disk; what the disk does to the journal; what the journal does when it cannot write."""

import asyncio
import errno
import gc
import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from parts.audit import House, Make, intent, outcome, until
from structlog.testing import capture_logs

from gateway.audit import writer
from gateway.audit.folders import Folder
from gateway.audit.frames import Kind, Record
from gateway.audit.journal import ALONE
from gateway.audit.segments import segments_of
from gateway.audit.trail import OPEN_AT_ONCE
from gateway.errors import Unavailable
from gateway.event import Intent, Result

FAULTS = [
    (errno.ENOSPC, "write"),
    (errno.ENOSPC, "create"),
    (errno.EDQUOT, "write"),
    (errno.EROFS, "create"),
    (errno.EIO, "write"),
    (errno.EIO, "sync"),
    (errno.EFBIG, "write"),
]


def ids(records: list[Record], kind: Kind) -> Counter[str]:
    return Counter(orjson.loads(payload)["event_id"] for found, payload in records if found == kind)


def results(records: list[Record]) -> dict[str, tuple[str, str | None]]:
    outcomes = [orjson.loads(payload) for kind, payload in records if kind == Kind.OUTCOME]
    return {record["event_id"]: (record["result"], record["reason"]) for record in outcomes}


async def fill(at: House) -> tuple[list[Intent], Unavailable]:
    """Intents until one is refused."""
    admitted: list[Intent] = []
    while True:
        given = intent()
        try:
            await at.trail.intend(given)
        except Unavailable as refusal:
            return admitted, refusal
        admitted.append(given)


async def refused(at: House, given: Intent) -> bool:
    try:
        await at.trail.record(given, outcome(given))
    except Unavailable:
        return True
    return False


async def test_what_is_acknowledged_can_be_read_by_another_process(house: Make):
    at = await house()
    for _ in range(3):
        given = intent()
        await at.trail.intend(given)
        assert ids(at.on_disk(), Kind.INTENT)[str(given.event_id)] == 1


async def test_a_whole_record_is_one_acknowledgement(house: Make):
    at = await house()
    given = intent()
    await at.trail.record(given, outcome(given))
    assert [kind for kind, _ in at.on_disk()] == [Kind.INTENT, Kind.OUTCOME]
    assert (at.trail.open_events, at.journal.records) == (0, 2)


async def test_who_waits_at_once_shares_a_sync(house: Make):
    at = await house()
    at.files.gate.clear()
    first = asyncio.ensure_future(at.trail.intend(intent()))
    await until(lambda: at.files.writes == 1)
    rest = [asyncio.ensure_future(at.trail.intend(intent())) for _ in range(500)]
    await asyncio.sleep(0)
    syncs = at.files.syncs
    at.files.gate.set()
    await asyncio.gather(first, *rest)
    assert (at.files.writes, at.files.syncs - syncs) == (2, 2)


async def test_who_waited_alone_for_long_is_written_before_the_loop_turns_until_there_is_company(
    house: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer, "LOOK_S", 60)
    at = await house()
    for _ in range(ALONE):
        await at.trail.intend(intent())
    at.files.begun.clear()
    at.files.gate.clear()
    first = at.trail.intend(intent())
    assert at.files.begun.wait(10)
    company = [at.trail.intend(intent()) for _ in range(2)]
    at.files.gate.set()
    for each in (first, *company):
        await each
    assert at.files.writes == ALONE + 2
    at.files.begun.clear()
    last = at.trail.intend(intent())
    assert not at.files.begun.wait(0.05)
    await last


async def test_gathering_waits_for_company(house: Make):
    at = await house(gather_ms=100)
    await asyncio.gather(*(at.trail.intend(intent()) for _ in range(20)))
    assert at.files.syncs == 1


async def test_each_outcome_reaches_the_disk_though_nobody_waits(house: Make):
    at = await house()
    given = [intent(), intent()]
    for each in given:
        await at.trail.intend(each)
    for count, each in enumerate(given, 1):
        at.trail.conclude(outcome(each))
        await until(lambda: len(at.on_disk()) == len(given) + count)  # noqa: B023  asked at once
    assert results(at.on_disk()) == {str(each.event_id): ("complete", None) for each in given}


async def test_who_waits_for_what_was_concluded_is_told_when_the_disk_has_it_and_when_it_has_not(house: Make):
    at = await house()
    given = [intent() for _ in range(3)]
    await asyncio.gather(*(at.trail.intend(each) for each in given))
    for each in given[:2]:
        at.trail.conclude(outcome(each))
    await at.trail.settled()
    assert len(results(at.on_disk())) == 2
    at.files.faults["write"] = errno.ENOSPC
    at.trail.conclude(outcome(given[2]))
    with pytest.raises(Unavailable):
        await at.trail.settled()
    at.files.faults.clear()
    await until(lambda: at.journal.problem is None)
    await at.trail.settled()
    assert len(results(at.on_disk())) == 3


async def test_files_are_filled_in_turn_and_read_in_order(house: Make):
    at = await house(segment_bytes=4096)
    given = [intent() for _ in range(40)]
    for each in given:
        await at.trail.intend(each)
    folder = at.journal.folder
    assert folder is not None
    paths = segments_of(folder.path)
    assert len(paths) > 5
    assert all(path.stat().st_size <= 4096 for path in paths)
    filled = [segment.end for segment in at.journal.segments if segment.sealed]
    assert [path.stat().st_size for path in paths[:-1]] == filled  # what was reserved and not used is given back
    assert list(ids(at.on_disk(), Kind.INTENT)) == [str(each.event_id) for each in given]


@pytest.mark.parametrize(("error", "call"), FAULTS)
async def test_a_failing_disk_refuses_and_the_journal_recovers_by_itself(house: Make, error: int, call: str):
    at = await house()
    if call != "create":
        await at.trail.intend(intent())
    at.files.faults[call] = error
    refused = [intent() for _ in range(20)]
    answers = await asyncio.gather(*(at.trail.intend(each) for each in refused), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) and answer.retry_after for answer in answers)
    assert os.strerror(error) in str(answers[0])
    assert at.journal.problem is not None
    assert at.journal.full is (error in {errno.ENOSPC, errno.EDQUOT})
    with pytest.raises(Unavailable):  # at once: nothing more is queued while nothing can be written
        await asyncio.wait_for(at.trail.intend(intent()), 0.001)
    assert not at.trail.admits_unproven
    at.files.faults.clear()
    await until(lambda: at.journal.problem is None)
    assert not at.journal.full
    after = intent()
    await at.trail.intend(after)
    records = at.on_disk()
    assert ids(records, Kind.INTENT)[str(after.event_id)] == 1
    closed = results(records)
    assert closed == {
        str(each.event_id): ("refused", "journal_failed") for each in refused if str(each.event_id) in closed
    }
    assert len(closed) >= 1
    assert at.trail.open_events == (2 if call != "create" else 1)


@pytest.mark.parametrize("truncates", [True, False])
async def test_a_write_that_stops_half_way_is_never_misread(house: Make, *, truncates: bool):
    at = await house()
    kept = intent()
    await at.trail.intend(kept)
    at.files.half = True
    at.files.faults["write"] = errno.ENOSPC
    if not truncates:
        at.files.faults["truncate"] = errno.EIO
    given = [intent() for _ in range(7)]
    answers = await asyncio.gather(*(at.trail.intend(each) for each in given), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    before = set(ids(at.on_disk(), Kind.INTENT))
    assert before == {str(kept.event_id)} or (not truncates and len(before) > 1)
    at.files.faults.clear()
    await until(lambda: len(results(at.on_disk())) == 7)
    assert set(ids(at.on_disk(), Kind.INTENT)) == {str(each.event_id) for each in [kept, *given]}


async def test_after_a_failed_sync_its_file_is_never_written_again(house: Make):
    """What a failed sync left unwritten, a later one may call written: so all of it goes into another file."""
    at = await house()
    await at.trail.intend(intent())
    folder = at.journal.folder
    assert folder is not None
    (first,) = segments_of(folder.path)
    end = at.journal.segments[0].end
    at.files.faults["sync"] = errno.EIO
    lost = intent()
    with pytest.raises(Unavailable):
        await at.trail.intend(lost)
    at.files.faults.clear()
    await until(lambda: at.journal.problem is None)
    await at.trail.intend(intent())
    assert first.stat().st_size == end == at.journal.segments[0].end
    assert at.journal.segments[0].sealed
    assert len(at.journal.segments) == 2
    assert ids(at.on_disk(), Kind.INTENT)[str(lost.event_id)] == 1


async def test_outcomes_are_taken_while_nothing_can_be_written_and_none_is_lost(house: Make):
    at = await house()
    given = [intent() for _ in range(50)]
    await asyncio.gather(*(at.trail.intend(each) for each in given))
    at.files.faults["write"] = errno.ENOSPC
    for each in given:
        at.trail.conclude(outcome(each))
    await until(lambda: at.journal.problem)
    at.files.faults.clear()
    await until(lambda: len(results(at.on_disk())) == 50)
    assert at.trail.open_events == 0


async def test_what_could_not_be_written_stands_before_what_came_after_it(house: Make):
    """An outcome before its intent would leave the event open to whoever reads the file after a crash."""
    at = await house()
    at.files.faults["write"] = errno.ENOSPC
    given = intent()
    at.trail.intend(given)
    await until(lambda: at.journal.problem)
    at.trail.conclude(outcome(given))
    at.files.faults.clear()
    assert await at.journal.drain()
    assert [kind for kind, _ in at.on_disk()] == [Kind.INTENT, Kind.OUTCOME]


async def test_a_disk_that_fails_is_tried_less_and_less_often_but_never_seldom_and_once_recovered_as_at_first(
    house: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    monkeypatch.setattr(writer, "RETRY_MAX_S", 0.04)
    at, delays = await house(), []

    def fail(_call: str) -> None:
        delays.append(at.journal._writer._delay)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(at.files, "_fail", fail)
        at.trail.intend(intent())
        await until(lambda: len(delays) >= 7)
    assert sorted({*delays}) == [0.01, 0.02, 0.04]
    assert await at.journal.drain()
    await until(lambda: at.journal._writer._delay == 0.01)


async def test_a_disk_that_hangs_refuses_after_the_commit_time(house: Make):
    at = await house()
    at.files.gate.clear()
    late = intent()
    at.journal._patience_s = 0.1
    with pytest.raises(Unavailable, match=r"longer than 0\.1 s"):
        await at.trail.intend(late)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(at.trail.intend(intent()), 0.001)
    assert not await at.journal.drain()
    at.journal._patience_s = 20  # real disks are slower than that now and then
    at.files.gate.set()
    await until(lambda: at.journal.problem is None)
    await until(lambda: results(at.on_disk()))
    assert results(at.on_disk()) == {str(late.event_id): ("refused", "journal_timeout")}
    (told,) = [orjson.loads(payload) for kind, payload in at.on_disk() if kind == Kind.OUTCOME]
    assert (told["status"], told["bytes_sent"]) == (503, 0)
    await at.trail.intend(intent())


async def test_a_disk_that_begins_to_hang_late_is_noticed_as_well(house: Make):
    at = await house()
    at.journal._patience_s = 0.1
    await at.trail.intend(intent())
    await until(lambda: at.journal._watch is None)  # nobody waits, and nobody is looked after
    at.files.gate.clear()
    with pytest.raises(Unavailable, match="longer than"):
        await at.trail.intend(intent())


async def test_what_was_recorded_whole_and_refused_is_not_said_to_be_complete(house: Make):
    at = await house()
    at.files.faults["write"] = errno.ENOSPC
    given = intent()
    with pytest.raises(Unavailable):
        await at.trail.record(given, outcome(given))
    at.files.faults.clear()
    await until(at.on_disk)
    assert results(at.on_disk()) == {str(given.event_id): (Result.REFUSED, "journal_failed")}
    await until(lambda: at.journal.used == sum(segment.end for segment in at.journal.segments))


async def test_a_caller_who_leaves_early_is_on_record_all_the_same(house: Make):
    at = await house()
    at.files.gate.clear()
    given = intent()
    leaving = asyncio.ensure_future(at.trail.intend(given))
    await until(lambda: at.files.writes)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    at.trail.conclude(outcome(given, result=Result.CLIENT_GONE, bytes_sent=0))
    at.files.gate.set()
    await until(lambda: results(at.on_disk()))
    assert ids(at.on_disk(), Kind.INTENT) == {str(given.event_id): 1}
    assert results(at.on_disk()) == {str(given.event_id): ("client_gone", None)}


async def test_leaving_at_any_moment_hurts_nobody_else(house: Make):
    at = await house()

    async def walk(number: int) -> str:
        given = intent()
        work = asyncio.ensure_future(at.trail.intend(given))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        if number % 3:
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        at.trail.conclude(outcome(given))
        return str(given.event_id)

    walked = await asyncio.gather(*(walk(number) for number in range(300)))
    assert await at.journal.drain()
    assert at.trail.open_events == 0
    assert set(results(at.on_disk())) == set(ids(at.on_disk(), Kind.INTENT)) == set(walked)


async def test_what_nobody_awaits_is_begun_all_the_same_and_open_until_it_is_concluded(house: Make):
    at = await house()
    given = intent()
    at.trail.intend(given)
    assert at.trail.open_events == 1
    await until(at.on_disk)
    assert ids(at.on_disk(), Kind.INTENT) == {str(given.event_id): 1}
    at.trail.conclude(outcome(given))
    assert await at.journal.drain()
    assert results(at.on_disk()) == {str(given.event_id): ("complete", None)}


async def test_what_fails_while_nobody_awaits_it_is_left_to_be_concluded_and_troubles_nobody(
    house: Make, untold: list[Any]
):
    at = await house()
    at.files.faults["write"] = errno.ENOSPC
    given = intent()
    at.trail.intend(given)
    await until(lambda: at.journal.problem)
    at.trail.conclude(outcome(given, result=Result.CLIENT_GONE, bytes_sent=0))
    at.files.faults.clear()
    assert await at.journal.drain()
    assert results(at.on_disk()) == {str(given.event_id): ("client_gone", None)}
    gc.collect()
    assert not untold


async def test_what_is_refused_at_once_leaves_nothing_open(house: Make):
    at = await house(journal_bytes=1000, segment_bytes=4096)
    with pytest.raises(Unavailable):
        at.trail.intend(intent())
    assert at.trail.open_events == 0
    assert at.journal.used == 0


async def test_a_second_outcome_is_passed_over(house: Make):
    at = await house()
    given = intent()
    await at.trail.intend(given)
    at.trail.conclude(outcome(given))
    at.trail.conclude(outcome(given, result=Result.ORIGIN_FAILED))
    at.trail.conclude(outcome(intent()))
    assert await at.journal.drain()
    assert results(at.on_disk()) == {str(given.event_id): ("complete", None)}


async def test_over_its_bound_the_journal_refuses_intents_and_still_takes_outcomes(house: Make):
    at = await house(journal_bytes=50_000, segment_bytes=4096)
    admitted, refusal = await fill(at)
    assert "journal_bytes" in str(refusal)
    assert refusal.retry_after
    assert len(admitted) > 20
    whole = [
        await refused(at, given) for given in (intent(), intent(), intent())
    ]  # smaller than an intent and its reserve
    assert whole[-1]
    for each in admitted:
        at.trail.conclude(outcome(each))
    assert await at.journal.drain()
    assert at.journal.used <= 50_000
    assert len(results(at.on_disk())) == len(admitted) + whole.count(False)


async def test_room_that_was_shipped_is_room_again(house: Make):
    at = await house(journal_bytes=10_000, segment_bytes=4096)
    await fill(at)
    at.journal.confirm(4000, 4)
    await at.trail.intend(intent())


async def test_it_is_as_old_as_the_oldest_that_was_not_shipped(house: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.audit.journal.AGE_STEP_S", 0.0)
    at = await house()
    ends = []
    for _ in range(3):
        await at.trail.intend(intent())
        later = at.journal.oldest_s + 0.05
        await until(lambda: at.journal.oldest_s > later)  # noqa: B023  asked at once
        ends.append(at.journal.segments[0].end)
    for first, last in ((0, ends[0]), (ends[0], ends[1])):
        oldest = at.journal.oldest_s
        at.journal.confirm(last - first, 1)
        assert oldest - 1 < at.journal.oldest_s <= oldest - 0.04
    at.journal.confirm(ends[2] - ends[1], 1)
    assert at.journal.oldest_s == 0.0


async def test_records_that_were_shipped_twice_leave_no_fewer_than_none(house: Make):
    at = await house()
    await at.trail.intend(intent())
    at.journal.confirm(at.journal.used - 1, 2)
    assert at.journal.records == 0


async def test_half_full_it_asks_to_be_spared_the_denials_of_strangers(house: Make):
    at = await house(journal_bytes=40_000, segment_bytes=4096)
    assert at.trail.admits_unproven
    while at.journal.used + at.trail.open_events * 512 < 20_000:
        assert at.trail.admits_unproven
        await at.trail.intend(intent())
    assert not at.trail.admits_unproven


async def test_what_dead_processes_left_counts_against_the_bound(house: Make):
    at = await house(journal_bytes=40_000, segment_bytes=4096)
    at.trail.inherited = 39_900
    assert not at.trail.admits
    with pytest.raises(Unavailable):
        await at.trail.intend(intent())


async def test_of_what_has_ended_only_what_is_not_durable_is_remembered(house: Make):
    at = await house()
    for _ in range(3):
        given = intent()
        await at.trail.intend(given)
        at.trail.conclude(outcome(given))
        assert len(at.trail._ended) == 1
        assert await at.journal.drain()
    (segment,) = at.journal.segments
    assert not at.trail.awaits(segment, 0)


async def test_more_open_events_than_fit_a_frame_are_mentioned_anew_all_of_them(house: Make):
    at = await house(segment_bytes=4096)
    given = [intent() for _ in range(2 * OPEN_AT_ONCE)]
    await asyncio.gather(*(at.trail.intend(each) for each in given))
    await at.trail.intend(intent())
    first, second = at.journal.segments
    carrying = asyncio.ensure_future(at.trail.carry(first))
    await asyncio.sleep(0)  # its turn: it has listed what is open, and waits for the disk
    meanwhile = intent()
    await asyncio.gather(carrying, at.trail.intend(meanwhile))
    carried = [event for kind, payload in at.on_disk() if kind == Kind.OPEN for event, _ in orjson.loads(payload)]
    assert carried == [str(each.event_id) for each in given]
    assert (at.trail.carry_size(first), at.trail.needs(second, first.last_entry)) == (0, True)
    assert at.journal.records == len(given) + 2  # a mention is no record
    told = at.trail._open
    assert told[given[0].event_id.int].entry < told[meanwhile.event_id.int].entry


async def test_closing_writes_what_waits_and_gives_back_the_room(house: Make):
    at = await house()
    given = intent()
    await at.trail.intend(given)
    at.trail.close()
    with pytest.raises(Unavailable, match="closed"):
        await at.trail.intend(intent())
    with capture_logs() as logs:
        await at.journal.close()
    assert logs == []
    assert results(at.on_disk()) == {str(given.event_id): ("interrupted", "process_ended")}
    folder = at.journal.folder
    assert folder is not None
    assert [path.stat().st_size for path in segments_of(folder.path)] == [at.journal.used]


async def test_whoever_waits_when_it_closes_on_a_disk_that_hangs_is_told(house: Make):
    at = await house()
    at.journal._patience_s = 0.2
    at.files.gate.clear()
    waiting = asyncio.ensure_future(at.trail.intend(intent()))
    await until(lambda: at.files.writes)
    await at.journal.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_it_recovers_where_the_folder_took_longer_to_make_than_anybody_waited(
    house: Make, monkeypatch: pytest.MonkeyPatch
):
    gate, create = threading.Event(), Folder.create
    monkeypatch.setattr(Folder, "create", lambda root: gate.wait(30) and create(root))
    at = await house(commit_s=0.1)
    assert at.journal.problem is not None
    assert not at.trail.admits
    gate.set()
    at.journal._patience_s = 20  # the disk's turn
    await until(lambda: at.trail.admits)
    await at.trail.intend(intent())


async def test_a_file_that_could_not_be_made_nor_removed_stands_in_nobodys_way(
    house: Make, monkeypatch: pytest.MonkeyPatch
):
    at = await house()
    unlink, fallocate = Path.unlink, os.posix_fallocate

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", fail)
    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(Unavailable):
        await at.trail.intend(intent())
    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    await until(lambda: at.trail.admits)
    await at.trail.intend(intent())


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
async def test_a_folder_that_cannot_be_looked_at_for_a_while_is_gone_on_with(
    house: Make, monkeypatch: pytest.MonkeyPatch, error: int
):
    """Left behind, it would be taken for a dead process's, and what is open in it be ended."""
    at = await house()
    folder, look = at.journal.folder, os.stat

    def barred(path: Any, **rest: Any) -> os.stat_result:
        if folder is not None and path == folder.path:
            raise OSError(error, os.strerror(error))
        return look(path, **rest)

    at.files.faults["create"] = error
    with monkeypatch.context() as failing:
        failing.setattr(os, "stat", barred)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await at.trail.intend(intent())
    assert os.strerror(error) in str(at.journal.problem)
    at.files.faults.clear()
    await until(lambda: at.trail.admits)
    await at.trail.intend(intent())
    assert at.journal.folder is folder


async def test_what_a_hanging_disk_has_under_way_and_before_it_when_it_closes_is_told_as_lost(house: Make):
    at = await house()
    given = [intent(), intent()]
    for each in given:
        await at.trail.intend(each)
    at.journal._patience_s = 0.2
    at.files.gate.clear()
    at.files.begun.clear()
    at.trail.conclude(outcome(given[0]))
    await until(at.files.begun.is_set)
    at.trail.conclude(outcome(given[1]))
    with capture_logs() as logs:
        await at.journal.close()
    at.files.gate.set()
    assert [(line["event"], line["entries"]) for line in logs] == [("audit_entries_lost", 2)]


async def test_what_a_failing_disk_never_took_is_told_as_lost_when_it_closes(house: Make):
    at = await house()
    at.files.faults["write"] = errno.EIO
    for _ in range(3):
        at.trail.intend(intent())
    await until(lambda: at.journal.problem)
    with capture_logs() as logs:
        await at.journal.close()
    assert [(line["event"], line["entries"]) for line in logs] == [("audit_entries_lost", 3)]


async def test_it_starts_where_there_is_no_folder_and_none_can_be_made(house: Make, tmp_path: Path):
    (tmp_path / "journal").write_text("in the way")
    with capture_logs() as logs:
        at = await house()
    (told,) = (line for line in logs if line["event"] == "audit_journal_unwritable")
    assert told["fix"].startswith("see audit.journal_dir: ")
    assert at.journal.folder is None
    assert "journal" in (at.journal.problem or "")
    with pytest.raises(Unavailable):
        await at.trail.intend(intent())
    (tmp_path / "journal").unlink()
    await until(lambda: at.journal.folder)
    await until(lambda: at.journal.problem is None)
    await at.trail.intend(intent())
