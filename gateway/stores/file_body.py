"""A file's bytes on their way, and the promise that they are one version's.

The loop copies only what the kernel has in memory; whatever could wait for a disk is a thread's. Why they are copied, and
not sent by the kernel alone (sendfile), is told in docs/decisions/0017-files.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar

from ..errors import Broken, Changed
from ..model import PIECE, Span
from .counts import Counts

NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
STRIDE: Final = 4 * PIECE
"""Poured at once, at most: less makes more calls, more does not stay in a core's own cache between its two copies."""
WINDOW: Final = 1024 * 1024
"""Brought into memory at once."""

Mark = tuple[int, int, int]
"""Inode, size, time of change in nanoseconds."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """What the bodies of one store share. ``scratch`` is the loop's: nothing stays in it from one call to the next."""

    store: str
    pool: ThreadPoolExecutor
    progress_s: float
    counts: Counts
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(STRIDE)), repr=False)

    def broken(self, why: str) -> Broken:
        """A body's end before its time, counted."""
        self.counts.errors["origin_broken"] += 1
        return Broken(f"store {self.store}: {why}")


class FileBody:
    """A file's bytes as a Pourable. It takes the descriptor ``file`` over; ``first`` are bytes of the span read before.

    What was read is handed on only once the file was seen, after that, to be what it was when it was opened: ``known``.
    """

    __slots__ = ("_at", "_direct", "_file", "_held", "_known", "_pending", "_reach", "_room", "_stop", "_warmed")

    def __init__(self, room: Room, file: int, span: Span, known: Mark, first: bytes = b"") -> None:
        self._room = room
        self._file = file
        self._known = known
        self._at = span.start
        self._stop = span.stop
        self._held = memoryview(first)
        """The bytes from ``_at`` on, read and checked."""
        self._reach = PIECE
        """As much as the socket is likely to take."""
        self._warmed = span.start
        """Up to here a thread brought the file into memory."""
        self._direct = NOWAIT is not None
        """Whether the loop may touch the file: not where its file system cannot tell what would have to wait."""
        self._pending: Future[Any] | None = None  # Any: what it gives is for whoever began it

    async def read(self) -> bytes:
        if self._at == self._stop:
            return b""
        if not self._held:
            self._opened()
            got = self._peek(PIECE)
            self._held = memoryview(bytes(self._room.scratch[:got]) if got else await self._read_in_thread())
        return self._take()

    def at_hand(self) -> memoryview:
        held, self._held = self._held, memoryview(b"")
        self._at += len(held)
        return held

    def pour(self, to: int, most: int) -> int:
        """As Pourable.pour; 0 at the end, too.

        What the socket does not take is not kept: it is read again, and a reader that stalls costs no memory.
        """
        if self._at == self._stop or most <= 0:
            return 0
        if self._held:
            sent = _send(to, self._held[:most])
            self._held = self._held[sent:]
        else:
            self._opened()
            if not (got := self._peek(min(most, self._reach))):
                return 0
            sent = _send(to, self._room.scratch[:got])
            self._reach = min(2 * self._reach, STRIDE) if sent == got else max(sent, PIECE)
        self._at += sent
        return sent

    async def ready(self) -> None:
        if self._held or self._at == self._stop:
            return
        self._opened()
        if self._direct and self._warmed <= self._at:
            window = min(self._at + WINDOW, self._stop)
            await self._in_thread(_warm, self._file, self._at, window, self._known)
            self._warmed = window
        else:  # it was warmed and is gone again, or the kernel does not say that it is there
            self._held = memoryview(await self._read_in_thread())

    async def close(self) -> None:
        file, self._file = self._file, -1
        self._at, self._held = self._at + len(self._held), memoryview(b"")
        if file < 0:
            return
        if self._pending is None or self._pending.done():
            os.close(file)
        else:
            self._pending.add_done_callback(lambda _: os.close(file))  # a thread is still in it

    def _opened(self) -> None:
        if self._file < 0:
            raise Broken(f"store {self._room.store}: read after close")

    def _take(self) -> bytes:
        piece, self._held = bytes(self._held), memoryview(b"")
        self._at += len(piece)
        return piece

    def _peek(self, most: int) -> int:
        """So many of the next bytes are in the scratch now, checked; 0: they are not in memory, or that can't be told."""
        if not self._direct:
            return 0
        assert NOWAIT is not None
        try:
            got = os.preadv(self._file, [self._room.scratch[: min(most, self._stop - self._at)]], self._at, NOWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # the flag is not known there; or a real error, that the thread will meet again
            self._direct = False
            return 0
        if got:
            try:
                _same(self._file, self._known)
            except Changed as error:
                self._room.counts.refused(error)
                raise
            except OSError as error:
                raise self._room.broken(f"{error.strerror} in mid-file") from None
        return got

    async def _read_in_thread(self) -> bytes:
        want = min(PIECE, self._stop - self._at)
        piece = await self._in_thread(read_checked, self._file, self._at, want, self._known)
        if not piece:
            raise self._room.broken("the file ended early")
        return piece

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        try:
            self._pending = pending = self._room.pool.submit(work, *args, **named)
            async with asyncio.timeout(self._room.progress_s):
                return await asyncio.wrap_future(pending)
        except Changed as error:
            self._room.counts.refused(error)
            raise
        except (OSError, RuntimeError) as error:  # RuntimeError: the pool was shut down
            raise self._room.broken(f"{type(error).__name__} in mid-file") from None


def mark(found: os.stat_result) -> Mark:
    """What changes when a file is written to or replaced."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_checked(file: int, at: int, want: int, known: Mark) -> bytes:
    """May wait for a disk. Raises Changed, OSError."""
    piece = os.pread(file, want, at)
    _same(file, known)
    return piece


def _warm(file: int, start: int, stop: int, known: Mark) -> None:
    """Brings the bytes into memory, and begins with as many after them."""
    os.posix_fadvise(file, start, 2 * (stop - start), os.POSIX_FADV_WILLNEED)
    into = [bytearray(PIECE)]
    while start < stop and (got := os.preadv(file, into, start)):
        start += got
    _same(file, known)


def _same(file: int, known: Mark) -> None:
    """Looked at after a read: the kernel dates a write before it shows any of it."""
    if mark(os.fstat(file)) != known:
        raise Changed("the file was written to while it was read")


def _send(to: int, piece: memoryview) -> int:
    try:
        return os.write(to, piece)
    except (BlockingIOError, ConnectionError):
        raise
    except OSError as error:
        raise ConnectionAbortedError(error.errno, error.strerror) from None
