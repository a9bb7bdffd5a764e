"""The supervisor over workers that do next to nothing: how often it tries, when it gives up, what it kills."""

import asyncio
import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from parts.audit import until
from structlog.testing import capture_logs

from gateway import app, audit, logs
from gateway.config import Config, ConfigError, load
from gateway.lifecycle import sweeps
from gateway.lifecycle.webhooks import sender
from gateway.telemetry import tracing
from gateway.workers import crew, supervisor
from gateway.workers.child import Child
from gateway.workers.given import Given
from gateway.workers.slot import Slot, wait_after

READY = """
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
"""
OBEY = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))\n"
ANSWER = """
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    with listener.accept()[0] as one:
        one.sendall(slot.encode())
"""
STAY = "while True: time.sleep(60)\n"


class Run:
    """A supervisor within this process."""

    def __init__(self, folder: Path, script: str, *, count: int = 2, given: Given | None = None, **server: object):
        self.script = folder / "worker.py"
        self.write(script)
        self.config = Config(
            server={"port": 0, "drain_delay_s": 0, "drain_s": 0.3, "flush_s": 0.1} | server,
            audit={"journal_dir": folder / "journal"},
        )
        self.reads: Callable[[], Config] = partial(self.config.model_copy)
        command = [sys.executable, "-S", str(self.script)]
        work = supervisor.supervise(self.config, given or Given(), count, command, self.read)
        self.task = asyncio.create_task(work)

    def read(self) -> Config:
        return self.reads()

    def write(self, script: str) -> None:
        self.script.write_text(
            "import os, signal, socket, sys, time\nslot = os.environ['RECORDING_GATEWAY_WORKER']\n" + script
        )

    def signal(self, number: signal.Signals) -> None:
        assert signal.getsignal(number) is not signal.SIG_DFL, "it would end the tests"
        os.kill(os.getpid(), number)

    async def end(self) -> int:
        if not self.task.done():
            self.signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.task


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """What is logged."""
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    with capture_logs() as lines:
        yield lines


def lines(told: list[dict], event: str, **fields: object) -> list[dict]:
    return [line for line in told if line["event"] == event and fields.items() <= line.items()]


async def test_one_that_ends_at_once_again_and_again_is_started_ever_later(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, OBEY + READY + "if slot == '1': raise SystemExit(3)\n" + STAY)
    await until(lambda: len(lines(told, "worker failing")) == 3, within_s=30)
    assert await run.end() == 0
    assert [line["next_in_s"] for line in lines(told, "worker failing")] == [1, 2, 4]
    assert {line["worker"] for line in lines(told, "worker failing")} == {1}
    assert len(lines(told, "worker exited", worker=1, status=3)) == 4
    assert len(lines(told, "worker started", worker=0)) == 1


