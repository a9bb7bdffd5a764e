"""The log's lines on their way to a stream that is slow, full, gone, or well again."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from select import PIPE_BUF

import pytest
import structlog
from parts.audit import until

from gateway import logs
from gateway.config import Log
from gateway.identity import keys
from gateway.logs import spool
from gateway.logs.spool import Spool

PATIENCE_S = 10.0
UNFIT = "unfit\n"
"""What no stream of these tests takes."""


class Stream:
    """Takes text while it is open, and fails while it is told to."""

    def __init__(self) -> None:
        self.taken = ""
        self.failing: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.writing = 0
        """How many writes have begun."""

    def write(self, text: str, /) -> int:
        self.writing += 1
        assert self.open.wait(PATIENCE_S)
        if self.failing is not None or text == UNFIT:
            raise self.failing or OSError(errno.EIO, "not that")
        self.taken += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def lines(stream):
    return Spool(stream, lambda count: f"lost {count}\n")


def test_lines_arrive_in_the_order_in_which_they_were_written(stream, lines):
    for number in range(1000):
        assert lines.write(f"{number}\n") == len(f"{number}\n")
    assert lines.drain(PATIENCE_S)
    assert stream.taken.split() == [str(number) for number in range(1000)]


def test_who_writes_to_a_stream_that_takes_nothing_does_not_wait_and_what_is_too_much_is_told_once_it_takes_again(
    stream, lines, monkeypatch
):
    monkeypatch.setattr(spool, "BOUND", 100)
    stream.open.clear()
    for number in range(10, 60):
        lines.write(f"{number}\nand\n")  # 7 of them are 98 characters or fewer
    assert not lines.drain(0.01)
    stream.open.set()
    assert lines.drain(PATIENCE_S)
    lines.write("again\n")
    assert lines.drain(PATIENCE_S)

    kept = [number for number in range(10, 60) if f"{number}\nand\n" in stream.taken]
    assert kept == [*range(10, 10 + 100 // len("10\nand\n"))]
    assert stream.taken.count(f"lost {2 * (50 - len(kept))}\n") == 1
    assert stream.taken.count("lost") == 1
    assert stream.taken.endswith("again\n")


@pytest.mark.parametrize(
    "failing",
    [BrokenPipeError(errno.EPIPE, "gone"), OSError(errno.ENOSPC, "full"), ValueError("closed")],
    ids=["gone", "full", "closed"],
)
def test_who_writes_to_a_stream_that_fails_hears_nothing_of_it_and_the_loss_is_told_once_it_takes_again(
    stream, lines, failing
):
    stream.failing = failing
    for _ in range(3):
        lines.write("never seen\n")
    assert lines.drain(PATIENCE_S)
    stream.failing = None
    lines.write("seen\n")
    lines.write("and more\n")
    assert lines.drain(PATIENCE_S)
    assert stream.taken == "seen\nlost 3\nand more\n"


def test_a_loss_that_could_not_be_told_is_told_later(stream, lines):
    stream.failing = OSError(errno.ENOSPC, "full")
    lines.write("never seen\n")
    assert lines.drain(PATIENCE_S)
    stream.failing = None
    tell, lines.lost = lines.lost, lambda _: UNFIT
    lines.write("seen\n")
    assert lines.drain(PATIENCE_S)
    lines.lost = tell
    lines.write("and more\n")
    assert lines.drain(PATIENCE_S)
    assert stream.taken == "seen\nand more\nlost 1\n"


def test_what_nothing_was_written_to_has_nothing_to_wait_for(lines):
    assert lines.drain(0)


def test_a_descriptor_is_the_log_s_own_whatever_becomes_of_the_stream(tmp_path: Path):
    with (tmp_path / "log").open("w") as file:
        lines = Spool(file, str)
    lines.write("told\n")
    assert lines.drain(PATIENCE_S)
    assert (tmp_path / "log").read_text() == "told\n"


def test_a_descriptor_gets_all_of_a_text_that_is_more_than_it_holds():
    told = "a line of some length\n" * 20_000
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as reader, os.fdopen(writes, "w", encoding="utf-8") as writer:
        lines = Spool(writer, str)
        lines.write(told)
        lines.write("\ud800 cannot be encoded\n")
        rest = "\\ud800 cannot be encoded\n"
        came = b""
        while len(came) < len(told) + len(rest):
            came += os.read(reader.fileno(), 65_536)
        assert lines.drain(PATIENCE_S)
    assert came.decode() == told + rest


@pytest.fixture
def configured(stream, monkeypatch):
    """Configures the process' log to go to the stream, and gives what waits for its last line; all is as it was afterwards."""
    monkeypatch.setattr(logs, "_out", logs._out)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    def configure(settings: Log = Log(), **always: object):  # noqa: B008  frozen
        logs.configure(settings, stream, **always)
        return lambda: logs._out.drain(PATIENCE_S)

    yield configure
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_was_lost_is_told_in_the_form_of_every_other_line(stream, configured, form):
    drained = configured(Log(format=form), worker=3)
    stream.failing = BrokenPipeError(errno.EPIPE, "gone")
    structlog.get_logger().warning("unheard")
    assert drained()
    stream.failing = None
    structlog.get_logger().warning("heard")
    assert drained()
    heard, lost = stream.taken.splitlines()
    assert "heard" in heard
    assert "log_lines_lost" in lost
    if form == "json":
        told = {"event": "log_lines_lost", "lines": 1, "level": "error", "worker": 3, "timestamp": ""}
        assert json.loads(lost) | {"timestamp": ""} == told


