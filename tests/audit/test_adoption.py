"""Journals whose process is gone."""

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from parts.audit import House, Make, MemorySink, delivering, intent, outcome, settings, until
from parts.pouring import descriptors
from structlog.testing import capture_logs

from gateway.audit import adopt
from gateway.audit.adopt import Adopter
from gateway.audit.courier import Courier
from gateway.audit.events import intent_frame, open_frame, outcome_frame
from gateway.audit.folders import Folder, folders_of
from gateway.audit.frames import Kind, frame
from gateway.audit.quarantine import Quarantine
from gateway.audit.segments import numbered
from gateway.event import Intent

HOLD = """
import sys
from pathlib import Path
from gateway.audit.folders import Folder
folder = Folder.create(Path(sys.argv[1]))
print(folder.path, flush=True)
sys.stdin.read()
"""


def left_behind(root: Path, *segments: bytes) -> Path:
    """The folder of a process that is gone."""
    folder = Folder.create(root)
    for number, data in enumerate(segments):
        numbered(folder.path, number).write_bytes(data)
    folder.release()
    return folder.path


class Adopting:
    def __init__(self, root: Path, sink: MemorySink, batch: int = 50) -> None:
        self.root = root
        self.sink = sink
        self.held = [0]
        self.quarantine = Quarantine(root)
        self.courier = Courier(sink, self.quarantine, retry_max_s=0.02)
        self.adopter = Adopter(self.courier, self.quarantine, settings(root, batch=batch), self.held.append)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Adopting"]:
        async with delivering(self.adopter.run(), self.courier):
            yield self


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def closed(sink: MemorySink) -> dict[str, str]:
    return {event: record["result"] for event, record in sink.outcomes.items()}


async def test_all_that_was_journalled_arrives_and_what_was_open_is_interrupted(root: Path):
    given = [intent() for _ in range(200)]
    done = given[::3]
    first = b"".join(intent_frame(each) for each in given[:150])
    second = b"".join(intent_frame(each) for each in given[150:]) + b"".join(outcome_frame(outcome(d)) for d in done)
    left_behind(root, first, second + bytes(10_000))
    at = Adopting(root, MemorySink())
    async with at.running():
        await until(lambda: not folders_of(root))
    assert set(at.sink.intents) == {str(each.event_id) for each in given}
    ended = {str(each.event_id) for each in done}
    assert closed(at.sink) == {
        str(each.event_id): "complete" if str(each.event_id) in ended else "interrupted" for each in given
    }
    assert (max(at.held) > 0, at.held[-1]) == (True, 0)
    assert not (root / "quarantine").exists()


async def test_what_was_carried_on_from_a_file_that_is_gone_is_interrupted_too(root: Path):
    lasting, ended = intent(), intent()
    carried = open_frame([(each.event_id, each.occurred_at) for each in (lasting, ended)])
    left_behind(root, carried + outcome_frame(outcome(ended)))
    at = Adopting(root, MemorySink())
    async with at.running():
        await until(lambda: not folders_of(root))
    assert closed(at.sink) == {str(lasting.event_id): "interrupted", str(ended.event_id): "complete"}
    assert not (root / "quarantine").exists()


async def test_an_outcome_that_arrived_before_is_not_overwritten(root: Path):
    """The file with the outcome was delivered and deleted, the one with the intent was not, when the process died."""
    given = intent()
    sink = MemorySink(outcomes={str(given.event_id): {"result": "complete"}})
    left_behind(root, intent_frame(given))
    async with Adopting(root, sink).running():
        await until(lambda: not folders_of(root))
    assert closed(sink) == {str(given.event_id): "complete"}


@pytest.mark.parametrize("cut", [1, 11, 12, 13, 100])
async def test_a_torn_tail_is_set_aside_and_the_rest_arrives(root: Path, cut: int):
    whole, torn = intent(), intent()
    left_behind(root, intent_frame(whole) + intent_frame(torn)[:cut] + bytes(4096))
    at = Adopting(root, MemorySink())
    async with at.running():
        await until(lambda: not folders_of(root))
    assert list(at.sink.intents) == [str(whole.event_id)]
    (kept,) = (root / "quarantine").iterdir()
    assert kept.suffix == ".torn"
    assert kept.read_bytes()[:cut] == intent_frame(torn)[:cut]


