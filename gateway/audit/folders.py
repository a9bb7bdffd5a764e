"""One folder per process under the journal's, and who owns it: whoever holds the lock on the file ``lock`` in it.

The lock is flock's: it goes when its process goes, however that ends, and it is not tied to a process id. Folders are
named by UUID, so a name never comes back.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from uuid_utils.compat import uuid7

from ..config import ConfigError
from .segments import sync_folder

LOCK = "lock"
QUARANTINE = "quarantine"


class Folder:
    """A folder this process holds."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> Folder:
        """A new one. Raises OSError."""
        made = [step for step in root.parents if not step.exists()]
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for step in (root, *made):
            with suppress(PermissionError):  # made by somebody else, then, and long ago
                sync_folder(step.parent)
        while True:
            path = root / uuid7().hex
            path.mkdir(mode=0o700)
            # Between the two lines another process may have taken it for a dead one's, and swept it away.
            if (folder := cls.take(path)) is not None:
                try:
                    sync_folder(root)
                except OSError:
                    with suppress(OSError):
                        folder.remove()
                    raise
                return folder

    @classmethod
    def take(cls, path: Path) -> Folder | None:
        """A dead process's. None: its owner lives, another took it, or it is gone. Raises OSError."""
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever removes a folder holds its lock meanwhile: the file locked here must still be the one that stands there.
            if os.fstat(lock).st_ino == (path / LOCK).stat().st_ino:
                return cls(path, lock)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def is_gone(self) -> bool:
        """Whether somebody took it away; False also where that cannot be told, for then it may come back as it was."""
        try:
            return not stat.S_ISDIR(os.stat(self.path).st_mode)  # noqa: PTH116  is_dir would raise, or from Python 3.14 on guess
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def remove(self) -> None:
        """Deletes the folder, whose segments must be gone, and holds it no longer. Raises OSError."""
        try:
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # another process came to look amidst this, and will find it empty
                raise
        finally:
            self.release()

    def release(self) -> None:
        """Leaves the folder to whoever comes next. May be repeated."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            with suppress(OSError):
                os.close(lock)


def refuse_barred(root: Path) -> None:
    """Raises ConfigError: a file stands there, or on the way, where no waiting makes a folder of it."""
    there = next((step for step in (root, *root.parents) if os.path.lexists(step)), None)
    if there is not None and os.path.exists(there) and not os.path.isdir(there):  # noqa: PTH110, PTH112  raise nothing
        raise ConfigError([f"audit.journal_dir: {there} is a file; name a folder, which is made where there is none"])


def folders_of(root: Path) -> list[Path]:
    """Every process's folder, oldest first."""
    try:
        return sorted(path for path in root.iterdir() if _is_name(path.name))
    except FileNotFoundError:
        return []


def _is_name(name: str) -> bool:
    try:
        return UUID(name).hex == name
    except ValueError:
        return False
