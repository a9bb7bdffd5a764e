"""What every command shares: how the configuration is found, how a failure ends, where output goes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console
from rich.text import Text

from ..config import Config, ConfigError, Unbindable, load

T = TypeVar("T")
WIDEST = 100_000


class Exit(IntEnum):
    """How a command ends; the larger numbers are those of sysexits(3)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    CONFIG = 78
    INTERRUPTED = 130


class Stop(click.ClickException):
    """Ends a command with a message on stderr and exit code 1; no traceback."""

    exit_code = int(Exit.FAILED)


class OutOfReach(Stop):
    """Postgres or a store is away."""

    exit_code = int(Exit.UNAVAILABLE)


class Refused(Stop):
    """The configuration is not taken."""

    exit_code = int(Exit.CONFIG)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns a refused configuration into Stop; a port that is taken is no such refusal."""
    try:
        yield
    except Unbindable as error:
        raise Stop(str(error)) from error
    except ConfigError as error:
        raise refused(error.problems) from error


def refused(problems: Iterable[str]) -> Refused:
    """Every problem on a line of its own."""
    return Refused("the configuration is refused:" + "".join(f"\n  {problem}" for problem in problems))


class Chosen:
    """The configuration the command line points at; read when a command needs it, so that --help needs none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def load(self) -> Config:
        """Reads and checks it, or stops with every problem on a line of its own."""
        with refusals():
            return load(self.path)


chosen = click.make_pass_decorator(Chosen)


def stderr() -> Console:
    """For people: progress and notes. Stdout holds only what a script may want."""
    return _wide(stderr=True)


def stdout() -> Console:
    """For tables."""
    return _wide()


def _wide(*, stderr: bool = False) -> Console:
    """On a terminal lines wrap; anywhere else each row stays one line, however long."""
    console = _plain(stderr=stderr)
    return console if console.is_terminal else _plain(stderr=stderr, width=WIDEST)


def visible(text: str) -> str:
    """``text`` on one line, with an escape for whatever would steer a terminal or not be seen there."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Visible(Console):
    """Every text that it is given to print, or that stands in a table's cell, is made visible."""

    def render_str(self, text: str, **options: Any) -> Text:  # Any: the library's own
        return super().render_str(visible(text), **options)


def _plain(*, stderr: bool = False, width: int | None = None) -> Console:
    """Names, keys and actors are others' words: what looks like markup in them is none."""
    return _Visible(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def timestamp(when: datetime | None) -> str | None:
    """ISO 8601 in UTC to the second, with ``Z``, for JSON on stdout."""
    return None if when is None else when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def json_line(value: object) -> bytes:
    """For stdout: times as ``timestamp`` has them."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs one command's coroutine. Ctrl-C ends it with 130 and no traceback; what is refused on the way with 78."""
    try:
        with refusals():
            return asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(int(Exit.INTERRUPTED)) from None


EXIT_CODES = """\b
Exit codes:
  0   done
  1   failed, or some of many failed
  2   wrong usage
  69  Postgres, a store or the journal is out of reach
  78  the configuration is refused
  130 interrupted by Ctrl-C"""


def examples(*lines: str) -> str:
    """An epilog that click leaves as it is written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
