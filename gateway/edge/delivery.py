"""The one way for bytes to leave: from a Source to the client's socket, at the client's pace.

A body that cannot be finished is never ended politely: Content-Length was promised, so the connection is aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from dataclasses import dataclass

from aiohttp import web

from ..errors import Broken, Changed, Refusal
from ..event import Result
from ..model import Source
from .server import Connection


@dataclass(slots=True)
class Delivery:
    """How far a body came.

    ``sent`` counts body bytes handed to the client's socket. Where the client cut that short it may be over by a piece,
    never under. ``detail`` is for the operator's log.
    """

    sent: int = 0
    result: Result = Result.INTERRUPTED
    reason: str | None = None
    detail: str | None = None


async def deliver(
    request: web.BaseRequest, response: web.StreamResponse, source: Source, length: int, stall_s: float, came: Delivery
) -> None:
    """Moves ``length`` bytes. Raises ConnectionError once the connection was aborted; ``came`` tells how far it was."""
    transport = request.transport
    if transport is None:
        came.result, came.reason = Result.CLIENT_GONE, "before_first_byte"
        raise ConnectionResetError
    watch = _Watch(transport, came, stall_s)
    try:
        await response.prepare(request)
        while piece := await source.read():
            came.sent += len(piece)  # first: of a write that is cut short, any part may have left
            await response.write(piece)
            await request.writer.drain()  # the kernel has it all, before more is asked of the origin or the end is told
        if came.sent != length:
            raise Broken(f"{came.sent} of {length} bytes came")  # noqa: TRY301
        await response.write_eof()
        came.result = Result.COMPLETE
    except (Broken, Changed, Refusal) as error:
        came.result = Result.ORIGIN_FAILED
        came.reason = "object_changed" if isinstance(error, Changed) else "origin_broken"
        came.detail = str(error)
        came.sent = max(came.sent - transport.get_write_buffer_size(), 0)
        transport.abort()
        raise ConnectionAbortedError("the body could not be finished") from error
    except (ConnectionError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and not _lost(request):
            came.result, came.reason = Result.INTERRUPTED, "shutdown"
            transport.abort()
            raise
        came.result = Result.CLIENT_GONE
        if watch.stalled is not None:
            came.sent, came.reason = watch.stalled, "stalled"
        raise
    finally:
        watch.stop()


def _lost(request: web.BaseRequest) -> bool:
    """Whether the client has left; else what was cancelled was cancelled by this process, which ends."""
    return isinstance(request.protocol, Connection) and request.protocol.lost


class _Watch:
    """Cuts a reader off that takes nothing for ``stall_s`` seconds while there is something for it to take."""

    def __init__(self, transport: asyncio.Transport, came: Delivery, stall_s: float) -> None:
        self._transport = transport
        self._came = came
        self._loop = asyncio.get_running_loop()
        self._interval = stall_s / 4
        self._stall_s = stall_s
        self._taken = -1
        self._since = self._loop.time()
        self.stalled: int | None = None
        """Bytes the reader had taken when it was cut off."""
        self._timer = self._loop.call_later(self._interval, self._look)

    def stop(self) -> None:
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
