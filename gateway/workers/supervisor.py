"""The process above the workers: it serves nobody, opens no store and no database, and so has little that could fail."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import structlog

from .. import logs
from ..config import Config, ConfigError
from ..telemetry.listener import merged_page, serve_page
from .crew import GRACE_S, Crew
from .given import READY, STOPPING, Given
from .port import APART, Port
from .signals import RELOAD, RETIRE, STOPS
from .slot import Slot

log = structlog.get_logger("gateway.workers")

_LONGEST_PATH = 107
"""Bytes that unix(7) leaves for a socket's path."""
_LONGEST_NAME = "9999999.sock"


class Supervisor:
    """Signals in, workers out."""

    def __init__(self, config: Config, given: Given, port: Port, crew: Crew, count: int) -> None:
        self._config = config
        self._given = given
        self._port = port
        self._crew = crew
        self._slots = [Slot(number, port, crew) for number in range(count)]
        self._told: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        self._reload = asyncio.Event()

    async def run(self, again: Callable[[], Config]) -> int:
        """Until a signal, and the exit status. ``again`` reads the configuration at each reload."""
        loop = asyncio.get_running_loop()
        for number in (*STOPS, RETIRE):
            loop.add_signal_handler(number, self._hear, number)
        loop.add_signal_handler(RELOAD, self._reload.set)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take children's ends with it
        work = asyncio.ensure_future(self._work(again))
        try:
            waits: list[asyncio.Future[Any]] = [work, self._told]  # Any: one brings a status, the other a signal
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            (ended,) = await asyncio.gather(work, return_exceptions=True)
            await self._end(self._told.result() if self._told.done() else signal.SIGTERM)
        if isinstance(ended, Exception):
            raise ended
        return ended if isinstance(ended, int) else 0

    async def _work(self, again: Callable[[], Config]) -> int:
        """Returns only if the first worker of all did not become ready: nor would another, and it has said why."""
        first, *others = self._slots
        if not await first.fill():
            return max(1, first.status or 1)
        async with asyncio.TaskGroup() as tasks:
            for slot in self._slots:
                tasks.create_task(slot.keep())
            for slot in others:
                await slot.up.wait()
            log.info("serving", url=self._port.url, workers=len(self._slots))
            self._given.tell(READY)
            while True:
                await self._reload.wait()
                self._reload.clear()
                self._given.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                await self._replace(again)
                self._given.tell(READY)
        raise AssertionError  # unreachable: the group re-raises

    async def _replace(self, again: Callable[[], Config]) -> None:
        try:
            config = again()
        except ConfigError as error:
            log.error("not reloaded", problems=error.problems)  # noqa: TRY400 - the problems say it all
            return
        if needs := _lasting(self._config, config):
            log.warning("needs a restart", changed=needs)
        begun = time.monotonic()
        log.info("reloading", workers=len(self._slots))
        for slot in self._slots:
            if not await slot.replace():
                log.error(
                    "not reloaded", worker=slot.number, detail="the new worker did not become ready; old ones go on"
                )
                return
        self._crew.settings = config.server
        logs.configure(config.log)
        log.info("reloaded", took_s=round(time.monotonic() - begun, 3))

    async def figures(self) -> bytes:
        """One page of all workers'."""
        nobody = Path("nobody")
        return await merged_page({str(s.number): s.worker.figures if s.worker else nobody for s in self._slots})

    async def _end(self, number: signal.Signals) -> None:
        self._given.tell(STOPPING)
        for slot in self._slots:
            slot.close()
        self._port.close()
        self._crew.signal(number)
        server = self._crew.settings
        await self._crew.gone(server.drain_delay_s + server.drain_s + server.flush_s + GRACE_S)
        log.info("stopped")

    def _hear(self, number: signal.Signals) -> None:
        if self._told.done():
            self._crew.signal(signal.SIGINT)
        else:
            self._told.set_result(number)


def _lasting(before: Config, after: Config) -> list[str]:
    """Keys that differ and are the supervisor's own."""
    keys = [("server", "host"), ("server", "port"), ("server", "workers"), ("metrics", "host"), ("metrics", "port")]
    return [f"{s}.{k}" for s, k in keys if getattr(getattr(before, s), k) != getattr(getattr(after, s), k)]


async def supervise(
    config: Config, given: Given, count: int, command: Sequence[str], again: Callable[[], Config]
) -> int:
    """Serves with ``count`` workers, each of them ``command``, until a signal. Raises OSError where the port is taken."""
    logs.configure(config.log)
    async with AsyncExitStack() as stack:
        port = Port(config, given.sockets)
        stack.callback(port.close)
        ours, its = os.pipe()[::-1]
        stack.callback(os.close, ours)
        leash = fcntl.fcntl(its, fcntl.F_DUPFD_CLOEXEC, APART)
        os.close(its)
        stack.callback(os.close, leash)
        crew = Crew(command, config.server, leash, stack.enter_context(_private_folder(config)))
        stack.enter_context(crew.notices)
        supervisor = Supervisor(config, given, port, crew, count)
        if config.metrics.port is not None:
            page = serve_page(supervisor.figures, host=config.metrics.host, port=config.metrics.port)
            log.info("serving figures", port=await stack.enter_async_context(page))
        return await supervisor.run(again)


@contextmanager
def _private_folder(config: Config) -> Iterator[Path]:
    """A new one, for sockets. Where the temporary folder can't hold them the journal's does, as in a container. Raises ConfigError."""
    made = _holding_sockets("recording-gateway-") or _holding_sockets("sockets-", config.audit.journal_dir)
    if made is None:
        problem = "the workers' sockets need a folder that may be written to, and whose path is 67 bytes long at most"
        raise ConfigError([f"TMPDIR: {problem}; neither it nor audit.journal_dir is one: set TMPDIR to such a folder"])
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _holding_sockets(prefix: str, parent: Path | None = None) -> Path | None:
    """A new folder; None: nothing may be written there, or its path leaves no room for a socket's name."""
    try:
        if parent is not None:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError:
        return None
    if len(os.fsencode(made / _LONGEST_NAME)) <= _LONGEST_PATH:
        return made
    made.rmdir()
    return None
