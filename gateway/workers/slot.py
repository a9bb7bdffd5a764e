"""One worker's place: a worker that ends is replaced, after a pause if it ends again and again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import structlog

from .crew import Crew, Worker
from .port import Port

log = structlog.get_logger("gateway.workers")

_STEADY_S = 30.0
"""Seconds of service after which a worker's end no longer counts as a failed start."""
_LONGEST_S = 30.0


class Slot:
    """Its socket stays open here while workers come and go, so that what the kernel has queued waits for the next one.

    Only where a worker ends again and again is the socket closed: then the kernel gives the others what it would have
    queued there, and a socket that listens once its worker is ready stands in its place.
    """

    def __init__(self, number: int, port: Port, crew: Crew) -> None:
        self.number = number
        self.up = asyncio.Event()
        """A worker has been ready."""
        self.status: int | None = None
        """How the last that did not become ready ended."""
        self._port = port
        self._crew = crew
        self._socket: socket.socket | None = port.socket(number, listening=True)
        self._worker: Worker | None = None
        self._asked: asyncio.Future[bool] | None = None
        self._wake = asyncio.Event()
        self._failures = 0
        self._wait_s = 0.0

    @property
    def worker(self) -> Worker | None:
        """Who serves."""
        return self._worker

    async def fill(self) -> bool:
        """Starts a worker, and has the one before it retire; False: it did not become ready, and all is as it was."""
        sock = self._socket
        try:
            sock = sock or self._port.socket(self.number, listening=False)
            worker = self._crew.start(self.number, sock)
            if not await worker.begun():
                self.status = None if worker.child.alive else worker.child.ended.result()
                return False
            self._socket, before = sock, self._worker
            self._worker = worker
        except OSError:
            log.exception("worker not started", worker=self.number)
            return False
        finally:
            if sock is not None and sock is not self._socket:
                sock.close()
        if before is not None:
            self._crew.retire(before)
        self.up.set()
        return True

    async def keep(self) -> None:
        """Sees to it that there is a worker, until it is cancelled."""
        while True:
            await self._due()
            asked, self._asked = self._asked, None
            self._wake.clear()
            filled = await self.fill()
            if not filled and self._worker is None:
                self._failed()
            if asked is not None:
                asked.set_result(filled)

    async def replace(self) -> bool:
        """As ``fill``, but done by the task that runs ``keep``."""
        self._asked = asyncio.get_running_loop().create_future()
        self._wake.set()
        return await self._asked

    def close(self) -> None:
        """Closes the slot's socket: the worker holds the last one then, and what is queued there is left to it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _due(self) -> None:
        """Waits until a worker is to be started: to replace the present one, or because that has ended and the pause is over."""
        if self._worker is not None:
            await self._worker.child.until(self._wake)
            if self._worker.child.alive:
                return
            if time.monotonic() - self._worker.ready_at >= _STEADY_S:
                self._failures = 0
            self._worker = None
            self._failed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._wake.wait()

    def _failed(self) -> None:
        self._failures += 1
        self._wait_s = wait_after(self._failures)
        if self._wait_s:
            log.error("worker failing", worker=self.number, times=self._failures, next_in_s=self._wait_s)
            self.close()


def wait_after(failures: int) -> float:
    """Seconds before the next try: none at first, then 1, and twice as long each time, up to half a minute."""
    return min(_LONGEST_S, 2.0 ** min(failures - 2, 10)) if failures > 1 else 0.0