async def test_one_that_served_for_long_is_replaced_at_once_however_often_it_ends(
    tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.workers.slot._STEADY_S", 0.0)
    run = Run(tmp_path, OBEY + READY + "if slot == '1': raise SystemExit(3)\n" + STAY)
    await until(lambda: len(lines(told, "worker exited", worker=1, status=3)) >= 4, within_s=30)
    assert await run.end() == 0
    assert lines(told, "worker failing") == []


async def test_a_place_whose_socket_cannot_be_made_is_tried_again(told: list[dict]):
    class Port:
        left = 2

        def socket(self, _: int, *, listening: bool) -> socket.socket:
            self.left -= not listening
            if not listening and self.left == 1:
                raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
            return socket.socket()

    class Crew:
        def start(self, *_: object) -> None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    port = Port()
    slot = Slot(0, port, Crew())
    slot.close()
    keeping = asyncio.create_task(slot.keep())
    await until(lambda: port.left <= 0)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert len(lines(told, "worker not started")) == 2


async def test_a_child_that_cannot_be_watched_is_not_left_running(monkeypatch: pytest.MonkeyPatch):
    def fail(pid: int, _flags: int = 0) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    pids: list[int] = []
    monkeypatch.setattr(os, "pidfd_open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        Child.start([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), {})
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_waits_grow_to_half_a_minute():
    assert [wait_after(failures) for failures in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert wait_after(100_000) == 30


async def test_connections_of_a_worker_that_died_wait_for_its_successor(tmp_path: Path, told: list[dict]):
    held = tmp_path / "held"
    hold = f"while slot == '1' and os.path.exists({str(held)!r}): time.sleep(0.01)\n"
    run = Run(tmp_path, OBEY + hold + READY + ANSWER)
    await until(lambda: lines(told, "serving"))
    address = ("127.0.0.1", int(lines(told, "serving")[0]["url"].rpartition(":")[2]))
    held.touch()
    os.kill(lines(told, "worker ready", worker=1)[0]["pid"], signal.SIGKILL)
    await until(lambda: lines(told, "worker exited", worker=1, signal="SIGKILL"))
    connections = [await asyncio.open_connection(*address) for _ in range(30)]
    answers = [asyncio.create_task(reader.read()) for reader, _ in connections]
    await until(lambda: any(answer.done() for answer in answers))
    await until(lambda: len(lines(told, "worker started", worker=1)) == 2)
    assert not all(answer.done() for answer in answers), "the kernel gives some to each"
    held.unlink()
    assert set(await asyncio.wait_for(asyncio.gather(*answers), 20)) == {b"0", b"1"}
    for _, writer in connections:
        writer.close()
    assert await run.end() == 0


async def test_a_worker_that_a_nameless_signal_ended_is_told_of_and_replaced(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))
    number = signal.SIGRTMIN + 6
    os.kill(lines(told, "worker ready", worker=1)[0]["pid"], number)
    await until(lambda: lines(told, "worker exited", worker=1, signal=f"signal {number}"))
    await until(lambda: len(lines(told, "worker ready", worker=1)) == 2)
    assert await run.end() == 0


async def test_a_signal_amid_the_start_ends_what_has_begun(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, STAY)
    await until(lambda: lines(told, "worker started"))
    assert await run.end() == 0
    assert lines(told, "worker exited", signal="SIGTERM")


async def test_if_the_first_worker_is_refused_all_ends_with_what_it_said(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, "raise SystemExit(78)")
    assert await asyncio.wait_for(run.task, 20) == 78
    assert len(lines(told, "worker started")) == 1


def test_nobody_is_killed_within_what_is_promised_to_its_end():
    """docs/operating.md, "Stopping": beyond the times that are configured, each of these, one after the other."""
    ends = sweeps.LAST_S + sender._STOP_S + tracing._EXPORT_S
    hung = 2 * audit.GRACE_S + 12 * app._CANCEL_S  # writes to Postgres; requests, the listener, the pool
    assert ends + hung < crew.GRACE_S


async def test_what_overstays_is_killed(tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "GRACE_S", 0.2)
    run = Run(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + STAY)
    await until(lambda: lines(told, "serving"))
    assert await run.end() == 0
    assert len(lines(told, "worker killed")) == 2
    assert len(lines(told, "worker exited", signal="SIGKILL")) == 2


async def test_one_that_retires_and_overstays_is_killed(
    tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.workers.crew.GRACE_S", 0.2)
    ignoring = "signal.signal(signal.SIGQUIT, signal.SIG_IGN); signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
    run = Run(tmp_path, ignoring + READY + STAY)
    await until(lambda: lines(told, "serving"))
    run.signal(signal.SIGHUP)
    await until(lambda: len(lines(told, "worker killed")) == 2)
    assert lines(told, "reloaded")
    assert await run.end() == 0


async def test_one_that_does_not_become_ready_is_killed(
    tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.workers.crew._START_S", 0.3)
    run = Run(tmp_path, STAY)
    assert await asyncio.wait_for(run.task, 20) != 0
    assert lines(told, "worker not ready in time")
    assert len(lines(told, "worker exited", signal="SIGKILL")) == 1


async def test_a_reload_whose_worker_fails_leaves_the_old_ones_and_the_next_may_succeed(
    tmp_path: Path, told: list[dict]
):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))
    run.write("raise SystemExit(1)")
    run.signal(signal.SIGHUP)
    await until(lambda: lines(told, "not reloaded"))
    assert not lines(told, "worker exited", status=0)
    run.write(OBEY + READY + STAY)
    run.signal(signal.SIGHUP)
    await until(lambda: lines(told, "reloaded"))
    await until(lambda: len(lines(told, "worker exited", status=0)) == 2)
    assert await run.end() == 0


async def test_a_reload_that_cannot_be_read_starts_nothing(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))

    def refused() -> Config:
        raise ConfigError(["server.port: what?"])

    run.reads = refused
    run.signal(signal.SIGHUP)
    await until(lambda: lines(told, "not reloaded", problems=["server.port: what?"]))
    assert len(lines(told, "worker started")) == 2
    assert await run.end() == 0


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5000, "x = " + "9" * 5000, "[pipeline]\nkey_pattern = '(?P<surface>a)(?P<id>b{99999999999})'"],
)
async def test_a_reload_of_whatever_stands_in_the_file_ends_nobody(tmp_path: Path, told: list[dict], text: str):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    run.reads = partial(load, file)
    run.signal(signal.SIGHUP)
    await until(lambda: lines(told, "not reloaded") or run.task.done())
    assert not run.task.done()
    assert await run.end() == 0


