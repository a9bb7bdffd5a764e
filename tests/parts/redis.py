"""A real Redis, which may be killed, frozen and started again on its port."""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gateway.demo.ports import free_ports

_READY_S = 60.0


class StoppableRedis:
    """A server on loopback that keeps nothing on disk: what starts again is empty."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.folder = Path(tempfile.mkdtemp(prefix="rg-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Returns once it answers."""
        words = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no", "dir": str(self.folder)}
        command = ["redis-server", *(word for name, value in words.items() for word in (f"--{name}", value))]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + _READY_S
        while True:
            try:
                assert self.ask("PING") == "PONG"
            except ConnectionError:
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.01)  # it tells nobody that it listens
            else:
                return

    def kill(self) -> None:
        """At once; whoever is connected is cut off."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """The answer to one command: a word, a number or a text; of a list, its items in lines."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            said = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{said}".encode())
            with connection.makefile("rb") as answer:
                return _read(answer)

    def counted(self) -> dict[str, int]:
        """Every key, and the seconds it has left; -1: it stays for ever."""
        return {name: int(self.ask("TTL", name)) for name in self.ask("KEYS", "*").splitlines()}

    def refusals(self, code: str) -> int:
        """How many commands were refused so since it started."""
        found = re.search(rf"errorstat_{code}:count=([0-9]+)", self.ask("INFO", "errorstats"))
        return int(found[1]) if found else 0

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)


def _read(answer: BinaryIO) -> str:
    """RESP2, as far as it is met here. Raises ConnectionError where nothing comes."""
    line = answer.readline().decode().rstrip()
    if not line:
        raise ConnectionResetError("no answer")
    match line[0]:
        case "*":
            return "\n".join(_read(answer) for _ in range(int(line[1:])))
        case "$":
            return answer.read(int(line[1:]) + 2)[:-2].decode()
        case _:
            return line[1:]
