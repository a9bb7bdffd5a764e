"""Pipes that bytes are spliced through, from one socket to another: a stream has one only while bytes wait in it."""

from __future__ import annotations

import fcntl
import functools
import os
import socket
from typing import Final

import structlog

WANTED: Final = 1024 * 1024
"""Bytes of a pipe. Each packet takes a slot of 4096, however little is in it."""
LEAST: Final = 256 * 1024
"""Bytes below which a pipe costs more than copying does; the system gives such ones to a user who has many."""
FREE: Final = 8
"""Empty ones that are kept."""
AT_ONCE: Final = 56
"""Streams of one store that may have bytes waiting in a pipe, and pipes that it has at most: of this size Linux gives anybody 64.

What more streams there are is copied, and waits at the origin's socket.
"""

log = structlog.get_logger(__name__)


class Pipe:
    """``filled`` is kept by its user."""

    __slots__ = ("entry", "exit", "filled")

    def __init__(self) -> None:
        """Raises OSError."""
        self.exit, self.entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.filled = 0
        try:
            self._widen()
        except OSError:
            self.close()
            raise

    def _widen(self) -> None:
        try:
            fcntl.fcntl(self.entry, fcntl.F_SETPIPE_SZ, WANTED)
        except OSError:
            if fcntl.fcntl(self.entry, fcntl.F_GETPIPE_SZ) < LEAST:
                raise

    def close(self) -> None:
        os.close(self.entry)
        os.close(self.exit)


class Pipes:
    """The pipes of one store's reads, at most AT_ONCE."""

    def __init__(self) -> None:
        self._free: list[Pipe] = []
        self.used = 0

    def take(self) -> Pipe | None:
        """An empty one. None: there are enough, or the system gives no more."""
        if self._free:
            self.used += 1
            return self._free.pop()
        if self.used >= AT_ONCE:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self.used += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Back from whoever took it."""
        self.used -= 1
        if pipe.filled or len(self._free) >= FREE:
            pipe.close()
        else:
            self._free.append(pipe)

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


@functools.cache
def can_splice() -> bool:
    """Whether this system splices at all: not macOS, nor a sandbox that knows no such call. Tried once."""
    if not hasattr(os, "splice"):
        log.debug("no_zero_copy", why="the system has no splice(2)")
        return False
    near, far = socket.socketpair()
    exit_, entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        near.send(b"x")
        return os.splice(far.fileno(), entry, 1) == 1 and os.splice(exit_, far.fileno(), 1) == 1
    except OSError as error:
        log.debug("no_zero_copy", why=f"splice(2): {error.strerror}")
        return False
    finally:
        near.close()
        far.close()
        os.close(entry)
        os.close(exit_)
