"""One client's socket while an answer is on its way there: through its transport, or straight to the descriptor.

What goes straight there does so only while the transport holds nothing back, so that the bytes keep their order.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.trsock import TransportSocket
from collections.abc import Callable

from aiohttp import web

from .server import Connection


class Outlet:
    """Of one answer; ``close`` it. Raises ConnectionResetError where the client has left already."""

    __slots__ = ("_connection", "_copy", "_loop", "_request", "_socket", "transport")

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        self.transport = transport
        self._request = request
        self._loop = asyncio.get_running_loop()
        connection = request.protocol
        self._connection = connection if isinstance(connection, Connection) else None
        self._socket: TransportSocket | None = self._connection.socket if self._connection else None
        self._copy = -1

    @property
    def direct(self) -> bool:
        """Whether it can be written to past the transport: it is a plain socket, on a system that can."""
        return self._socket is not None and _CAN

    def fileno(self) -> int:
        """The descriptor, for this moment. Raises ConnectionResetError once it may be somebody else's."""
        if self.transport.is_closing():
            raise ConnectionResetError
        assert self._socket is not None, "what is not direct has no descriptor"
        return self._socket.fileno()

    async def send(self, *parts: bytes | memoryview) -> None:
        """The kernel has all of it when it returns. Raises ConnectionError."""
        if not self.offer(*parts):
            await self.taken()

    def offer(self, *parts: bytes | memoryview) -> bool:
        """Whether the kernel is known to have all of it; the transport has the rest. Raises ConnectionError."""
        transport = self.transport
        if transport.is_closing():
            raise ConnectionResetError
        if self._connection is not None:
            self._connection.under_way = True
        taken = 0
        if _CAN and self._socket is not None and not transport.get_write_buffer_size():
            try:
                taken = os.writev(self._socket.fileno(), parts)
            except BlockingIOError:
                pass
            else:
                if taken == sum(map(len, parts)):
                    return True
        transport.write(b"".join(parts)[taken:])
        return False

    async def taken(self) -> None:
        """Waits until the kernel has what was offered. Raises ConnectionError."""
        await self._request.writer.drain()

    def watchable(self) -> bool:
        """Whether ``whenever_writable`` can wait: the transport's own descriptor is its own business, and a copy may not be had.

        Raises ConnectionResetError.
        """
        if self._copy < 0:
            descriptor = self.fileno()
            try:
                self._copy = os.dup(descriptor)
            except OSError:
                return False
        return True

    async def whenever_writable(self, more: Callable[[], bool]) -> None:
        """Calls ``more`` each time the socket takes more, until it returns False. Raises what that raises. It must be ``watchable``."""
        watched = _Watched(self._loop, self._copy, more)
        try:
            await watched.over
        finally:
            watched.end()

    def close(self) -> None:
        """The connection stays as it is."""
        if self._copy >= 0:
            os.close(self._copy)
            self._copy = -1


_CAN = hasattr(os, "writev")


class _Watched:
    """A descriptor that is watched from call to call: to stop, wake a task and begin again costs more than what is moved in between."""

    __slots__ = ("_descriptor", "_loop", "_more", "over")

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, more: Callable[[], bool]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._more = more
        self.over: asyncio.Future[None] = loop.create_future()
        loop.add_writer(descriptor, self._call)

    def _call(self) -> None:
        over = self.over
        if over.done():
            return  # cancelled: whoever waited is about to end this
        try:
            if self._more():
                return
            if not over.done():
                over.set_result(None)
        except Exception as error:  # noqa: BLE001  whoever waits raises it
            if not over.done():
                over.set_exception(error)
                over.exception()  # seen, also where whoever waits is cancelled
        finally:
            del over
        self._loop.remove_writer(self._descriptor)

    def end(self) -> None:
        """Nothing is watched any more, and nothing held: what was raised leads back to here."""
        self._loop.remove_writer(self._descriptor)
        del self.over, self._more
