"""Bytes on their way out: at the client's pace, to the last one or visibly not."""

import asyncio
import contextlib
import errno
import os
import socket
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from parts.pouring import no_descriptor_left

from gateway.edge.delivery import Delivery, deliver, deliver_whole
from gateway.edge.server import Answered, Server
from gateway.errors import Broken, Changed, Unavailable
from gateway.event import Result
from gateway.http.head import response_head
from gateway.model import PIECE

LENGTH = 64 * PIECE
LARGE = 5 * LENGTH
"""More than the kernel takes on its way to a client that does not read: of LENGTH it may take all."""
DESCRIPTORS = Path("/proc/self/fd")
PATIENCE_S = 20.0
"""With a busy machine; less than the 30 s after which a reader is cut off, where it is not the point that it is."""


class Bytes:
    """A Source of ``length`` zeros that may go wrong after ``good`` pieces. It can be poured, too."""

    def __init__(self, length=LENGTH, good=None, wrong=None):
        self.left, self.good, self.wrong = length, good, wrong
        self.pieces, self.kept, self.failed = 0, b"", None

    async def read(self):
        kept, self.kept = self.kept, b""
        return kept or self.next()

    def next(self):
        if self.wrong is not None and self.pieces == self.good:
            if isinstance(self.wrong, BaseException):
                raise self.wrong
            return self.wrong
        self.pieces += 1
        size = min(self.left, PIECE)
        self.left -= size
        return bytes(size)

    def at_hand(self):
        return memoryview(b"")

    def pour(self, to, most):
        self.kept = (self.kept or self.next())[:most]
        if not self.kept:
            raise Broken("ended early")
        taken = os.write(to, self.kept)
        self.kept = self.kept[taken:]
        return taken

    async def ready(self):
        """It always is."""

    async def close(self):
        self.left = 0


@pytest.fixture(params=[True, False], ids=["zero-copy", "portable"])
def way(request):
    return request.param


@pytest.fixture
def delivering(way):
    return partial(_delivering, zero_copy=way)


@contextlib.asynccontextmanager
async def _serving(handle):
    server = Server(handle, head_timeout=5, max_line=16_384, max_body=1000, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0.05)
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def _delivering(source, length=LENGTH, stall_s=30.0, send_buffer=None, ended=None, *, zero_copy):
    """A server that delivers ``source``; gives its port, how far the delivery came, and an event of its end."""
    came, over = Delivery(), asyncio.Event()

    async def handle(request):
        head = response_head(200, {"Content-Length": str(length)}, keep_alive=True)
        if send_buffer is not None:
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        try:
            await deliver(request, head, source, length, came, stall_s=stall_s, zero_copy=zero_copy)
        finally:
            if ended is not None:
                ended(request.transport)
            request.protocol.answered()
            over.set()
        return Answered(keep_alive=True)

    async with _serving(handle) as port:
        yield port, came, over


async def ask(port, *, receive_buffer=None):
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**16)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    try:
        await reader.readuntil(b"\r\n\r\n")
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def test_a_whole_body_leaves_and_is_counted(delivering):
    async with delivering(Bytes()) as (port, came, over):
        reader, writer = await ask(port)
        assert len(await reader.readexactly(LENGTH)) == LENGTH
        await over.wait()
        writer.close()
    assert (came.sent, came.result, came.reason) == (LENGTH, Result.COMPLETE, None)


async def test_a_body_is_complete_once_the_kernel_has_all_of_it(delivering):
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


async def test_a_slow_client_gets_all_of_its_body_though_no_descriptor_is_left(delivering):
    with contextlib.ExitStack() as lasting:

        class Last(Bytes):
            def at_hand(self):
                lasting.enter_context(no_descriptor_left())
                return super().at_hand()

        async with delivering(Last(LARGE), LARGE, send_buffer=4096) as (port, came, over):
            reader, writer = await ask(port, receive_buffer=4096)
            assert len(await reader.readexactly(LARGE)) == LARGE
            await over.wait()
            writer.close()
    assert (came.sent, came.result, came.reason) == (LARGE, Result.COMPLETE, None)


