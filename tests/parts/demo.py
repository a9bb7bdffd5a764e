"""A demo in a process of its own, as ``make demo`` starts it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from gateway.demo import postgres

READY_S = 60


@contextmanager
def room(*, closed: bool = False) -> Iterator[Path]:
    """A folder for a demo's state, ``state``, which goes with all that belongs to it; ``closed`` to other accounts."""
    folder = Path(tempfile.mkdtemp(prefix="rg-demo-"))
    folder.chmod(0o700 if closed else 0o711)
    try:
        yield folder
    finally:
        for state in folder.iterdir():
            postgres.forget(state)
        shutil.rmtree(folder)


@contextmanager
def running_demo(state: str = "state") -> Iterator["Demo"]:
    """A demo while the context lasts; ``state`` names its folder."""
    with room() as folder:
        running = Demo(folder / state)
        yield running
        running.stop()


class Demo:
    """Runs from the end of ``__init__`` until ``stop``. Speaks to nobody's terminal."""

    def __init__(self, state: Path, *words: str) -> None:
        self.state = state
        self.words = words
        self._out = (state.parent / f"{state.name}.out").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "gateway", "demo", "--port", "0", "--state", str(state), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._out,
            text=True,
        )
        assert self.process.stdout is not None
        self.printed = ""
        for line in self.process.stdout:
            self.printed += line
            if "Ctrl-C stops" in line:
                break

    @property
    def err(self) -> str:
        self._out.flush()
        return Path(self._out.name).read_text()

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = orjson.loads((self.state / "demo.json").read_bytes())
        return facts

    @property
    def children(self) -> list[int]:
        """The servers it started."""
        return [int((self.state / f"{name}.pid").read_text()) for name in ("postgres", "seaweed")]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=READY_S)
        finally:
            self.process.kill()
            self._out.close()
        return self.process.returncode


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
