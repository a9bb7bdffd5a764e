"""``recording-gateway`` started as systemd starts it: with sockets from descriptor 3 on, meant for that process."""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import socket

from .command import Ended, ended, process

_APART = 100
LAUNCH = """
import os, sys
apart, count, *words = sys.argv[1:]
for at in range(int(count)):
    os.dup2(int(apart) + at, 3 + at, inheritable=True)
os.environ.update(LISTEN_FDS=count, LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "gateway", *words])
"""


@dataclass
class Started:
    """It serves at ``url``."""

    process: "subprocess.Popen[str]"
    url: str = ""

    async def line(self, words: str) -> str:
        """The next line of its log that has ``words``."""
        assert self.process.stderr is not None
        line = await asyncio.to_thread(self.process.stderr.readline)
        while words not in line:
            assert line, f"it ended and never said {words}"
            line = await asyncio.to_thread(self.process.stderr.readline)
        return line

    async def end(self, number: signal.Signals) -> Ended:
        self.process.send_signal(number)
        return await asyncio.to_thread(ended, self.process)


@asynccontextmanager
async def started(
    *words: object, sockets: Sequence[socket] = (), env: Mapping[str, str] | None = None
) -> AsyncIterator[Started]:
    """Killed at the end, should it still run."""
    one = Started(given(words, sockets) if sockets else process(*words, env=env))
    try:
        (one.url,) = re.findall(r'"url":"(http://[^"]+)"', await one.line('"serving"'))
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            ended(one.process)


def given(words: Sequence[object], sockets: Sequence[socket]) -> "subprocess.Popen[str]":
    """Started, whatever becomes of it."""
    apart = [fcntl.fcntl(sock, fcntl.F_DUPFD, _APART) for sock in sockets]
    assert apart == list(range(_APART, _APART + len(sockets)))
    try:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(_APART), str(len(sockets)), *map(str, words)],
            pass_fds=apart,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        for descriptor in apart:
            os.close(descriptor)