async def test_a_body_that_shutdown_cuts_off_is_interrupted_and_not_the_clients_fault(delivering):
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
async def test_a_body_that_cannot_be_finished_aborts_the_connection(delivering, wrong, reason):
    async with delivering(Bytes(good=3, wrong=wrong)) as (port, came, over):
        reader, writer = await ask(port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(LENGTH)
        await over.wait()
        writer.close()
    assert (came.result, came.reason) == (Result.ORIGIN_FAILED, reason)
    assert came.sent <= 3 * PIECE


async def test_a_defect_in_mid_body_says_nothing_into_it(delivering):
    async with delivering(Bytes(good=3, wrong=RuntimeError("defect"))) as (port, came, over):
        reader, writer = await ask(port)
        with contextlib.suppress(ConnectionError):
            assert not (await reader.read()).strip(b"\0"), "it is of zeros"
        await over.wait()
        writer.close()
    assert came.result is Result.INTERRUPTED


async def test_a_clients_socket_that_fails_is_the_clients_whatever_it_fails_with(delivering):
    unreachable = mock.patch("os.writev", side_effect=OSError(errno.EHOSTUNREACH, "No route to host"))
    async with delivering(Bytes()) as (port, came, over):
        with unreachable, pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(port)
        await over.wait()
    assert came.result is Result.CLIENT_GONE


async def test_a_client_that_leaves_ends_the_delivery(delivering):
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100) as (port, came, over):
        reader, writer = await ask(port)
        taken = len(await reader.readexactly(10 * PIECE))
        writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await over.wait()
    assert came.result is Result.CLIENT_GONE
    assert came.sent >= taken


async def test_a_reader_that_takes_nothing_is_cut_off_and_only_what_it_took_is_counted(delivering):
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100, stall_s=0.6) as (port, came, over):
        reader, writer = await ask(port, receive_buffer=65536)
        writer.transport.pause_reading()
        async with asyncio.timeout(PATIENCE_S):
            await over.wait()
        writer.close()
    assert (came.result, came.reason) == (Result.CLIENT_GONE, "stalled")
    assert 0 < came.sent < LENGTH
    del reader


async def test_a_reader_that_does_not_even_take_the_beginning_is_cut_off(delivering):
    class AtHand(Bytes):
        def at_hand(self):
            self.left = 0
            return memoryview(bytes(LARGE))

    async with delivering(AtHand(), LARGE, stall_s=0.4) as (port, came, over):
        _reader, writer = await ask(port, receive_buffer=65536)
        writer.transport.pause_reading()
        async with asyncio.timeout(PATIENCE_S):
            await over.wait()
        writer.close()
    assert (came.result, came.reason) == (Result.CLIENT_GONE, "stalled")


@contextlib.asynccontextmanager
async def handing_over(body, stall_s=30.0):
    """A server whose every answer is all there; gives its port, and an event of its end."""
    over = asyncio.Event()

    async def handle(request):
        head = response_head(200, {"Content-Length": str(len(body))}, keep_alive=True)
        try:
            await deliver_whole(request, head, body, stall_s=stall_s)
        finally:
            request.protocol.answered()
            over.set()
        return Answered(keep_alive=True)

    async with _serving(handle) as port:
        yield port, over


async def test_an_answer_that_is_all_there_waits_for_a_slow_reader_and_not_for_one_that_takes_nothing():
    async with handing_over(bytes(LARGE), stall_s=1) as (port, over):
        reader, writer = await ask(port, receive_buffer=65536)
        got = 0
        while got < LARGE:
            got += len(await reader.read(PIECE))
            await asyncio.sleep(0.01)
        await over.wait()
        over.clear()
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        async with asyncio.timeout(PATIENCE_S):
            await over.wait()
        writer.transport.resume_reading()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(LARGE)
        writer.close()


