"""Files beneath one folder of this machine. A key is a relative path with slashes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import structlog

from ..config import DiskStore, Origin
from ..errors import Broken, Changed, NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from ..model import PIECE, Link, Source, Span, Stat
from .beneath import Escape, RootMissing, delete_beneath, look_at, open_beneath

THREADS: Final = 16
"""At once in blocking file calls; more wait. A disk that hangs holds no more than these."""
NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Disk:
    """A Store. A version is a digest of a file's inode, size and time of change, so a replaced file has another.

    The device's number is left out: it differs between machines that mount the same folder, and over a reboot.
    """

    def __init__(self, name: str, settings: DiskStore, origin: Origin) -> None:
        self._name = name
        self._root = settings.root
        self._origin = origin
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"disk-{name}")
        self._scratch = bytearray(PIECE)

    async def stat(self, key: str) -> Stat:
        found = await self._ask(key, self._pool.submit(_look, self._root, key))
        version = identity(found)
        return Stat(
            size=found.st_size,
            etag=f'"{version}"',
            version=version,
            modified=datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC),
        )

    async def open(self, key: str, span: Span, version: str) -> Source:
        opening = self._pool.submit(open_beneath, self._root, key)
        try:
            file, found = await self._ask(key, opening)
        except BaseException:
            opening.add_done_callback(_close_late)  # it may have succeeded since, with nobody there to take it
            raise
        if identity(found) != version or span.stop > found.st_size:
            os.close(file)
            raise Changed(f"store {self._name}: the file is another than it was")
        return FileBody(self._name, file, span, version, self._pool, self._scratch, self._origin.progress_s)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:  # noqa: ARG002 - a folder signs nothing
        return None

    async def delete(self, key: str, version: str) -> None:
        """As Store.delete. A file with several names is not deleted: its bytes would stay under the others."""
        if not await self._ask(key, self._pool.submit(_delete, f"store {self._name}", self._root, key, version)):
            raise Changed(f"store {self._name}: the file is another than it was")

    async def check(self) -> None:
        try:
            await self._ask("", self._pool.submit(look_at, self._root))
        except Refusal as refusal:
            raise Unavailable(refusal.detail) from None

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, key: str, future: Future[T]) -> T:
        where = f"store {self._name}"
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                return await asyncio.wrap_future(future)
        except Escape as escape:
            log.error("disk_key_refused", store=self._name, key=key, reason=str(escape))  # noqa: TRY400 - an alarm
            raise NotFound(f"{where}: {escape}") from None
        except RootMissing as error:
            raise Unavailable(f"{where}: its folder {self._root} cannot be opened ({error.strerror})") from None
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{where}: no such file") from None
        except PermissionError:
            raise OriginFailed(f"{where}: a file may not be read; give the service's user the right to") from None
        except TimeoutError:
            raise OriginTimeout(f"{where}: no answer within first_byte_s ({self._origin.first_byte_s:g} s)") from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise NotFound(f"{where}: no file can have this name") from None
            raise Unavailable(f"{where}: {error.strerror}") from None


class FileBody:
    """A file's bytes as a Source. After each piece, before it is handed on, the file must still be the same."""

    __slots__ = ("_at", "_file", "_pending", "_pool", "_progress_s", "_scratch", "_stop", "_store", "_version")

    def __init__(
        self,
        store: str,
        file: int,
        span: Span,
        version: str,
        pool: ThreadPoolExecutor,
        scratch: bytearray,
        progress_s: float,
    ) -> None:
        self._store = store
        self._file = file
        self._at = span.start
        self._stop = span.stop
        self._version = version
        self._pool = pool
        self._scratch = scratch
        self._progress_s = progress_s
        self._pending: Future[bytes] | None = None

    async def read(self) -> bytes:
        want = min(PIECE, self._stop - self._at)
        if not want:
            return b""
        if self._file < 0:
            raise Broken(f"store {self._store}: read after close")
        try:
            piece = self._cached(want)
            if not piece:
                self._pending = self._pool.submit(_piece, self._file, self._at, want, self._version)
                async with asyncio.timeout(self._progress_s):
                    piece = await asyncio.wrap_future(self._pending)
        except (OSError, RuntimeError) as error:  # RuntimeError: the pool was shut down
            raise Broken(f"store {self._store}: {type(error).__name__} in mid-file") from None
        if not piece:
            raise Broken(f"store {self._store}: the file ended early")
        self._at += len(piece)
        return piece

    async def close(self) -> None:
        file, self._file = self._file, -1
        if file < 0:
            return
        if self._pending is None or self._pending.done():
            os.close(file)
        else:
            self._pending.add_done_callback(lambda _: os.close(file))  # a thread is still in it

    def _cached(self, want: int) -> bytes:
        """What the kernel has at hand, without blocking the loop; empty where it would have to wait or can't tell."""
        if NOWAIT is None:
            return b""
        try:
            got = os.preadv(self._file, [memoryview(self._scratch)[:want]], self._at, NOWAIT)
        except OSError:  # EAGAIN, or a file system that does not know the flag; a real error comes again in the thread
            return b""
        return _same(self._file, self._version, bytes(memoryview(self._scratch)[:got]))


def identity(found: os.stat_result) -> str:
    """The version that a file's metadata amounts to: 32 hexadecimal digits."""
    return hashlib.sha256(f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}".encode()).hexdigest()[:32]


def _look(root: Path, key: str) -> os.stat_result:
    file, found = open_beneath(root, key)
    os.close(file)
    return found


def _delete(where: str, root: Path, key: str, version: str) -> bool:
    """False: another version is there."""
    try:
        return delete_beneath(root, key, lambda found: identity(found) == version)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except Escape as escape:
        raise OriginFailed(f"{where}: {escape}; it is left for you to look at") from None
    except RootMissing:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return True
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise OriginFailed(
                f"{where}: a file may not be deleted; give the service's user the right to write in its folder"
            ) from None
        raise


def _piece(file: int, at: int, want: int, version: str) -> bytes:
    return _same(file, version, os.pread(file, want, at))


def _same(file: int, version: str, piece: bytes) -> bytes:
    """``piece``, read before this look at the file: the kernel dates a write before it shows any of it."""
    if identity(os.fstat(file)) != version:
        raise Changed("the file was written to while it was read")
    return piece


def _close_late(opening: Future[tuple[int, os.stat_result]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result()[0])
