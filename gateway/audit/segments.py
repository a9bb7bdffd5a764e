"""The journal's files: written by one thread at places it keeps count of, read by anyone up to where they are durable."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .frames import MAX_PAYLOAD, Record, scan

SUFFIX = ".seg"
CHUNK = 2 * MAX_PAYLOAD
"""Bytes read at once; the longest frame must fit, or reading would not get on."""


_DSYNC: int = getattr(os, "RWF_DSYNC", 0)
_NOT_OFFERED = (errno.EOPNOTSUPP, errno.ENOSYS)
"""What a kernel or a file system says that knows no flags of single writes."""


class Files(Protocol):
    """What the journal asks of a file system. Each raises OSError."""

    def create(self, path: Path, size: int) -> int:
        """A new file with room for ``size`` bytes, its directory entry durable. Returns its descriptor."""
        ...

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """As much as it says is durable when it returns."""
        ...

    def sync(self, fd: int) -> None:
        """The file's size is durable, and all that was written."""
        ...

    def is_removed(self, fd: int) -> bool:
        """Whether nobody finds the file any more."""
        ...

    def truncate(self, fd: int, size: int) -> None: ...
    def close(self, fd: int) -> None: ...


class DiskFiles:
    """The real ones."""

    def create(self, path: Path, size: int) -> int:
        """Reserves the room: a full disk shows here and not amidst a write, and a commit need not grow the file."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            os.fsync(fd)
            sync_folder(path.parent)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """One system call where there is one for both: each gives other threads their turn, and waits for one afterwards."""
        if _DSYNC:
            try:
                return os.pwritev(fd, [data], offset, _DSYNC)
            except OSError as error:
                if error.errno not in _NOT_OFFERED:
                    raise
        written = os.pwrite(fd, data, offset)
        os.fdatasync(fd)
        return written

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def is_removed(self, fd: int) -> bool:
        return not os.fstat(fd).st_nlink

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        os.close(fd)


DISK_FILES = DiskFiles()


def sync_folder(path: Path) -> None:
    """Makes the folder's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SegmentWriter:
    """One file while it is written. ``end`` counts the bytes that are durable."""

    def __init__(self, files: Files, path: Path, size: int) -> None:
        self._files = files
        self._fd = files.create(path, size)
        self._size = size
        self.path = path
        self.end = 0

    def is_removed(self) -> bool:
        """Whether what was written is nowhere to be found; False also where that cannot be told."""
        with suppress(OSError):
            return self._files.is_removed(self._fd)
        return False

    def has_room(self, size: int) -> bool:
        return self.end + size <= self._size

    def commit(self, data: bytes) -> None:
        """Durable when it returns. Raises OSError: then abandon the file, for a failed sync may have lied."""
        done = 0
        while done < len(data):
            written = self._files.write(self._fd, data[done:] if done else data, self.end + done)
            if not written:
                raise OSError(errno.EIO, "the journal's disk takes nothing")
            done += written
        self.end += done

    def close(self) -> None:
        """Gives back the room that was not used, and what was written behind ``end``. Never raises OSError.

        Where that fails, nobody reads behind ``end`` while this process lives, and afterwards it is harmless: whatever
        stands there is written once more elsewhere, or was never acknowledged.
        """
        with suppress(OSError):
            self._files.truncate(self._fd, self.end)
            self._files.sync(self._fd)
        with suppress(OSError):
            self._files.close(self._fd)
            if not self.end:
                self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame."""

    offset: int
    data: bytes
    torn: bool
    """At the end of a file whose writer is gone: a write that was cut short."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one reading gave."""

    records: list[Record]
    offset: int
    """Where to go on."""
    damaged: list[Damage] = field(default_factory=list)


def read_batch(path: Path, offset: int, end: int | None, limit: int) -> Chunk:
    """``limit`` records from ``offset``, fewer only before ``end`` (None: the file's own). Blocks; raises OSError.

    What stands at or behind ``end`` is left alone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        may_be_torn = end is None
        end = os.fstat(fd).st_size if end is None else end
        batch = Chunk([], offset)
        while batch.offset < end and len(batch.records) < limit:
            chunk = _read_chunk(fd, batch.offset, end, limit - len(batch.records), may_be_torn=may_be_torn)
            batch = Chunk(batch.records + chunk.records, chunk.offset, batch.damaged + chunk.damaged)
        return batch
    finally:
        os.close(fd)


def _read_chunk(fd: int, offset: int, end: int, limit: int, *, may_be_torn: bool) -> Chunk:
    size = CHUNK
    while True:
        wanted = min(size, end - offset)
        data = os.pread(fd, wanted, offset)
        final = len(data) < wanted or offset + wanted == end
        found = scan(data, limit=limit, final=final)
        if found.end or final:
            break
        size *= 2  # damage so long that the next frame, if there is one, is not in sight
    damaged = [Damage(offset + a, data[a:b], torn=may_be_torn and final and b == len(data)) for a, b in found.damaged]
    if len(data) < wanted and found.end == len(data):  # the file is shorter than what was durable in it
        return Chunk(found.records, end, [*damaged, Damage(offset + len(data), b"", torn=False)])
    return Chunk(found.records, offset + found.end, damaged)


def filled(path: Path) -> int:
    """About how many bytes of a segment hold anything. Blocks; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) if os.fstat(fd).st_size else 0
    finally:
        os.close(fd)


def numbered(path: Path, number: int) -> Path:
    """The name of a folder's segment."""
    return path / f"{number:08d}{SUFFIX}"


def segments_of(path: Path) -> list[Path]:
    """A folder's segments in the order they were written."""
    return sorted(path.glob(f"*{SUFFIX}"))
