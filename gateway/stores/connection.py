"""One connection to a store: asks for one answer at a time, and gives its bytes to whoever reads the body.

A plain non-blocking socket, or a TLS one driven the same way, waited for by the loop's ``add_reader``. That is left
standing while the connection is idle or in use, and taken off only where bytes wait that nobody wants yet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final, Protocol

from . import head as heads
from .dial import NARROW, bound
from .head import Head, NotHttp

PATIENCE: Final = 2
"""Times the loop may report bytes that nobody waits for, before the reader is removed."""
_START, _END = heads.START, heads.END
DRY = (BlockingIOError, ssl.SSLWantReadError)
FULL = (BlockingIOError, ssl.SSLWantWriteError)


class Stale(Exception):
    """A kept connection failed: the store closed it before answering at all, or sent something that is no answer."""


class Waiting(Protocol):
    """Who waits for an answer: a future, or what is told of it by the same calls, at once."""

    def done(self) -> bool: ...
    def set_result(self, result: tuple[Head, memoryview], /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class Connection:
    """``gone`` is called once, when it is closed."""

    __slots__ = (
        "_gathered", "_gone", "_head", "_loop", "_patience", "_reading", "_unsent", "_waiter",
        "_want", "_wide", "collect", "deadline", "descriptor", "idle", "since", "sock", "tls", "uses",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        gone: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self.sock = sock
        self.descriptor = sock.fileno()
        """-1 once it is closed."""
        self.tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._gone = gone
        self._waiter: asyncio.Future[None] | None = None
        self._head: Waiting | None = None
        self._want = 0
        self._gathered = b""
        self._unsent = b""
        self._reading = False
        self._patience = PATIENCE
        self.collect: Callable[[], None] | None = None
        """Called when there are bytes, in place of waking whoever waits in ``readable``."""
        self.deadline = inf
        """By the loop's clock: when ``expire`` is due."""
        self.idle = False
        self.since = 0.0
        """By the loop's clock: when it was last put by."""
        self.uses = 0
        self._wide = False

    def widen(self, size: int) -> None:
        """``size`` bytes of its answers may wait in the kernel; 0: it is not bounded at all, and nothing changes."""
        if size > NARROW and not self._wide:
            self._bound(size)
            self._wide = True

    def narrow(self) -> None:
        """Undoes ``widen``: the next client may be slow."""
        if self._wide:
            self._bound(NARROW)
            self._wide = False

    def _bound(self, size: int) -> None:
        with suppress(OSError):  # it may be larger than wished, but must not take back what has moved already
            bound(self.sock, size)

    def ask(self, request: bytes, want: int, deadline: float) -> asyncio.Future[tuple[Head, memoryview]]:
        """Sends ``request``; the answer's head, and what came of its body in one go with it, about ``want`` bytes at most.

        Raises Stale, NotHttp, TimeoutError (``deadline`` has passed), OSError.
        """
        answer: asyncio.Future[tuple[Head, memoryview]] = self._loop.create_future()
        self.ask_for(answer, request, want, deadline)
        return answer

    def ask_for(self, answer: Waiting, request: bytes, want: int, deadline: float) -> None:
        """As ``ask``, for whoever is told by ``answer``: perhaps before this returns.

        ``want`` 0: it stays where it is, and ``gather`` is for whoever takes it from there.
        """
        self.uses += 1
        self._head = answer
        self._want = want
        self.deadline = deadline
        try:
            self._send(request)
            if not self._reading and self._head is not None:
                self._read_on()
        except OSError as error:  # the system has no room to watch it
            self._fail(error)

    def gather(self, collect: Callable[[], None]) -> None:
        """``collect`` is called whenever more of the answer has come, until ``gathered``."""
        self.collect = collect
        if not self._reading:
            self._read_on()

    def gathered(self) -> None:
        """All has come."""
        self._head, self.collect, self.deadline = None, None, inf

    async def readable(self, patience_s: float) -> None:
        """Returns when there may be bytes. Raises TimeoutError, OSError."""
        if self.descriptor < 0:
            raise ConnectionAbortedError
        waiter = self._waiter = self._loop.create_future()
        self.deadline = self._loop.time() + patience_s
        try:
            if not self._reading:
                self._read_on()
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter, self.deadline = None, inf

    def put_by(self) -> bool:
        """Its answer was read to the end. Whether it may be used again; then it is watched until it is."""
        if self.tls is not None and self.tls.pending():
            return False
        self.narrow()
        try:
            if not self._reading:
                self._read_on()
        except OSError:  # the system has no room to watch it, and nobody would see it end
            return False
        return True

    def wake(self) -> None:
        """Whoever waits in ``readable`` returns."""
        waiter, self._waiter, self.deadline = self._waiter, None, inf
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def expire(self) -> None:
        """The deadline has passed: whoever waits is told."""
        self._fail(TimeoutError())

    def close(self) -> None:
        """At once; whoever waits is told."""
        if self.descriptor < 0:
            return
        if self._reading:
            self._loop.remove_reader(self.descriptor)
        if self._unsent:
            self._loop.remove_writer(self.descriptor)
        self.descriptor = -1
        self.collect = None
        self.sock.close()
        self._gone(self)
        self._fail(ConnectionAbortedError())

    def _fail(self, error: Exception) -> None:
        self.deadline = inf
        self._want = 0
        for future in (self._head, self._waiter):
            if future is not None and not future.done():
                future.set_exception(error)
        self._head = self._waiter = None

    def _send(self, request: bytes) -> None:
        try:
            sent = self.sock.send(request)
        except FULL:
            sent = 0
        except OSError as error:
            self._fail(Stale() if self.uses > 1 else error)
            return
        if sent < len(request):
            if not self._unsent:
                self._loop.add_writer(self.descriptor, self._send_on)
            self._unsent = request[sent:]
        elif self._unsent:
            self._unsent = b""
            self._loop.remove_writer(self.descriptor)

    def _send_on(self) -> None:
        self._send(self._unsent)

    def _read_on(self) -> None:
        self._loop.add_reader(self.descriptor, self._readable)
        self._reading = True
        self._patience = PATIENCE

    def _readable(self) -> None:
        if self._want:
            self._gather()
        elif self.collect is not None:
            self.collect()
        elif self._waiter is not None:
            self._patience = PATIENCE
            self.wake()
        elif self.idle:
            self._look()
        else:
            self._patience -= 1
            if self._patience <= 0:
                self._loop.remove_reader(self.descriptor)
                self._reading = False

    def _look(self) -> None:
        """Bytes came on an idle connection: a TLS record of TLS's own (a ticket, say) is read; anything else closes the connection."""
        try:
            self.sock.recv(1)
        except DRY:
            return
        except OSError:
            pass
        self.close()

    def _gather(self) -> None:
        """Takes what has come of the head. What TLS has decrypted is asked for again: the socket would not tell of it."""
        self._gather_once()
        while self._want and self.tls is not None and self.tls.pending():
            self._gather_once()

    def _gather_once(self) -> None:
        try:
            came = self.sock.recv(self._want)
        except DRY:
            return
        except OSError as error:
            self._fail(error if self._gathered or self.uses == 1 else Stale())
            return
        if not came:
            self._fail(ConnectionResetError() if self._gathered or self.uses == 1 else Stale())
            return
        try:
            self._answered(self._gathered + came if self._gathered else came)
        except NotHttp as error:  # on a kept connection, perhaps what came behind the answer before
            self._fail(error if self.uses == 1 else Stale())

    def _answered(self, came: bytes) -> None:
        """What has come of the answer so far. Of its body nothing is copied: it is looked at where it was received."""
        seen = len(self._gathered)
        while True:
            if not came.startswith(_START) and not _START.startswith(came):
                raise NotHttp
            end = came.find(_END, max(0, seen - len(_END)))
            if end < 0:
                if len(came) > heads.LONGEST:
                    raise NotHttp
                self._gathered = came
                return
            end += len(_END)
            head = Head(came[:end])
            self._gathered = b""
            if head.status >= heads.FINAL:
                break
            came, seen = came[end:], 0
        answer, self._head, self._want, self.deadline = self._head, None, 0, inf
        if answer is not None and not answer.done():
            answer.set_result((head, memoryview(came)[end:]))
