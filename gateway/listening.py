"""Accepts clients' connections.

asyncio's own server, where no descriptor is left, tries once for each place in the backlog and logs every try with a
traceback: a backlog of 1024 so held up all that was served (docs/decisions/0002).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("gateway.listening")

REST_S: Final = 1.0
"""Seconds until the next try, where none can be taken."""
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Listening:
    """Takes what comes to ``sock`` until it is closed; ``made`` makes the protocol of each. For one event loop."""

    def __init__(self, sock: socket.socket, made: Callable[[], asyncio.Protocol], *, backlog: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._made = made
        self._backlog = backlog
        self._begun: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._problem: str | None = None
        sock.setblocking(False)
        sock.listen(backlog)
        self._watch()

    async def close(self) -> None:
        """Takes the connections that the kernel has queued first: closing would reset them, their requests unread."""
        self._loop.remove_reader(self._sock)
        if self._rest is not None:
            self._rest.cancel()
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(ConnectionError):  # one that has left again, behind which others wait
                    self._take()
        self._sock.close()
        if self._begun:
            await asyncio.wait(self._begun)

    def _watch(self) -> None:
        self._rest = None
        try:
            self._loop.add_reader(self._sock, self._take_all)
        except OSError as error:  # the system has no room to watch it, at present
            self._pause(error)

    def _take_all(self) -> None:
        try:
            for _ in range(self._backlog):
                self._take()
        except (BlockingIOError, ConnectionError):  # there are no more, or one that has left again
            pass
        except OSError as error:
            self._pause(error)
            return
        if self._problem is not None:
            log.info("connections taken again", problem=self._problem)
            self._problem = None

    def _take(self) -> None:
        accepted, _ = self._sock.accept()
        task = self._loop.create_task(self._begin(accepted))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, accepted)
        except OSError:  # it has left again
            accepted.close()

    def _pause(self, error: OSError) -> None:
        """Waits REST_S before the next try: the connection stays queued, and the loop would report it again at once."""
        self._loop.remove_reader(self._sock)
        self._rest = self._loop.call_later(REST_S, self._watch)
        problem = error.strerror or str(error)
        if problem != self._problem:
            fix = (
                {"fix": "raise the limit on open files (LimitNOFILE, ulimit -n)"}
                if error.errno in _NO_DESCRIPTOR
                else {}
            )
            log.error("no connection taken", problem=problem, **fix)
        self._problem = problem
