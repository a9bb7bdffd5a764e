"""Opens or deletes a file beneath a folder, and never one outside of it, whatever its name or links on the way say.

Every component is opened by itself, relative to the one before, and never followed (openat(2), O_NOFOLLOW). So no
check is made on a path that could be another one by the time it is used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ROOT: Final = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_WALK: Final = _ROOT | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


LONGEST: Final = 255
"""Bytes of a component (NAME_MAX)."""


class RootMissing(OSError):
    """The folder itself cannot be opened."""


class Escape(Exception):
    """A name or a file that could lead out of the folder, or is no plain file. The message says what it is."""


def unfit(key: str) -> str | None:
    """What keeps a file beneath a folder from being called ``key``; None: nothing."""
    try:
        parts = _parts(key)
    except Escape as escape:
        return str(escape)
    except FileNotFoundError as error:
        return error.strerror
    return None if max(map(len, parts)) <= LONGEST else f"a component of more than {LONGEST} bytes"


def open_beneath(root: Path, key: str) -> tuple[int, os.stat_result]:
    """A descriptor, open for reading, of the plain file ``key`` under ``root``, and what it is.

    ``root`` may be reached over links; beneath it none is followed. Raises FileNotFoundError, NotADirectoryError (a
    file stands where a folder is named), RootMissing, Escape, OSError.
    """
    with _folder_of(root, key) as (folder, name):
        return _read(folder, name)


def delete_beneath(root: Path, key: str, agrees: Callable[[os.stat_result], bool]) -> bool:
    """Deletes the plain file ``key`` under ``root``, if what it is ``agrees``; False: it does not, and it stays.

    It stays deleted when the machine loses its power. Raises as open_beneath, PermissionError where the folder that it
    lies in may not be written to.
    """
    with _folder_of(root, key) as (folder, name):
        found = os.lstat(name, dir_fd=folder)
        _plain(found)
        if not agrees(found):
            return False
        os.unlink(name, dir_fd=folder)
        entries = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)
    return True


def look_at(root: Path) -> None:
    """Raises RootMissing."""
    os.close(_open_root(root))


@contextmanager
def _folder_of(root: Path, key: str) -> Iterator[tuple[int, bytes]]:
    """A descriptor of the folder that ``key`` lies in, and its name there."""
    parts = _parts(key)
    folder = _open_root(root)
    try:
        for part in parts[:-1]:
            inner = _enter(folder, part)
            os.close(folder)
            folder = inner
        yield folder, parts[-1]
    finally:
        os.close(folder)


def _open_root(root: Path) -> int:
    try:
        return os.open(root, _ROOT)
    except OSError as error:
        raise RootMissing(error.errno, error.strerror) from error


def _parts(key: str) -> list[bytes]:
    if "\0" in key:
        raise Escape("a NUL in the key")
    try:
        parts = os.fsencode(key).split(b"/")
    except UnicodeEncodeError:
        raise FileNotFoundError(errno.ENOENT, "not UTF-8") from None
    if parts[0] == b"" and len(parts) > 1:
        raise Escape("an absolute key")
    for part in parts:
        if part in {b"", b".", b".."}:
            raise Escape("an empty, . or .. component in the key")
    return parts


def _enter(folder: int, part: bytes) -> int:
    try:
        return os.open(part, _WALK, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ENOTDIR, errno.ELOOP, errno.EMLINK} and _is_link(folder, part):
            raise Escape("a symbolic link on the way") from None
        raise


def _read(folder: int, part: bytes) -> tuple[int, os.stat_result]:
    _plain(os.lstat(part, dir_fd=folder))  # before opening: opening a device may already do something
    try:
        file = os.open(part, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO}:
            raise Escape("not a plain file") from None
        raise
    try:
        found = os.fstat(file)
        _plain(found)
    except BaseException:
        os.close(file)
        raise
    return file, found


def _plain(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a folder" if stat.S_ISDIR(found.st_mode) else None
        raise Escape(kind or "a device, pipe or socket")
    if found.st_nlink > 1:
        raise Escape("a file with several hard links")


def _is_link(folder: int, part: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(part, dir_fd=folder).st_mode)
    except OSError:
        return False
