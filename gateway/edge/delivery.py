"""The one way for bytes to leave: from a Source to the client's socket, at the client's pace.

Where both ends allow it the kernel moves them (``_pour``); else they pass through here (``_carry``), the twin that is
always right. A body that cannot be finished is never ended politely: Content-Length was promised, so the connection is
aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from dataclasses import dataclass
from typing import TypeGuard

from aiohttp import web

from ..errors import Broken, Changed, Refusal
from ..event import CLIENT_GONE, COMPLETE, INTERRUPTED, ORIGIN_FAILED, Result
from ..model import Pourable, Source
from .outlet import Outlet
from .server import Connection

_TURN = 1024 * 1024
"""Bytes after which others have their turn."""


@dataclass(slots=True)
class Delivery:
    """How far a body came.

    ``sent`` counts body bytes handed to the client's socket. Where the client cut that short it may be over by a piece,
    never under. ``detail`` is for the operator's log.
    """

    sent: int = 0
    result: Result = INTERRUPTED
    reason: str | None = None
    detail: str | None = None
    began: float | None = None
    """When the first of the body had left, by the loop's clock."""


async def deliver(
    request: web.BaseRequest,
    head: bytes,
    source: Source,
    length: int,
    came: Delivery,
    *,
    stall_s: float,
    zero_copy: bool = True,
) -> None:
    """Moves ``head`` and ``length`` bytes. Raises ConnectionError once the connection is aborted; ``came``: how far it was."""
    came.result, came.reason = CLIENT_GONE, "before_first_byte"
    outlet = Outlet(request)
    came.result, came.reason = INTERRUPTED, None
    watch = _Watch(outlet.transport, came, stall_s)
    try:
        await _begin(outlet, head, source, came, watch)
        if zero_copy and outlet.direct and _pourable(source):
            await _pour(outlet, source, length, came, watch)
        else:
            await _carry(outlet, source, came, watch)
        if came.sent != length:
            raise Broken(f"{came.sent} of {length} bytes came")  # noqa: TRY301  ends as a break anywhere else does
        came.result = COMPLETE
    except (Broken, Changed, Refusal) as error:
        came.result = ORIGIN_FAILED
        came.reason = "object_changed" if isinstance(error, Changed) else "origin_broken"
        came.detail = str(error)
        came.sent = max(came.sent - outlet.transport.get_write_buffer_size(), 0)
        outlet.transport.abort()
        raise ConnectionAbortedError("the body could not be finished") from error
    except (OSError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and not lost(request):
            came.result, came.reason = INTERRUPTED, "shutdown"
            outlet.transport.abort()
            raise
        came.result = CLIENT_GONE
        if watch.stalled is not None:
            came.sent, came.reason = watch.stalled, "stalled"
        outlet.transport.abort()
        if isinstance(error, ConnectionError | asyncio.CancelledError):
            raise
        raise ConnectionResetError("the client's socket failed") from error
    finally:
        watch.stop()
        outlet.close()


async def take_rest(connection: Connection, transport: asyncio.Transport, came: Delivery, *, stall_s: float) -> None:
    """Waits until the client has what its ``transport`` holds, of which ``came.sent`` bytes are a body's; ``came``: how it ended."""
    watch = _Watch(transport, came, stall_s)
    watch.begin()
    try:
        await connection.drained()
        came.result = COMPLETE
    except (OSError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and not connection.lost:
            came.result, came.reason = INTERRUPTED, "shutdown"
        else:
            came.result = CLIENT_GONE
            if watch.stalled is not None:
                came.sent, came.reason = watch.stalled, "stalled"
        transport.abort()
    finally:
        watch.stop()


async def deliver_whole(request: web.BaseRequest, head: bytes, body: bytes, *, stall_s: float) -> None:
    """Hands over an answer that is all here. Raises ConnectionError once the connection is gone, or aborted."""
    outlet = Outlet(request)
    watch = _Watch(outlet.transport, Delivery(sent=len(body)), stall_s)
    try:
        if not outlet.offer(head, body):
            watch.begin()
            await outlet.taken()
    except asyncio.CancelledError:  # closing, the transport would wait for a client that may read nothing
        outlet.transport.abort()
        raise
    finally:
        watch.stop()
        outlet.close()


async def _begin(outlet: Outlet, head: bytes, source: Source, came: Delivery, watch: _Watch) -> None:
    """Sends the head, together with the bytes that came with the store's answer."""
    first = source.at_hand() if _pourable(source) else memoryview(b"")
    came.sent = len(first)  # first: of a write that is cut short, any part may have left
    if not outlet.offer(head, first):
        watch.begin()
        await outlet.taken()
    if first:
        came.began = asyncio.get_running_loop().time()


async def _carry(outlet: Outlet, source: Source, came: Delivery, watch: _Watch) -> None:
    watch.begin()
    while piece := await source.read():
        came.sent += len(piece)
        await outlet.send(piece)  # the kernel has it all, before more is asked of the origin or the end is told
        if came.began is None:
            came.began = asyncio.get_running_loop().time()


async def _pour(outlet: Outlet, source: Pourable, length: int, came: Delivery, watch: _Watch) -> None:
    pouring = _Pouring(outlet, source, length, came)
    turn = _TURN
    while came.sent < length:
        moved = pouring.move()
        if moved is None:
            watch.begin()
            if not outlet.watchable():
                await _carry(outlet, source, came, watch)
                return
            await outlet.whenever_writable(pouring.more)
            turn = _TURN
        elif not moved:
            watch.begin()
            await source.ready()
            turn = _TURN
        else:
            turn -= moved
            if turn <= 0:
                await asyncio.sleep(0)
                turn = _TURN


class _Pouring:
    """A body on its way into the client's socket; ``came`` keeps count."""

    __slots__ = ("_came", "_length", "_outlet", "_source")

    def __init__(self, outlet: Outlet, source: Pourable, length: int, came: Delivery) -> None:
        self._outlet = outlet
        self._source = source
        self._length = length
        self._came = came

    def move(self) -> int | None:
        """Bytes moved; 0: the source has none at hand; None: the client's socket takes none now."""
        came = self._came
        try:
            moved = self._source.pour(self._outlet.fileno(), self._length - came.sent)
        except BlockingIOError:
            return None
        if moved:
            came.sent += moved
            if came.began is None:
                came.began = asyncio.get_running_loop().time()
        return moved

    def more(self) -> bool:
        """Moves once; whether to come again when the socket takes more. False: the source has none at hand, or it is over."""
        moved = self.move()
        return moved is None or (moved > 0 and self._came.sent < self._length)


def _pourable(source: Source) -> TypeGuard[Pourable]:
    """As isinstance, at a twentieth of its cost."""
    return hasattr(source, "pour")


def lost(request: web.BaseRequest) -> bool:
    """Whether the client has left. If not, a cancelled request was cancelled by this process, because it is ending."""
    return isinstance(request.protocol, Connection) and request.protocol.lost


class _Watch:
    """Cuts a reader off that takes nothing for ``stall_s`` seconds while there is something for it to take."""

    __slots__ = ("_came", "_interval", "_loop", "_since", "_stall_s", "_taken", "_timer", "_transport", "stalled")

    def __init__(self, transport: asyncio.Transport, came: Delivery, stall_s: float) -> None:
        self._transport = transport
        self._came = came
        self._loop = asyncio.get_running_loop()
        self._interval = stall_s / 4
        self._stall_s = stall_s
        self._taken = -1
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.stalled: int | None = None
        """Bytes the reader had taken when it was cut off."""

    def begin(self) -> None:
        """From the first time that anything is waited for; may be repeated."""
        if self._timer is None:
            self._since = self._loop.time()
            self._timer = self._loop.call_later(self._interval, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        waiting = self._transport.get_write_buffer_size() + _unacknowledged(self._transport)
        taken = self._came.sent - waiting
        now = self._loop.time()
        if waiting == 0 or taken != self._taken:
            self._taken, self._since = taken, now
        elif now - self._since >= self._stall_s:
            self.stalled = max(taken, 0)
            self._transport.abort()
            return
        self._timer = self._loop.call_later(self._interval, self._look)


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes in the kernel that the client has not acknowledged (SIOCOUTQ); 0 where the system does not tell."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    with contextlib.suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    return 0
