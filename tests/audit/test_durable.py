"""What the journal asks of the kernel before it says that something is durable."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.audit.segments import DISK_FILES, SegmentWriter

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


def test_each_commit_is_one_call_that_writes_through_to_the_disk(tmp_path: Path, calls: list[Call]):
    segment = SegmentWriter(DISK_FILES, tmp_path / "a", 1 << 20)
    for _ in range(3):
        segment.commit(b"record")
    assert calls == [("pwritev", os.RWF_DSYNC)] * 3


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
