"""The command line as a user has it: arguments in, stdout, stderr and an exit code out."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import tomlkit
from click.testing import CliRunner

from gateway.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, object]]:
        """What it printed, a JSON object a line."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def table(self) -> list[list[str]]:
        """What it printed below a table's head: the cells of each line."""
        return [re.split(" {2,}", line.strip()) for line in self.out.splitlines()[1:]]


@dataclass(frozen=True)
class Command:
    """``recording-gateway`` with a configuration file of the test's own, run within the test's process."""

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        path = self.folder / "gateway.toml"
        path.write_text(tomlkit.dumps(self.settings))
        return path

    def __call__(self, *words: object, input: str | None = None) -> Ended:  # noqa: A002  as click's runner has it
        arguments = ["--config", str(self.file), *(str(word) for word in words)]
        result = CliRunner().invoke(main, arguments, input=input, prog_name="recording-gateway")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)


def fetch(command: Command, query: str) -> list[asyncpg.Record]:
    """From its database, as the owner of that."""

    async def work() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(command.settings["database"]["url"])
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()

    return asyncio.run(work())


def process(*words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
    """``recording-gateway`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", *(str(word) for word in words)],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509  nothing here has threads that hold a lock across it
    )


def _heed_interrupts() -> None:
    """A test run in the background ignores Ctrl-C, and a child would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(process: subprocess.Popen[str], *, within_s: float = 30) -> Ended:
    """Waits for it."""
    out, err = process.communicate(timeout=within_s)
    return Ended(process.returncode, out, err)
