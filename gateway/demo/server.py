"""A server that the demo starts, and stops: that one and no other."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from .state import DemoFailed

READY_S = 60
STOP_S = 15


class Server:
    """A child in a session of its own, so that Ctrl-C reaches the demo alone, which stops its children in order.

    Its pid lies in a file that the child itself keeps locked: while the lock holds, the pid is that child's and nobody
    else's. A run that was killed leaves its children behind; the next one finds them that way.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, stop: signal.Signals) -> None:
        self.name = name
        self._process = process
        self._stop = stop

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        ready: Callable[[], Awaitable[bool]],
        stop: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
        user: tuple[int, int] | None = None,
    ) -> Self:
        """Starts ``command`` (as ``user``, a uid and a gid) and returns once ``ready``. Raises DemoFailed, naming its log."""
        log = folder / f"{name}.log"
        log.touch(mode=0o600)
        with ExitStack() as files:
            pid_file = os.open(folder / f"{name}.pid", os.O_RDWR | os.O_CREAT, 0o600)
            files.callback(os.close, pid_file)
            await _end_leftover(name, pid_file, stop)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=files.enter_context(log.open("wb")),
                stderr=asyncio.subprocess.STDOUT,
                cwd=folder,
                env=environment,
                pass_fds=(pid_file,),
                start_new_session=True,
                user=user and user[0],
                group=user and user[1],
                extra_groups=user and [],
            )
            os.pwrite(pid_file, f"{process.pid}\n".encode(), 0)
        server = cls(name, process, stop)
        try:
            async with asyncio.timeout(READY_S):
                while process.returncode is None and not await ready():  # noqa: ASYNC110 - another process tells no Event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await server.stop()
            raise DemoFailed(f"{name} was not ready within {READY_S} s; see {log}") from None
        except BaseException:
            await server.stop()
            raise
        if process.returncode is not None:
            raise DemoFailed(f"{name} ended with {process.returncode} before it was ready; see {log}")
        return server

    async def stop(self) -> None:
        """Asks it to end, and ends it where it does not. Harmless where it has ended by itself."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(self._stop)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _end_leftover(name: str, pid_file: int, stop: signal.Signals) -> None:
    """Returns with the file locked, by this process and whoever inherits it."""
    if _locked(pid_file):
        os.ftruncate(pid_file, 0)
        return
    pid = int(os.pread(pid_file, 32, 0) or b"0")
    for number in (stop, signal.SIGKILL):
        if pid:
            os.kill(pid, number)
        for _ in range(STOP_S * 20):
            if _locked(pid_file):
                os.ftruncate(pid_file, 0)
                return
            await asyncio.sleep(0.05)
    raise DemoFailed(f"{name}: an earlier run's server (pid {pid}) does not end; end it by hand")


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