async def test_what_only_a_restart_changes_is_named(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))
    run.reads = partial(run.config.listening_on, 4242)
    run.signal(signal.SIGHUP)
    await until(lambda: lines(told, "reloaded"))
    assert lines(told, "needs a restart", changed=["server.port"])
    assert await run.end() == 0


def test_each_key_that_only_a_restart_changes_is_named_and_no_other():
    changed = Config(server={"host": "::1", "port": 1, "workers": 2, "drain_s": 1}, metrics={"host": "::1", "port": 2})
    assert supervisor._lasting(Config(), changed) == [
        "server.host",
        "server.port",
        "server.workers",
        "metrics.host",
        "metrics.port",
    ]


async def test_whoever_started_it_is_told_once_all_are_ready(tmp_path: Path, told: list[dict]):
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waits:
        waits.bind(name)
        waits.setblocking(False)
        held = tmp_path / "held"
        wait = f"while slot == '1' and not os.path.exists({str(held)!r}): time.sleep(0.01)\n"
        run = Run(tmp_path, OBEY + wait + READY + STAY, given=Given(notify=name))
        await until(lambda: len(lines(told, "worker started")) == 2)
        with pytest.raises(BlockingIOError):
            waits.recv(100)
        held.touch()
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(waits, 100), 10) == b"READY=1"
        run.signal(signal.SIGHUP)
        assert (await asyncio.wait_for(loop.sock_recv(waits, 100), 10)).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert await asyncio.wait_for(loop.sock_recv(waits, 100), 10) == b"READY=1"
        assert await run.end() == 0
        assert waits.recv(100) == b"STOPPING=1"


@pytest.fixture
def brief() -> Iterator[Path]:
    """A folder with a name so short that whatever lies in it can be a socket."""
    with tempfile.TemporaryDirectory(prefix="rg-") as folder:
        yield Path(folder)


def test_workers_sockets_lie_in_the_journal_s_folder_where_the_temporary_one_s_path_is_too_long_for_them(
    tmp_path: Path, brief: Path, monkeypatch: pytest.MonkeyPatch
):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with supervisor._private_folder(Config(audit={"journal_dir": brief / "journal"})) as folder:
        assert folder.parent == brief / "journal"
        assert folder.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(folder / "1000000.sock"))
    assert [*long.iterdir(), *(brief / "journal").iterdir()] == []


@pytest.mark.parametrize(("length", "there"), [(67, True), (68, False)])
def test_the_temporary_folder_holds_sockets_up_to_the_length_that_a_refusal_names(
    brief: Path, monkeypatch: pytest.MonkeyPatch, length: int, *, there: bool
):
    temporary = brief / ("x" * (length - len(f"{brief}/")))
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with supervisor._private_folder(Config(audit={"journal_dir": brief})) as folder:
        assert folder.parent == (temporary if there else brief)


async def test_where_no_folder_can_hold_a_worker_s_socket_the_start_is_refused_and_the_fix_is_named(
    tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch
):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(ConfigError, match="set TMPDIR to such a folder"):
        await Run(long, STAY).task
    assert not lines(told, "worker started")
    assert {path.name for path in long.iterdir()} == {"worker.py", "journal"}
    assert list((long / "journal").iterdir()) == []


async def test_where_no_folder_can_be_written_to_the_start_is_refused_and_the_fix_is_named(
    tmp_path: Path, told: list[dict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    run = Run(tmp_path, STAY)
    (tmp_path / "journal").touch()
    with pytest.raises(ConfigError, match="set TMPDIR to such a folder"):
        await run.task
    assert not lines(told, "worker started")


async def test_a_second_supervisor_on_the_port_is_refused(tmp_path: Path, told: list[dict]):
    run = Run(tmp_path, OBEY + READY + STAY)
    await until(lambda: lines(told, "serving"))
    (serving,) = lines(told, "serving")
    config = run.config.listening_on(int(serving["url"].rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        await supervisor.supervise(config, Given(), 2, ["/bin/false"], lambda: config)
    assert await run.end() == 0