def test_lines_keep_their_order_where_the_log_is_configured_anew_meanwhile(stream, configured):
    """As a reload does: a thread for each would not know of the other."""
    stream.open.clear()
    configured()
    structlog.get_logger().info("before")
    drained = configured(Log(format="console"))
    structlog.get_logger().info("after")
    assert not logs._out.drain(0.05)
    assert stream.writing == 1
    stream.open.set()
    assert drained()
    before, after = stream.taken.splitlines()
    assert (json.loads(before)["event"], "after" in after) == ("before", True)


@pytest.mark.parametrize("odd", ["\udcff", 2**70, {"name": "\udcff"}, {("a", 1): 1}])
def test_a_line_with_what_json_does_not_hold_is_written_all_the_same(stream, configured, odd):
    drained = configured()
    structlog.get_logger().warning("told", odd=odd)
    assert drained()
    assert json.loads(stream.taken)["event"] == "told"


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_somebody_sent_steers_no_terminal_that_shows_the_log(stream, configured, form):
    drained = configured(Log(format=form))
    structlog.get_logger().warning("told", key="\x1b[2J\x7f\x9b2J\u202e\u200b\u2028é")
    assert drained()
    assert r"\u001b[2J\u007f\u009b2J\u202e\u200b\u2028é" in stream.taken
    assert form == "console" or json.loads(stream.taken)["key"] == "\x1b[2J\x7f\x9b2J\u202e\u200b\u2028é"


def test_who_has_logged_before_heeds_another_level_and_form_from_then_on(stream, configured):
    """As the supervisor does at a reload."""
    log = structlog.get_logger("any")
    drained = configured()
    log.info("told")
    assert drained()
    drained = configured(Log(level="warning", format="console"))
    log.info("too little")
    log.warning("in words")
    assert drained()
    first, second = stream.taken.splitlines()
    assert json.loads(first)["event"] == "told"
    assert "in words" in second
    assert not second.startswith("{")


def test_what_was_lost_is_told_in_the_form_that_is_configured_by_then(stream, configured):
    drained = configured()
    stream.failing = BrokenPipeError(errno.EPIPE, "gone")
    structlog.get_logger().warning("unheard")
    assert drained()
    stream.failing = None
    drained = configured(Log(format="console"))
    structlog.get_logger().warning("heard")
    assert drained()
    assert "log_lines_lost" in stream.taken
    assert "{" not in stream.taken


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_line_shows_a_credential_nor_what_variables_held(stream, configured, form):
    drained = configured(Log(format=form))
    password = "hunter" * 2
    try:
        int("rg_live_0123456789" + password[:1])
    except ValueError:
        structlog.get_logger().exception("defect", key="rg_live_abcdefghij")
    logging.getLogger("some.library").warning("Authorization: Bearer %s", "dG9rZW4tMTIz")
    assert drained()
    for secret in ("0123456789", "abcdefghij", "dG9rZW4tMTIz", password):
        assert secret not in stream.taken
    assert "[secret]" in stream.taken
    assert "ValueError: invalid literal" in stream.taken
    assert "some.library" in stream.taken


def test_of_a_library_warnings_are_told_once_and_no_less_than_them(stream, configured):
    configured()
    drained = configured()
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble")
    assert drained()
    (line,) = stream.taken.splitlines()
    assert json.loads(line)["event"] == "trouble"


async def test_lines_told_together_come_by_themselves_each_time(stream, configured):
    configured()
    told = logs.Lines(Log(), "request")
    for number in (1, 2):
        told.tell({"number": number})
        if number == 1:
            told.flush()
        await until(lambda: stream.taken.count("\n") == number)  # noqa: B023  asked at once
    assert [json.loads(line)["number"] for line in stream.taken.splitlines()] == [1, 2]
    assert all(json.loads(line)["timestamp"].endswith("Z") for line in stream.taken.splitlines())


async def test_lines_below_the_level_are_not_told(stream, configured):
    drained = configured()
    told = logs.Lines(Log(level="warning"), "request")
    told.tell({"number": 1})
    told.flush()
    assert drained()
    assert stream.taken == ""


