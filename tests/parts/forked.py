"""Processes that begin with a gateway's modules imported: forked from one that imported them once, for all tests of a worker.

Two thirds of a gateway's start are imports, and tests start some hundred and fifty. Those of the command line, of several workers and of
the demo begin as a user's do.
"""

import atexit
import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

IMPORTED = (
    "gateway.app",
    "gateway.config",
    "gateway.stores.disk",
    "gateway.stores.gcs",
    "gateway.stores.s3",
    "gateway.workers.process",
)
_MOST = 1 << 18
"""Bytes of an order."""
_MOST_FDS = 1 << 16
_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)


class Forked:
    """What tests use of a ``subprocess.Popen``, of a process whose parent is another."""

    def __init__(self, pid: int, report: socket.socket, stderr: TextIO) -> None:
        self.pid = pid
        self.stderr = stderr
        self.returncode: int | None = None
        self._report = report
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, -N for signal N. Raises subprocess.TimeoutExpired after so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            if self.returncode is None:
                left = None if end is None else max(end - time.monotonic(), 0)
                if not select.select([self._report], [], [], left)[0]:
                    raise subprocess.TimeoutExpired("a forked gateway", timeout or 0)
                self.returncode = int(self._report.recv(16))
                self._report.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Forker:
    """Imports at once, and forks as often as it is asked."""

    def __init__(self, shared: Mapping[str, str]) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            # -P: beside this file lies one that has the name of a library.
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, env=shared, pass_fds=(theirs.fileno(),))
        atexit.register(self._close)

    def fork(self, code: str, env: Mapping[str, str], cwd: Path) -> Forked:
        limits = {number: resource.getrlimit(number) for number in _LIMITS}
        order = json.dumps({"code": code, "env": dict(env), "cwd": str(cwd), "limits": limits}).encode()
        ours, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        heard, stderr = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._orders, [order], [0, 1, stderr, report.fileno()])
        finally:
            report.close()
            os.close(stderr)
        return Forked(int(ours.recv(16)), ours, os.fdopen(heard, encoding="utf-8"))

    def _close(self) -> None:
        self._orders.close()
        self._process.wait()


def start(code: str, *, env: Mapping[str, str], own: str, cwd: Path) -> Forked:
    """``python -c CODE`` in ``cwd``; its stderr is a pipe.

    Variables whose names begin with ``own`` are read by the code alone; under others modules might import as something else.
    """
    return _forker(frozenset((k, v) for k, v in env.items() if not k.startswith((own, "PYTEST_")))).fork(code, env, cwd)


@cache
def _forker(shared: frozenset[tuple[str, str]]) -> _Forker:
    return _Forker(dict(shared))


def _become(order: dict[str, Any], fds: Sequence[int]) -> None:
    """What ``subprocess`` would have set up."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, _MOST_FDS)
    for number, limits in order["limits"].items():
        resource.setrlimit(int(number), limits)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.argv = ["-c"]


def _serve(orders: socket.socket) -> str:
    """Forks until whoever asks is gone. Returns in the forked processes, with the code they shall run."""
    running: dict[int, tuple[int, int]] = {}
    """pidfd → pid, report"""
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != orders.fileno():
                poll.unregister(ready)
                pid, report = running.pop(ready)
                os.write(report, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(report)
                os.close(ready)
                continue
            text, fds, _, _ = socket.recv_fds(orders, _MOST, 4)
            if not text:
                sys.exit()
            *standard, report = fds
            pid = os.fork()
            if not pid:
                order = json.loads(text)
                orders.detach()
                _become(order, standard)
                return str(order["code"])
            os.write(report, b"%d" % pid)
            for fd in standard:
                os.close(fd)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, report
            poll.register(pidfd, select.POLLIN)


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # or the first collection of each would copy all it looks at
    code = _serve(socket.socket(fileno=int(sys.argv[1])))
    exec(code, {"__name__": "__main__"})  # noqa: S102  as `python -c` does
