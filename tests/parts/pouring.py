"""A client at the other end of a real TCP connection, and what a delivery does with a Pourable."""

import asyncio
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from gateway.model import Pourable

MOST = 1024 * 1024


class Tap:
    """``sock`` is the server's end, as a delivery has it; what it was sent is taken at the other."""

    def __init__(self, *, buffer: int = 128 * 1024) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._client = socket.create_connection(listener.getsockname())
            self.sock, _ = listener.accept()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self._client.close()

    async def take(self, count: int) -> bytes:
        """The next ``count`` bytes, or all until the end."""
        return await asyncio.to_thread(self._take, count)

    def _take(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count and (piece := self._client.recv(min(count - len(taken), MOST))):
            taken += piece
        return bytes(taken)

    def leave(self) -> None:
        """At once, with a reset."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()


async def pour(
    source: Pourable, to: socket.socket, length: int, *, most: int = MOST, after: Callable[[int], None] | None = None
) -> int:
    """All of it, at the client's pace; ``after`` hears of each move how many bytes there are in all. Gives their number."""
    sent = 0
    while sent < length:
        try:
            moved = source.pour(to.fileno(), min(most, length - sent))
        except BlockingIOError:
            await writable(to)
            continue
        if not moved:
            await source.ready()
            continue
        sent += moved
        if after is not None:
            after(sent)
    return sent


async def writable(sock: socket.socket) -> None:
    """Returns once the socket takes more."""
    loop = asyncio.get_running_loop()
    free = loop.create_future()
    loop.add_writer(sock, lambda: free.done() or free.set_result(None))
    try:
        await free
    finally:
        loop.remove_writer(sock)


def descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """While it lasts this process gets no more of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