def test_a_key_of_any_configured_prefix_is_struck_out():
    secret = keys.mint("acme_test").secret
    assert logs.strike_out(f"no key: {secret}.") == "no key: acme_test_[secret]."


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("rg_live_0123456789", "rg_live_[secret]"),  # cut short, as a traceback does
        ("t eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln.", "t [secret]."),
        ("Authorization: Bearer dG9rZW4tMTIz==;", "Authorization: Bearer [secret];"),
        ("'whsec_AbC+/123=='", "'[secret]'"),
        ("/v1/links/AQIDBAUGBwgJCgsMDQ4PEBES/x", "/v1/links/[secret]/x"),
        ("redis://:hunter2@cache:6379/0", "redis://[secret]@cache:6379/0"),
        ("postgresql://gateway:p%40ss:w@db,db2/x", "postgresql://[secret]@db,db2/x"),
        ("X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261102&x", "X-Amz-Credential=[secret]&x"),
        ("X-Amz-Signature=0123456789abcdef0123&x", "X-Amz-Signature=[secret]&x"),
        ("X-Amz-Security-Token=FwoG%2F_-Z&x", "X-Amz-Security-Token=[secret]&x"),
        ("call_0123456789 at 10:00@noon, https://host/path", "call_0123456789 at 10:00@noon, https://host/path"),
    ],
)
def test_whatever_looks_like_a_credential_is_struck_out_and_nothing_beside_it(told: str, left: str):
    assert logs.strike_out(told) == left


def test_a_long_line_that_is_no_token_takes_no_time():
    begun = time.thread_time()
    assert logs.strike_out(text := "eyJ" * 100_000) == text
    assert time.thread_time() - begun < 1


@pytest.mark.usefixtures("configured")
def test_a_command_logs_to_stderr_and_shows_no_variable_of_a_traceback(capsys):
    logs.for_commands()
    password = "hunter" * 2
    try:
        int(password[:1])
    except ValueError:
        structlog.get_logger("test").exception("defect", call=1)
    told = capsys.readouterr()
    assert told.out == ""
    assert "ValueError: invalid literal" in told.err
    assert password not in told.err


def a_pair() -> tuple[int, int]:
    """As ``os.pipe``, but sockets."""
    reads, writes = socket.socketpair()
    return reads.detach(), writes.detach()


WRITER = """
import asyncio, sys
from gateway import logs
from gateway.config import Log
worker, count, pad = map(int, sys.argv[1:])
logs.configure(Log(), worker=worker)
async def main():
    lines = logs.Lines(Log(), "request")
    for number in range(count):
        lines.tell({"method": "GET", "number": number, "pad": "x" * pad})
        if number % 60 == 59:
            lines.flush()
    print("told", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize(("count", "pad"), [(1200, 250), (60, 60_000)], ids=["short", "long"])
@pytest.mark.parametrize("ends", [os.pipe, a_pair], ids=["pipe", "socket"])
def test_lines_of_several_processes_on_one_stream_are_not_mixed(
    ends: Callable[[], tuple[int, int]], count: int, pad: int
):
    """A pipe takes no more than PIPE_BUF whole where it is full; journald has a socket."""
    reads, writes = ends()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(number), str(count), str(pad)], stdout=subprocess.PIPE, stderr=writes
        )
        for number in range(2)
    ]
    os.close(writes)
    for worker in workers:
        assert worker.stdout is not None
        with worker.stdout:
            assert worker.stdout.readline() == b"told\n"
    with os.fdopen(reads, "rb", buffering=0) as reader:  # now both wait for it to take any
        came = b"".join(iter(partial(reader.read, PIPE_BUF), b""))
    assert [worker.wait(10) for worker in workers] == [0, 0]
    seen = [(told["worker"], told["number"]) for told in map(json.loads, came.splitlines())]
    assert sorted(seen) == [(worker, number) for worker in range(2) for number in range(count)]


def test_who_dies_amid_a_line_keeps_no_other_from_writing():
    reads, writes = os.pipe()
    dying = subprocess.Popen([sys.executable, "-c", WRITER, "0", "60", "20000"], stdout=subprocess.PIPE, stderr=writes)
    with dying, os.fdopen(reads, "rb", buffering=0) as reader:
        assert dying.stdout is not None
        assert dying.stdout.readline() == b"told\n"
        assert reader.read(1) == b"{"  # it is amid the first one: a pipe holds no more than that
        dying.kill()
        dying.wait()
        with os.fdopen(writes, "w", encoding="utf-8") as writer:
            lines = Spool(writer, str)
            lines.write("another's\n")
            came = b""
            while b"another's\n" not in came:
                came += reader.read(65_536)
            assert lines.drain(PATIENCE_S)


FULL = """
import json, resource, signal, sys
from gateway.logs.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
with open(sys.argv[1], "a") as file:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    spool = Spool(file, lambda lines: json.dumps({"lost": lines}) + chr(10))
    for number in range(30):
        spool.write(json.dumps({"number": number, "pad": "x" * 50}) + chr(10))
    assert spool.drain(5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.write(json.dumps({"again": True}) + chr(10))
    assert spool.drain(5)
"""


def test_a_line_that_breaks_off_on_a_full_disk_takes_no_other_along(tmp_path: Path):
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "log")], check=True, timeout=30)
    whole, torn = [], []
    for line in (tmp_path / "log").read_text().splitlines():
        try:
            whole.append(json.loads(line))
        except json.JSONDecodeError:
            torn.append(line)
    assert len(torn) == 1
    numbers = [told["number"] for told in whole if "number" in told]
    assert [told for told in whole if "number" not in told] == [{"again": True}, {"lost": 30 - len(numbers)}]
