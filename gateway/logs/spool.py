"""Text on its way to a stream that may be slow, full or gone.

A pipe whose reader hangs takes 64 KiB and then holds up whoever writes: an event loop, and with it every body on its way.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import queue
import stat
import threading
from collections.abc import Callable, Iterator
from select import PIPE_BUF
from typing import Final, Protocol

BOUND: Final = 4 * 1024 * 1024
"""Characters that may wait."""
EXIT_S: Final = 2.0
"""Seconds that the stream gets to take the rest when the process ends."""
_LINE_END: Final = ord("\n")


class Writable(Protocol):
    """As much of a TextIO as a log needs."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...


class Spool:
    """A Writable whose writers never wait and never fail. A thread hands on to ``stream`` what they wrote, in its order.

    What would make more than BOUND wait is dropped, and so is what the stream refuses (its reader has gone, its disk is
    full). ``lost`` words the line that tells of so many lines once the stream takes some again.
    """

    def __init__(self, stream: Writable, lost: Callable[[int], str]) -> None:
        self.stream = stream
        self.lost = lost
        self._hand_on = _handing_on(stream)
        self._queue: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str, /) -> int:
        with self._lock:
            if self._waiting + len(text) > BOUND:
                self._dropped += text.count("\n")
            else:
                self._waiting += len(text)
                self._queue.put(text)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                    self._thread.start()
                    atexit.register(self.drain, EXIT_S)
        return len(text)

    def flush(self) -> None:
        """Nothing: the thread does so after each write."""

    def drain(self, within_s: float) -> bool:
        """Waits until the stream has what was written; whether it has."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._queue.put(done)
        return done.wait(within_s)

    def _run(self) -> None:
        while True:
            text = self._queue.get()
            if isinstance(text, threading.Event):
                text.set()
                continue
            took = self._tell(text)
            with self._lock:
                self._waiting -= len(text)
                if not took:
                    self._dropped += text.count("\n")
                lost = self._dropped if took else 0
                self._dropped -= lost
            if lost and not self._tell(self.lost(lost)):
                with self._lock:
                    self._dropped += lost

    def _tell(self, text: str) -> bool:
        try:
            self._hand_on(text)
        except (OSError, ValueError):  # ValueError: it was closed
            return False
        return True


def _handing_on(stream: Writable) -> Callable[[str], None]:
    """A writer to ``stream``. Where there is a descriptor it bypasses the stream's buffer, which would keep failed text and resend it."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.flush()
        descriptor = os.dup(stream.fileno())  # type: ignore[attr-defined]  # one without goes the other way
        return _Descriptor(descriptor).write

    def through(text: str) -> None:
        stream.write(text)
        stream.flush()

    return through


class _Descriptor:
    """Writes whole lines where others, as the other workers, may write to the same pipe or socket.

    Who writes as this does waits meanwhile. From anybody else's the kernel keeps lines apart as far as a pipe takes them
    whole: no more than that go at once. Begins a new line where the last text broke off within one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False
        mode = os.fstat(descriptor).st_mode
        self._shared = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        with self._alone():
            self._write(data)

    def _write(self, data: bytes) -> None:
        data = b"\n" + data if self._torn else data
        left, at = memoryview(data), 0
        while at < len(left):
            end = at + PIPE_BUF
            if end < len(left):
                end = data.rfind(b"\n", at, end) + 1 or data.find(b"\n", end) + 1 or len(left)
            at += os.write(self._descriptor, left[at:end])
            self._torn = left[at - 1] != _LINE_END

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Whoever else writes as this does waits while the context lasts."""
        # A record lock is the process' own, and ends with it; flock's is the open file's, of which the workers have one.
        with contextlib.suppress(OSError):  # a kernel that locks no such thing: lines are written all the same
            if self._shared:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if self._shared:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
