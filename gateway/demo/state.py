"""The demo's folder: what a second run finds again. One demo at a time uses it; what is secret in it is its owner's alone."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from .ports import free_ports, is_free


class DemoFailed(Exception):
    """The demo cannot go on. Says why and what to do."""


class State:
    """A folder under lock, with the small things worth keeping (ports, passwords, keys) in its ``state.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock = -1
        self._kept: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Raises DemoFailed: another demo runs here, or the folder cannot be made."""
        try:
            if not self.folder.is_dir():  # what was there before, a home say, keeps its owner's rights
                self.folder.mkdir(parents=True, exist_ok=True)
                # Postgres refuses to run as root and must be able to walk through; it cannot list.
                self.folder.chmod(0o711)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DemoFailed(f"{self.folder}: {error.strerror}; choose another folder with --state DIR") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DemoFailed(
                f"a demo runs in {self.folder} already; stop it (Ctrl-C there), or choose another folder with --state DIR"
            ) from None
        if (self.folder / "state.json").exists():
            self._kept = orjson.loads((self.folder / "state.json").read_bytes())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def kept(self, name: str) -> str | None:
        """What an earlier run kept under ``name``."""
        return self._kept.get(name)

    def keep(self, name: str, value: str) -> str:
        """Keeps ``value`` for later runs, and gives it back."""
        self._kept[name] = value
        write_private(self.folder / "state.json", orjson.dumps(self._kept, option=orjson.OPT_INDENT_2))
        return value

    def secret(self, name: str) -> str:
        """256 random bits, the same at every run."""
        return self.kept(name) or self.keep(name, secrets.token_urlsafe(32))

    def port(self, name: str) -> int:
        """A free TCP port of loopback, the same at every run unless somebody else has taken it."""
        kept = int(self.kept(name) or 0)
        return kept if kept and is_free(kept) else int(self.keep(name, str(free_ports(1)[0])))


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by its owner only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
