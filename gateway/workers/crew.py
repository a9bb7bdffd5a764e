"""Every live worker: starting, serving or retiring."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import structlog

from ..config import Server
from ..telemetry.listener import SOCKET as FIGURES
from .child import Child
from .given import FIRST, LEASH, READY, SLOT
from .notices import Notices
from .signals import RETIRE, signal_name

log = structlog.get_logger("gateway.workers")

GRACE_S = 20.0
"""Seconds a worker has beyond those that it was configured to end in: sweep, webhooks, spans and connections take theirs."""
_START_S = 60.0
_OURS = {SLOT, LEASH, "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"}


class Worker:
    """A child that serves a slot, or is about to."""

    def __init__(self, slot: int, child: Child, figures: Path) -> None:
        self.slot = slot
        self.child = child
        self.figures = figures
        """The socket it serves them at."""
        self.ready = asyncio.Event()
        self.ready_at = 0.0
        self.leaving = False
        """It was told to end, so its exit is no failure."""

    async def begun(self) -> bool:
        """Waits until it is ready; False: it ended first, or took too long and was killed."""
        await self.child.until(self.ready, _START_S)
        if self.child.alive and not self.ready.is_set():
            log.error("worker not ready in time", worker=self.slot, pid=self.child.pid, after_s=_START_S)
            self.child.signal(signal.SIGKILL)
        return self.ready.is_set()


class Crew:
    """Starts workers with ``command``. The pipe whose reading end is ``leash`` tells them when this process is gone."""

    def __init__(self, command: Sequence[str], settings: Server, leash: int, folder: Path) -> None:
        """``folder`` is for the workers' sockets."""
        self._command = command
        self._folder = folder
        self._numbers = count()
        self.notices = Notices(self._heard)
        """To be entered before any worker starts."""
        self._leash = leash
        self.settings = settings
        self.workers: dict[int, Worker] = {}
        """By process id."""

    def start(self, slot: int, sock: socket.socket) -> Worker:
        """A new worker for ``slot``, which is to listen on ``sock``. Raises OSError."""
        with contextlib.suppress(OSError):  # without it there are no figures, and all else
            self._folder.mkdir(mode=0o700, exist_ok=True)  # temporary folders are tidied
        figures = self._folder / f"{next(self._numbers)}.sock"
        own = {
            SLOT: str(slot),
            LEASH: str(FIRST + 1),
            FIGURES: str(figures),
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": self.notices.address,
        }
        inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
        child = Child.start(self._command, inherited | own, {FIRST: sock.fileno(), FIRST + 1: self._leash})
        worker = self.workers[child.pid] = Worker(slot, child, figures)
        child.ended.add_done_callback(lambda ended: self._ended(worker, ended.result()))
        log.info("worker started", worker=slot, pid=child.pid)
        return worker

    def retire(self, worker: Worker) -> None:
        """Another has its slot now."""
        worker.leaving = True
        worker.child.signal(RETIRE)
        within_s = self.settings.drain_s + self.settings.flush_s + GRACE_S
        asyncio.get_running_loop().call_later(within_s, self._overstayed, worker, within_s)

    def signal(self, number: signal.Signals) -> None:
        """Tells all of them to end."""
        for worker in self.workers.values():
            worker.leaving = True
            worker.child.signal(number)

    async def gone(self, within_s: float) -> None:
        """Waits until none lives; kills those that overstay."""
        ends = [worker.child.ended for worker in self.workers.values()]
        if ends:
            await asyncio.wait(ends, timeout=within_s)
        for worker in list(self.workers.values()):
            self._overstayed(worker, within_s)
            await asyncio.wait([worker.child.ended])

    def _heard(self, pid: int, state: str) -> None:
        worker = self.workers.get(pid)
        if worker is not None and state == READY and not worker.ready.is_set():
            worker.ready_at = time.monotonic()
            worker.ready.set()
            took_s = round(worker.ready_at - worker.child.started, 3)
            log.info("worker ready", worker=worker.slot, pid=pid, took_s=took_s)

    def _overstayed(self, worker: Worker, after_s: float) -> None:
        if worker.child.alive:
            log.error("worker killed", worker=worker.slot, pid=worker.child.pid, after_s=after_s)
            worker.child.signal(signal.SIGKILL)

    def _ended(self, worker: Worker, status: int) -> None:
        del self.workers[worker.child.pid]
        worker.figures.unlink(missing_ok=True)
        how = {"signal": signal_name(-status)} if status < 0 else {"status": status}
        tell = log.info if worker.leaving and status == 0 else log.error
        tell("worker exited", worker=worker.slot, pid=worker.child.pid, **how)
