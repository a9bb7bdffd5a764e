"""Disks that are really full: the kernel refuses, nobody pretends."""

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class FillableDisk(Protocol):
    """A folder on a disk that can be filled, and freed again."""

    path: Path

    def fill(self) -> None: ...
    def free(self) -> None: ...


class LimitedProcess:
    """No disk at all: the kernel's limit on the size of any file this process writes. Works for everybody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, self._before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class SmallDisk:
    """A file system of 256 KB in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                pass

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@contextmanager
def limited_process() -> Iterator[LimitedProcess]:
    with tempfile.TemporaryDirectory() as path:
        disk = LimitedProcess(Path(path))
        try:
            yield disk
        finally:
            disk.free()


@contextmanager
def small_disk() -> Iterator[SmallDisk]:
    """Raises CalledProcessError where this process may not mount."""
    with tempfile.TemporaryDirectory() as path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path], check=True, capture_output=True)
        try:
            yield SmallDisk(Path(path))
        finally:
            subprocess.run(["umount", "-l", path], check=True)


def disks() -> list[object]:
    """The kinds this process can have: the limit always, the small disk where it may mount one."""
    try:
        with small_disk():
            return [limited_process, small_disk]
    except (subprocess.CalledProcessError, FileNotFoundError):
        return [limited_process]