async def test_at_shutdown_an_answer_that_nobody_takes_is_aborted():
    """Closed and not aborted, its transport would wait for the reader, and whoever stops the server for that."""
    async with handing_over(bytes(LARGE)) as (port, over):
        reader, writer = await ask(port, receive_buffer=65536)
        writer.transport.pause_reading()
    assert over.is_set()
    writer.transport.resume_reading()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(LARGE)
    writer.close()


async def test_a_slow_reader_that_takes_something_is_not_cut_off(delivering):
    """The whole takes several times the stall limit; no single wait does."""
    length = 40 * PIECE
    async with delivering(Bytes(length=length), length, stall_s=1) as (port, came, over):
        reader, writer = await ask(port, receive_buffer=65536)
        got = 0
        while got < length:
            got += len(await reader.read(PIECE))
            await asyncio.sleep(0.08)
        await over.wait()
        writer.close()
    assert (got, came.result) == (length, Result.COMPLETE)


async def test_a_reader_is_not_blamed_for_an_origin_that_is_slow(delivering):
    gate = asyncio.Event()

    class Slow(Bytes):
        async def read(self):
            await self.ready()
            return await super().read()

        def pour(self, to, most):
            return 0 if self.pieces == 1 and not gate.is_set() else super().pour(to, most)

        async def ready(self):
            if self.pieces == 1:
                await gate.wait()

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


async def test_what_is_at_hand_leaves_in_one_packet_with_the_head(delivering):
    class AtHand(Bytes):
        def at_hand(self):
            self.left -= 1000
            return memoryview(bytes(1000))

    async with delivering(AtHand(3000), 3000) as (port, came, over):
        raw = socket.create_connection(("127.0.0.1", port))
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(raw, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        first = await loop.sock_recv(raw, 100_000)
        await over.wait()
        raw.close()
    assert len(first.partition(b"\r\n\r\n")[2]) >= 1000
    assert (came.sent, came.result) == (3000, Result.COMPLETE)


async def test_a_body_begins_with_its_own_first_byte_and_not_with_the_head(delivering):
    class Late(Bytes):
        def __init__(self):
            super().__init__(PIECE)
            self.come = asyncio.Event()

        async def read(self):
            await self.come.wait()
            return await super().read()

        def pour(self, to, most):
            return super().pour(to, most) if self.come.is_set() else 0

        async def ready(self):
            await self.come.wait()

    async with delivering(source := Late(), PIECE) as (port, came, over):
        reader, writer = await ask(port)
        came_at = asyncio.get_running_loop().time()
        source.come.set()
        await reader.readexactly(PIECE)
        await over.wait()
        writer.close()
    assert came.began is not None
    assert came.began >= came_at


async def test_a_body_that_breaks_before_its_first_byte_never_began(delivering):
    async with delivering(Bytes(good=0, wrong=Broken("cut"))) as (port, came, over):
        reader, writer = await ask(port)
        assert await reader.read() == b""
        await over.wait()
        writer.close()
    assert (came.result, came.began) == (Result.ORIGIN_FAILED, None)


async def test_no_descriptor_is_left_behind(delivering):
    async with delivering(Bytes(length=LENGTH * 100), LENGTH * 100) as (port, _, over):
        before = set(DESCRIPTORS.iterdir())
        reader, writer = await ask(port, receive_buffer=65536)
        await reader.readexactly(2 * PIECE)
        writer.transport.abort()
        await over.wait()
        async with asyncio.timeout(PATIENCE_S):
            while not set(DESCRIPTORS.iterdir()) <= before:  # noqa: ASYNC110  transports tell nobody that they have closed
                await asyncio.sleep(0)


async def test_a_connection_is_used_again_after_a_body(delivering):
    source = Bytes()
    async with delivering(source) as (port, came, over):
        reader, writer = await ask(port)
        await reader.readexactly(LENGTH)
        await over.wait()
        came.sent, source.left = 0, LENGTH
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(LENGTH)) == LENGTH
        writer.close()
