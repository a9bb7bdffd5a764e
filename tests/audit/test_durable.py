"""What the journal asks of the kernel before it says that something is durable."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from parts.pouring import descriptors

from gateway.audit.folders import Folder
from gateway.audit.frames import Kind
from gateway.audit.quarantine import Quarantine
from gateway.audit.segments import DISK_FILES, Damage, SegmentWriter, sync_folder

Call = tuple[str, int]
"""(system call, its flags)"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The writes and syncs that the kernel was asked for, in their order, and did."""
    seen: list[Call] = []
    pwritev, pwrite, fdatasync = os.pwritev, os.pwrite, os.fdatasync

    def write_with(fd: int, buffers: Sequence[bytes], offset: int, flags: int = 0) -> int:
        written = pwritev(fd, buffers, offset, flags)
        seen.append(("pwritev", flags))
        return written

    def write(fd: int, data: bytes, offset: int) -> int:
        written = pwrite(fd, data, offset)
        seen.append(("pwrite", 0))
        return written

    def sync(fd: int) -> None:
        fdatasync(fd)
        seen.append(("fdatasync", 0))

    monkeypatch.setattr(os, "pwritev", write_with)
    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "fdatasync", sync)
    return seen


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int | None]]:
    """What was made durable as a whole, in its order: a file and its size then, or a folder."""
    seen: list[tuple[Path, int | None]] = []
    fsync = os.fsync

    def sync(fd: int) -> None:
        fsync(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        seen.append((path, None if path.is_dir() else path.stat().st_size))

    monkeypatch.setattr(os, "fsync", sync)
    return seen


def test_a_new_file_is_durable_with_its_room_and_its_name_before_anything_is_written_to_it(
    tmp_path: Path, synced: list[tuple[Path, int | None]]
):
    SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    assert synced == [(tmp_path / "a", 8192), (tmp_path, None)]


def test_a_file_is_never_begun_over_another(tmp_path: Path):
    SegmentWriter(DISK_FILES, tmp_path / "a", 8192).commit(b"record")
    with pytest.raises(FileExistsError):
        SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    assert (tmp_path / "a").read_bytes().startswith(b"record")


def test_what_is_written_is_for_the_service_alone_to_read(tmp_path: Path):
    SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    folder = Folder.create(tmp_path / "journal")
    Quarantine(tmp_path / "journal").keep_record(Kind.INTENT, b"{}", "poison")
    folder.release()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "a": 0o600,
        "journal": 0o700,
        folder.path.name: 0o700,
        "lock": 0o600,
        "quarantine": 0o700,
        "refused.jsonl": 0o600,
    }


def test_a_file_there_is_no_room_for_leaves_neither_itself_nor_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A full disk is tried again each second, for as long as it is full."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = descriptors()
    with pytest.raises(OSError, match="No space"):
        SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    assert (descriptors(), list(tmp_path.iterdir())) == (before, [])


@pytest.mark.parametrize(("written", "left"), [(b"record", [6]), (b"", [])], ids=["something", "nothing"])
def test_a_file_left_behind_holds_what_was_written_and_no_descriptor(tmp_path: Path, written: bytes, left: list[int]):
    before = descriptors()
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    segment.commit(written)
    segment.close()
    assert (descriptors(), [path.stat().st_size for path in tmp_path.iterdir()]) == (before, left)


def test_a_process_s_folder_is_durable_with_every_folder_made_on_the_way(
    tmp_path: Path, synced: list[tuple[Path, int | None]]
):
    root = tmp_path / "state" / "journal"
    Folder.create(root).release()
    assert sorted(synced) == [(tmp_path, None), (root.parent, None), (root, None)]


