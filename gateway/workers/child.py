"""A child process: started by posix_spawn, watched and signalled by a pidfd, which never names another process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self


class Child:
    """Runs, or has ended. In a process group of its own: Ctrl-C reaches the supervisor alone, which passes it on."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started = time.monotonic()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit status; of one that was killed, the signal's number below zero."""
        self._watch = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watch, self._reap)

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], descriptors: Mapping[int, int]) -> Self:
        """``descriptors``: number in the child → descriptor here; each of ours must be above all numbers of the child. Raises OSError."""
        moves = [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in descriptors.items()]
        pid = os.posix_spawn(command[0], [*command], environment, file_actions=moves, setpgroup=0)
        try:
            return cls(pid)
        except OSError:  # no descriptor to watch it by: nobody would know of it
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    def signal(self, number: signal.Signals) -> None:
        """Harmless where it has ended."""
        if self.alive:
            signal.pidfd_send_signal(self._watch, number)

    async def until(self, event: asyncio.Event, within_s: float | None = None) -> None:
        """Waits for ``event``, no longer than it lives."""
        told = asyncio.ensure_future(event.wait())
        waits: list[asyncio.Future[Any]] = [told, self.ended]  # Any: one brings True, the other a status
        try:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()

    def _reap(self) -> None:
        end = os.waitid(os.P_PIDFD, self._watch, os.WEXITED)
        asyncio.get_running_loop().remove_reader(self._watch)
        os.close(self._watch)
        if end is None or self.ended.done():
            return
        self.ended.set_result(end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
