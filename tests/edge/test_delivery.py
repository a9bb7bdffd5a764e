"""Bytes on their way out: at the client's pace, to the last one or visibly not."""

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web

from gateway.edge.delivery import Delivery, deliver
from gateway.edge.server import Server
from gateway.errors import Broken, Changed, Unavailable
from gateway.event import Result
from gateway.model import PIECE

LENGTH = 64 * PIECE


class Bytes:
    """A Source of ``length`` zeros that may go wrong after ``good`` pieces."""

    def __init__(self, length=LENGTH, good=None, wrong=None):
        self.left, self.good, self.wrong = length, good, wrong
        self.pieces = 0

    async def read(self):
        if self.wrong is not None and self.pieces == self.good:
            if isinstance(self.wrong, BaseException):
                raise self.wrong
            return self.wrong
        self.pieces += 1
        size = min(self.left, PIECE)
        self.left -= size
        return bytes(size)

    async def close(self):
        self.left = 0


@contextlib.asynccontextmanager
async def delivering(source, length=LENGTH, stall_s=30.0, send_buffer=None, ended=None):
    """A server that delivers ``source``; gives its port, how far the delivery came, and an event of its end."""
    came, over = Delivery(), asyncio.Event()

    async def handle(request):
        response = web.StreamResponse(headers={"Content-Length": str(length)})
        if send_buffer is not None:
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        try:
            await deliver(request, response, source, length, stall_s, came)
        finally:
            if ended is not None:
                ended(request.transport)
            request.protocol.answered()
            over.set()
        return response

    server = Server(handle, head_timeout=5, max_body=1000, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], came, over
    finally:
        listener.close()
        await server.shutdown(0.05)
        await listener.wait_closed()


async def ask(port, *, receive_buffer=None):
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**16)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_whole_body_leaves_and_is_counted():
    async with delivering(Bytes()) as (port, came, over):
        reader, writer = await ask(port)
        assert len(await reader.readexactly(LENGTH)) == LENGTH
        await over.wait()
        writer.close()
    assert (came.sent, came.result, came.reason) == (LENGTH, Result.COMPLETE, None)


async def test_a_body_is_complete_once_the_kernel_has_all_of_it():
    """What lay in this process's memory would be lost with it at shutdown."""
    left = []

    def ended(transport):
        left.append(transport.get_write_buffer_size())

    async with delivering(Bytes(PIECE), PIECE, send_buffer=4096, ended=ended) as (port, came, over):
        reader, writer = await ask(port, receive_buffer=4096)
        await reader.readexactly(PIECE)
        await over.wait()
        writer.close()
    assert (came.result, left) == (Result.COMPLETE, [0])


async def test_a_body_that_shutdown_cuts_off_is_interrupted_and_not_the_clients_fault():
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100) as (port, came, over):
        reader, writer = await ask(port)
        writer.transport.pause_reading()
    assert over.is_set()
    assert (came.result, came.reason) == (Result.INTERRUPTED, "shutdown")
    assert came.sent < LENGTH * 100
    writer.close()
    del reader


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Broken("cut"), "origin_broken"),
        (Changed("other"), "object_changed"),
        (Unavailable("away"), "origin_broken"),
        (b"", "origin_broken"),
    ],
    ids=["broken", "changed", "refused", "ended early"],
)
async def test_a_body_that_cannot_be_finished_aborts_the_connection(wrong, reason):
    async with delivering(Bytes(good=3, wrong=wrong)) as (port, came, over):
        reader, writer = await ask(port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(LENGTH)
        await over.wait()
        writer.close()
    assert (came.result, came.reason) == (Result.ORIGIN_FAILED, reason)
    assert came.sent <= 3 * PIECE


async def test_a_client_that_leaves_ends_the_delivery():
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100) as (port, came, over):
        reader, writer = await ask(port)
        taken = len(await reader.readexactly(10 * PIECE))
        writer.transport.abort()
        async with asyncio.timeout(2):
            await over.wait()
    assert came.result is Result.CLIENT_GONE
    assert came.sent >= taken


async def test_a_reader_that_takes_nothing_is_cut_off_and_only_what_it_took_is_counted():
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100, stall_s=0.6) as (port, came, over):
        reader, writer = await ask(port, receive_buffer=65536)
        writer.transport.pause_reading()
        async with asyncio.timeout(5):
            await over.wait()
        writer.close()
    assert (came.result, came.reason) == (Result.CLIENT_GONE, "stalled")
    assert 0 < came.sent < LENGTH
    del reader


async def test_a_slow_reader_that_takes_something_is_not_cut_off():
    """The whole takes several times the stall limit; no single wait does."""
    length = 40 * PIECE
    async with delivering(Bytes(length=length), length, stall_s=0.4) as (port, came, over):
        reader, writer = await ask(port, receive_buffer=65536)
        got = 0
        while got < length:
            got += len(await reader.read(PIECE))
            await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0.03))})
        await over.wait()
        writer.close()
    assert (got, came.result) == (length, Result.COMPLETE)


async def test_a_reader_is_not_blamed_for_an_origin_that_is_slow():
    gate = asyncio.Event()

    class Slow(Bytes):
        async def read(self):
            if self.pieces == 1:
                await gate.wait()
            return await super().read()

    length = 2 * PIECE
    async with delivering(Slow(length=length), length, stall_s=0.2) as (port, came, over):
        reader, writer = await ask(port)
        await reader.readexactly(PIECE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(over.wait(), 0.8)
        gate.set()
        await reader.readexactly(PIECE)
        await over.wait()
        writer.close()
    assert came.result is Result.COMPLETE