def test_a_process_s_folder_whose_name_cannot_be_made_durable_leaves_neither_itself_nor_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is tried again each second."""

    def failed(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == tmp_path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failed)
    before = descriptors()
    with pytest.raises(OSError, match="Input/output"):
        Folder.create(tmp_path)
    assert (descriptors(), list(tmp_path.iterdir())) == (before, [])


def test_a_parent_that_is_anothers_to_read_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A service's folder stands in one that it may pass through and no more."""

    def barred(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        sync_folder(path)

    monkeypatch.setattr("gateway.audit.folders.sync_folder", barred)
    Folder.create(tmp_path / "journal").release()


def test_what_is_set_aside_is_durable_with_its_name_and_its_folder_s(
    tmp_path: Path, synced: list[tuple[Path, int | None]]
):
    """What it was read from is deleted next."""
    quarantine, aside = Quarantine(tmp_path), tmp_path / "quarantine"
    quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    refused = aside / "refused.jsonl"
    assert synced == [(tmp_path, None), (refused, refused.stat().st_size), (aside, None)]
    synced.clear()
    quarantine.keep_damage(tmp_path / "a" / "0.seg", [Damage(7, b"bytes", torn=False)])
    assert synced == [(aside / "a-0-7.damaged", 5), (aside, None)]


def test_what_is_set_aside_in_a_folder_that_another_process_made_is_durable_with_that_folder_s_name(
    tmp_path: Path, synced: list[tuple[Path, int | None]]
):
    """That process may have died before it synced the name."""
    (tmp_path / "quarantine").mkdir()
    quarantine = Quarantine(tmp_path)
    quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    assert synced[0] == (tmp_path, None)
    synced.clear()
    quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    assert (tmp_path, None) not in synced, "once is enough"


def test_what_is_set_aside_again_after_a_failed_sync_is_durable_with_its_folder_s_name(
    tmp_path: Path, synced: list[tuple[Path, int | None]], monkeypatch: pytest.MonkeyPatch
):
    def failed(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    quarantine = Quarantine(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", failed)
        with pytest.raises(OSError, match="Input/output"):
            quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    assert (tmp_path / "quarantine").is_dir()
    quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    assert synced[0] == (tmp_path, None)


@pytest.fixture
def little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write takes two bytes."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))


@pytest.mark.usefixtures("little_at_a_time")
def test_what_is_set_aside_is_there_in_full_and_each_piece_by_itself(tmp_path: Path):
    before = descriptors()
    quarantine = Quarantine(tmp_path)
    pieces = [Damage(7, b"bytes", torn=False), Damage(700, b"others", torn=False), Damage(900, b"", torn=True)]
    for _ in range(2):  # a file that is read again says it again
        quarantine.keep_damage(tmp_path / "a" / "0.seg", pieces)
    for each in (b'{"event_id": 1}', b"no json"):
        quarantine.keep_record(Kind.INTENT, each, "poison")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "quarantine").iterdir()}
    lines = [orjson.loads(line)["record"] for line in kept.pop("refused.jsonl").splitlines()]
    assert kept == {"a-0-7.damaged": b"bytes", "a-0-700.damaged": b"others", "a-0-900.torn": b""}
    assert lines == [{"event_id": 1}, b"no json".hex()]
    assert descriptors() == before


def test_a_line_that_broke_off_spoils_none_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The disk filled amidst it, or the process died."""
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if data.endswith(b"}\n") and not data.startswith(b"{"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[: len(data) // 2])

    quarantine = Quarantine(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    for _ in range(2):
        quarantine.keep_record(Kind.INTENT, b"{}", "poison")
    broken, *whole = (tmp_path / "quarantine" / "refused.jsonl").read_bytes().splitlines()
    assert broken.startswith(b'{"at":')
    assert [orjson.loads(line)["record"] for line in whole] == [{}, {}]


def test_each_commit_is_one_call_that_writes_through_to_the_disk(tmp_path: Path, calls: list[Call]):
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 1 << 20)
    for _ in range(3):
        segment.commit(b"record")
    assert calls == [("pwritev", os.RWF_DSYNC)] * 3


def test_a_disk_that_takes_a_little_at_a_time_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pwritev = os.pwritev

    def write(fd: int, buffers: Sequence[bytes], offset: int, flags: int = 0) -> int:
        return pwritev(fd, [buffers[0][:2]], offset, flags)

    monkeypatch.setattr(os, "pwritev", write)
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    segment.commit(b"first")
    segment.commit(b"second")
    segment.close()
    assert (segment.end, (tmp_path / "a").read_bytes()) == (11, b"firstsecond")


def test_a_disk_that_takes_nothing_and_calls_it_success_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 8192)
    with pytest.raises(OSError, match="takes nothing"):
        segment.commit(b"record")
    assert segment.end == 0


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_kernel_without_that_call_is_asked_for_a_sync_after_each_write(
    tmp_path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch, refusal: int
):
    def refused(*_: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "pwritev", refused)
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 1 << 20)
    for _ in range(3):
        segment.commit(b"record")
    assert calls == [("pwrite", 0), ("fdatasync", 0)] * 3
    assert (tmp_path / "a").read_bytes().startswith(b"recordrecordrecord\0")


def test_a_disk_that_fails_to_sync_is_not_asked_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second answer might be that all is well: what a failed sync left unwritten is no longer known to be."""
    tries = []

    def failed(*_: object) -> int:
        tries.append(1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 1 << 20)
    monkeypatch.setattr(os, "pwritev", failed)
    with pytest.raises(OSError, match="Input/output"):
        segment.commit(b"record")
    assert (len(tries), segment.end) == (1, 0)
