"""Files beneath one folder of this machine. A key is a relative path with slashes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from ..config import DiskStore, Origin
from ..errors import Changed, NotFound, OriginFailed, OriginTimeout, Refusal, Unavailable
from ..model import PIECE, Link, Source, Span, Stat
from ..threads import Threads
from .beneath import Escape, RootMissing, delete_beneath, look_at, open_beneath, unfit
from .counts import Counts
from .file_body import FileBody, Mark, Room, mark, read_checked

THREADS: Final = 16
"""At once in blocking file calls; more wait. A disk that hangs holds no more than these."""
LINE: Final = 16_384
"""Calls that may wait. What is given up stays among them, 3 KB each, until a thread is free: a disk that hangs frees none."""

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Disk:
    """A Store. A version is a digest of a file's inode, size and time of change, so a replaced file has another.

    The device's number is left out: it differs between machines that mount the same folder, and over a reboot.
    """

    def __init__(self, name: str, settings: DiskStore, origin: Origin) -> None:
        self._name = name
        self._root = settings.root
        self._folder = _Folder(f"store {name}", settings.root)
        self._origin = origin
        self._pool = Threads(THREADS, f"disk-{name}")
        self.counts = Counts()
        self._room = Room(name, self._pool, origin.progress_s, self.counts)

    def unfit(self, key: str) -> str | None:
        return unfit(key)

    async def stat(self, key: str) -> Stat:
        found = await self._ask(key, self._begin(self._folder.look, key))
        version = identity(found)
        try:
            modified = datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC)
        except (ValueError, OverflowError, OSError):
            raise OriginFailed(f"store {self._name}: a file's date is in no year from 1 to 9999; touch it") from None
        return Stat(size=found.st_size, etag=f'"{version}"', version=version, modified=modified)

    async def open(self, key: str, span: Span, version: str) -> Source:
        self.counts.requests += 1
        try:
            file, found, first = await self._opened(key, span, version)
        except (Refusal, Changed) as error:
            self.counts.refused(error)
            raise
        return FileBody(self._room, file, span, found, first)

    async def _opened(self, key: str, span: Span, version: str) -> tuple[int, Mark, bytes]:
        opening = self._begin(self._folder.open, key, span, version)
        try:
            return await self._ask(key, opening)
        except BaseException:
            opening.add_done_callback(_close_late)  # it may have succeeded since, with nobody there to take it
            raise

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:  # noqa: ARG002 - a folder signs nothing
        return None

    async def delete(self, key: str, version: str) -> None:
        """As Store.delete. A file with several names is not deleted: its bytes would stay under the others."""
        if not await self._ask(key, self._begin(self._folder.delete, key, version)):
            raise Changed(f"store {self._name}: the file is another than it was")

    async def check(self) -> None:
        try:
            await self._ask("", self._begin(self._folder.check))
        except Refusal as refusal:
            raise Unavailable(refusal.detail) from None

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> Future[T]:
        """Raises Unavailable: as many wait as may."""
        if self._pool.waiting >= LINE:
            raise Unavailable(f"store {self._name}: {LINE} calls wait for its disk; does that hang?")
        return self._pool.submit(work, *args, **named)

    async def _ask(self, key: str, future: Future[T]) -> T:
        where = f"store {self._name}"
        try:
            async with asyncio.timeout(self._origin.first_byte_s):
                return await asyncio.wrap_future(future)
        except Escape as escape:
            log.error("disk_key_refused", store=self._name, key=key, reason=str(escape))  # noqa: TRY400 - an alarm
            raise NotFound(f"{where}: {escape}") from None
        except _Bare:
            raise Unavailable(f"{where}: its folder {self._root} is empty; is what belongs there mounted?") from None
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


def identity(found: os.stat_result) -> str:
    """The version that a file's metadata amounts to: 32 hexadecimal digits."""
    return hashlib.sha256("-".join(map(str, mark(found))).encode()).hexdigest()[:32]


class _Bare(OSError):
    """The root is empty, and no file was seen on its device: it may be a mount point whose disk is not mounted."""


class _Folder:
    """What threads do beneath the root."""

    def __init__(self, where: str, root: Path) -> None:
        self._where = where
        self._root = root
        self._device: int | None = None
        """The device (st_dev) of the last file that was found."""

    def look(self, key: str) -> os.stat_result:
        file, found = self._opened(key)
        os.close(file)
        return found

    def open(self, key: str, span: Span, version: str) -> tuple[int, Mark, bytes]:
        """The file's descriptor, what it is, and nothing; or, of a span that is one piece, -1, what it is and the piece."""
        file, found = self._opened(key)
        try:
            if identity(found) != version or span.stop > found.st_size:
                raise Changed(f"{self._where}: the file is another than it was")  # noqa: TRY301 - to be closed like any other
            if len(span) > PIECE:
                return file, mark(found), b""
            first = read_checked(file, span.start, len(span), mark(found))
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return -1, mark(found), first

    def delete(self, key: str, version: str) -> bool:
        """False: another version is there."""

        def agrees(found: os.stat_result) -> bool:
            self._device = found.st_dev
            return identity(found) == version

        try:
            return delete_beneath(self._root, key, agrees)
        except FileNotFoundError:
            self._believe()
            return True
        except NotADirectoryError:
            return True
        except Escape as escape:
            raise OriginFailed(f"{self._where}: {escape}; it is left for you to look at") from None
        except RootMissing:
            raise
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise OriginFailed(
                    f"{self._where}: a file may not be deleted; give the service's user the right to write in its folder"
                ) from None
            raise

    def check(self) -> None:
        """The root must be there; once a file was seen in it, its disk must be mounted too. A new, empty folder is all right."""
        look_at(self._root)
        if self._device is not None:
            self._believe()

    def _opened(self, key: str) -> tuple[int, os.stat_result]:
        try:
            file, found = open_beneath(self._root, key)
        except FileNotFoundError:
            self._believe()
            raise
        self._device = found.st_dev
        return file, found

    def _believe(self) -> None:
        """Checks that a missing file is really missing. Raises _Bare where the root looks as if its disk was not mounted."""
        try:
            with os.scandir(self._root) as entries:
                bare = next(entries, None) is None
            if bare and self._root.stat().st_dev != self._device:
                raise _Bare
        except PermissionError:  # who may not list it cannot know
            pass
        except FileNotFoundError as error:
            raise RootMissing(error.errno, error.strerror) from error


def _close_late(opening: Future[tuple[int, Mark, bytes]]) -> None:
    if not opening.cancelled() and opening.exception() is None and (file := opening.result()[0]) >= 0:
        os.close(file)