async def test_a_damaged_frame_is_set_aside_and_the_rest_arrives(root: Path):
    given = [intent() for _ in range(3)]
    frames = [bytearray(intent_frame(each)) for each in given]
    frames[1][40] ^= 1
    left_behind(root, b"".join(frames))
    at = Adopting(root, MemorySink())
    async with at.running():
        await until(lambda: not folders_of(root))
    assert list(at.sink.intents) == [str(given[0].event_id), str(given[2].event_id)]
    (kept,) = (root / "quarantine").glob("*.damaged")
    assert kept.read_bytes() == frames[1]


async def test_damage_longer_than_a_reading_is_set_aside_as_one(root: Path):
    first, last = intent(), intent()
    damage = b"\xffJ\x01" + os.urandom(2_000_000)
    left_behind(root, intent_frame(first) + damage + intent_frame(last))
    at = Adopting(root, MemorySink())
    async with at.running():
        await until(lambda: not folders_of(root))
    assert list(at.sink.intents) == [str(first.event_id), str(last.event_id)]
    (kept,) = (root / "quarantine").glob("*.damaged")
    assert kept.read_bytes() == damage


async def test_a_living_process_keeps_its_folder_and_a_dead_one_does_not(root: Path):
    alive, dead = (
        subprocess.Popen([sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    try:
        paths = [Path(process.stdout.readline().strip()) for process in (alive, dead)]
        for path in paths:
            numbered(path, 0).write_bytes(intent_frame(intent()))
        at = Adopting(root, MemorySink())
        async with at.running():
            left_behind(root, intent_frame(intent()))
            await until(lambda: len(at.sink.outcomes) == 1)
            assert all(path.exists() for path in paths)
            dead.send_signal(signal.SIGKILL)
            await until(lambda: not paths[1].exists())
        assert len(at.sink.outcomes) == 2
        assert paths[0].exists()
    finally:
        for process in (alive, dead):
            process.kill()
            process.communicate()


async def test_a_folder_is_not_taken_twice_nor_after_it_was_removed(root: Path):
    path = left_behind(root)
    first = Folder.take(path)
    assert first is not None
    assert Folder.take(path) is None
    first.remove()
    assert Folder.take(path) is None
    assert folders_of(root) == []


@pytest.fixture
def swept_before_locking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening of the first lock file and its locking, another process takes the folder and removes it."""

    def flock(lock: int, operation: int) -> None:
        monkeypatch.undo()
        other = Folder.take(Path(f"/proc/self/fd/{lock}").readlink().parent)
        assert other is not None
        other.remove()
        fcntl.flock(lock, operation)

    monkeypatch.setattr("gateway.audit.folders.fcntl", SimpleNamespace(**vars(fcntl) | {"flock": flock}))


@pytest.mark.usefixtures("swept_before_locking")
async def test_a_folder_that_went_while_it_was_being_locked_is_not_held(root: Path):
    (path := root / uuid4().hex).mkdir()
    assert Folder.take(path) is None


@pytest.mark.usefixtures("swept_before_locking")
async def test_a_process_whose_new_folder_was_swept_away_makes_another(root: Path):
    folder = Folder.create(root)
    assert [folder.path] == folders_of(root)
    assert Folder.take(folder.path) is None
    folder.remove()


async def test_only_folders_of_processes_are_looked_at(root: Path):
    for name in ("quarantine", "lost+found", str(uuid4()), "notes.txt"):
        (root / name).mkdir()
    (root / uuid4().hex).write_text("a file")
    at = Adopting(root, MemorySink())
    left_behind(root)
    async with at.running():
        await until(lambda: len(list(root.iterdir())) == 5)
    assert not at.sink.intents


async def test_several_adopters_share_the_work_and_nothing_is_lost(root: Path):
    given: list[Intent] = []
    for _ in range(30):
        some = [intent() for _ in range(20)]
        given += some
        left_behind(root, b"".join(intent_frame(each) + outcome_frame(outcome(each)) for each in some))
    sink = MemorySink()
    several = [Adopting(root, sink) for _ in range(4)]
    async with several[0].running(), several[1].running(), several[2].running(), several[3].running():
        await until(lambda: not folders_of(root))
    assert set(sink.intents) == {str(each.event_id) for each in given}
    assert sum(sink.batches) == 2 * len(given)  # each folder once
    assert set(closed(sink).values()) == {"complete"}


async def test_an_adopter_that_ends_amidst_it_leaves_the_folder_to_the_next(root: Path):
    given = [intent() for _ in range(100)]
    left_behind(root, b"".join(intent_frame(each) for each in given))
    sink = MemorySink(away=True)
    first = Adopting(root, sink)
    async with first.running():
        await until(lambda: first.courier.problem)
        assert first.held[-1] > 0
        second = Adopting(root, sink)
        assert Folder.take(folders_of(root)[0]) is None
    sink.away = False
    async with second.running():
        await until(lambda: not folders_of(root))
    assert len(sink.intents) == len(sink.outcomes) == 100


async def test_an_adopter_ends_though_the_disk_hangs(root: Path, monkeypatch: pytest.MonkeyPatch):
    inside, gate = threading.Event(), threading.Event()

    def hang(_: Path) -> list[Path]:
        inside.set()
        gate.wait(30)
        return []

    monkeypatch.setattr(adopt, "folders_of", hang)
    monkeypatch.setattr(adopt, "RELEASE_S", 0.05)
    async with Adopting(root, MemorySink()).running():
        await until(inside.is_set)
        before = time.monotonic()
    assert time.monotonic() - before < 5
    gate.set()


async def test_a_payload_that_is_no_record_ends_no_adopter(root: Path):
    left_behind(root, frame(Kind.INTENT, b"[1]"))
    sink = MemorySink()
    async with Adopting(root, sink).running():
        given = intent()
        left_behind(root, intent_frame(given))
        await until(lambda: str(given.event_id) in sink.intents)


@pytest.mark.parametrize(
    ("place", "call"), [(adopt, "folders_of"), (Folder, "take"), (adopt, "filled"), (adopt, "read_batch")]
)
async def test_a_folder_that_could_not_be_read_is_taken_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, place: Any, call: str
):
    given = intent()
    left_behind(root, intent_frame(given))
    works, tries = getattr(place, call), []

    def fails(*arguments: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return works(*arguments)

    monkeypatch.setattr(place, call, fails)
    at = Adopting(root, MemorySink())
    with capture_logs() as logs:
        async with at.running():
            await until(lambda: not folders_of(root))
    assert list(at.sink.intents) == [str(given.event_id)]
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert "Input/output error" in told["problem"]
    assert not told.get("exc_info"), "a disk's trouble is told without a traceback"


async def test_neither_looking_at_a_folder_nor_taking_it_leaves_a_descriptor(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is looked at for as long as its process lives, at every interval."""
    before = descriptors()
    folder = Folder.create(root)
    held = descriptors()
    assert Folder.take(folder.path) is None
    with monkeypatch.context() as failing:
        failing.setattr("gateway.audit.folders.fcntl", SimpleNamespace(**vars(fcntl) | {"flock": no_locks}))
        with pytest.raises(OSError, match="No locks"):
            Folder.take(folder.path)
    assert descriptors() == held
    folder.remove()
    assert descriptors() == before
    with (root / "another's").open("w") as other:  # which has the number that the lock had
        folder.release()
        other.write("open")


async def test_where_there_is_no_journal_there_are_no_folders(root: Path):
    assert folders_of(root / "not there") == []


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


async def test_a_folder_that_somebody_looks_at_amidst_its_removal_is_left_to_him(root: Path):
    folder = Folder.create(root)
    (folder.path / "looked").touch()  # as a lock file made anew would be there
    folder.remove()
    other = Folder.take(folder.path)
    assert other is not None
    other.release()


async def test_a_process_that_starts_amidst_sweeping_gets_a_folder(root: Path):
    """An adopter may take a folder between its making and its locking; its maker then makes another."""
    at = [Adopting(root, MemorySink()) for _ in range(2)]
    async with at[0].running(), at[1].running():
        folders = await asyncio.gather(*(asyncio.to_thread(Folder.create, root) for _ in range(200)))
        assert all(folder.path.exists() for folder in folders)
        assert all(Folder.take(folder.path) is None for folder in folders)
    for folder in folders:
        folder.remove()
    assert folders_of(root) == []


async def test_the_next_process_settles_what_the_last_one_left(house: Make, root: Path):
    at: House = await house()
    given = [intent() for _ in range(10)]
    for each in given:
        await at.trail.intend(each)
    at.trail.conclude(outcome(given[0]))
    assert await at.journal.drain()
    next_one = Adopting(root, MemorySink())
    async with next_one.running():
        assert at.journal.folder is not None
        assert at.journal.folder.path.exists()
        at.journal.folder.release()  # as its process's end would
        await until(lambda: len(next_one.sink.outcomes) == 10)
    assert sorted(closed(next_one.sink).values()) == ["complete"] + ["interrupted"] * 9
