"""The connections that ranges are read over: heads however they arrive, keeping alive, bounds."""

import asyncio
import contextlib
import errno
import gc
import itertools
import os
import socket
import ssl
from collections.abc import AsyncIterator
from math import inf
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from parts.asking import DATA, PIN, SPAN, WAYS, Asking, asking, over
from parts.audit import until
from parts.labs import QUICK, drain, unused_port
from parts.loops import on_both_loops
from parts.ranged import ETAG, RangedServer

from gateway.config import Origin
from gateway.errors import Broken, Changed, OriginFailed, OriginTimeout, Unavailable
from gateway.model import PIECE, Span
from gateway.stores import body as bodies
from gateway.stores import pool as pool_module
from gateway.stores.answer import Pin
from gateway.stores.body import QUICK_S, Body, Means
from gateway.stores.connection import Connection, Stale
from gateway.stores.counts import Counts
from gateway.stores.dial import NARROW, Dialer
from gateway.stores.head import NotHttp
from gateway.stores.origin import Reader, Refused
from gateway.stores.pipes import Pipes
from gateway.stores.pool import Pool
from gateway.stores.spliced import body_of

LONG = Span(0, 300_000)


# --- heads ----------------------------------------------------------------------------------------------------------


@WAYS
@on_both_loops
async def test_a_head_may_come_in_any_two_pieces(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        for cut in range(1, 130):
            server.split = lambda head, cut=cut: [head[:cut], head[cut:]]
            await at.read(SPAN if cut % 2 else LONG)
        assert at.counts.connections == 1


@on_both_loops
async def test_a_head_may_come_byte_by_byte_and_interim_ones_before_it() -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        server.before = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        await at.read()
        server.split = lambda head: [head[n : n + 1] for n in range(len(head))]
        await at.read()
        await at.read(LONG)
        assert at.counts.connections == 1


@WAYS
@on_both_loops
async def test_a_long_head_is_taken_and_one_without_end_is_not(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        server.fields = "X-Long: " + "x" * 60_000 + "\r\n"
        await at.read()
        await at.read(LONG)
        server.fields = "X-Long: " + "x" * 200_000 + "\r\n"
        for span in (SPAN, LONG):
            with pytest.raises(OriginFailed, match="not HTTP"):
                await at.open(span)


@pytest.mark.parametrize(
    "fields",
    [
        f"Content-Length: {len(SPAN)}\r\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        f"ETag : {ETAG}\r\n",
    ],
)
@on_both_loops
async def test_an_answer_that_has_two_lengths_or_none_is_not_believed(fields: str) -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        server.fields = fields
        with pytest.raises(OriginFailed):
            await at.open()
        assert len(server.heads) == 1


@WAYS
@on_both_loops
async def test_what_follows_a_body_is_no_answer_to_anybody(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        server.after = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
        for span in (SPAN, LONG, SPAN, LONG):
            await at.read(span)
            await asyncio.sleep(0.01)  # it may come a little later than the body
        assert at.counts.connections == 4


@WAYS
@on_both_loops
async def test_what_follows_a_body_and_is_no_http_fails_nobody(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        server.after = b"\r\n"
        for span in (SPAN, LONG, SPAN, LONG, LONG, SPAN):
            await at.read(span)


@WAYS
@on_both_loops
async def test_a_connection_whose_bytes_nobody_wanted_for_a_while_is_watched_once_it_is_idle(
    way: str, tls: ssl.SSLContext
) -> None:
    async with over(way, tls) as (server, at):
        body = await at.open(LONG)
        ((connection,),) = (pool._open for pool in at.reader._pools.values())
        await until(lambda: not connection._reading)
        await until(lambda: not body._next() and connection.idle)
        await server.hang_up()
        await until(lambda: connection.descriptor < 0)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://h/a b", {}),
        ("http://h/a\r\nX: y", {}),
        ("http://h/é", {}),
        ("ftp://h/a", {}),
        ("/a", {}),
        ("http://h/a", {"If-Match": '"v"\r\nX: y'}),
        ("http://h/a", {"If-Match": "\0"}),
        ("http://h/a", {"If-Match": "日"}),
    ],
)
async def test_nothing_that_cannot_stand_in_a_request_gets_into_one(url: str, headers: dict[str, str]) -> None:
    reader = Reader("lab", QUICK)
    with pytest.raises(ValueError, match=r"^(no absolute|what cannot)") as refused:
        reader.target(url, headers, PIN)
    assert "h/a" not in str(refused.value)
    await reader.close()


async def test_the_host_is_named_as_its_signature_has_it() -> None:
    reader = Reader("lab", QUICK)
    for url, host in {
        "http://Store.Example:80/a": "store.example",
        "http://store.example:8080/a": "store.example:8080",
        "http://[::1]:9000/a": "[::1]:9000",
    }.items():
        assert f"\r\nHost: {host}\r\n".encode() in reader.target(url, {}, PIN).request
    await reader.close()


@WAYS
@on_both_loops
async def test_refusals_and_changes_are_told_apart_over_both(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        server.split = lambda head: [head.replace(b"206 Partial Content", b"404 Not Found")]
        with pytest.raises(Refused) as refused:
            await at.open()
        assert (refused.value.status, refused.value.body) == (404, DATA[5:25])
        server.split = lambda head: [head.replace(b'"v"', b'"w"')]
        with pytest.raises(Changed):
            await at.open()


# --- kept alive -----------------------------------------------------------------------------------------------------


@WAYS
@on_both_loops
async def test_a_kept_connection_that_the_store_has_closed_is_replaced_and_no_try_is_used_up(
    way: str, tls: ssl.SSLContext
) -> None:
    async with over(way, tls) as (server, at):
        await at.read()
        server.cuts.append(-len(DATA))  # nothing: the connection ends behind the head
        server.split = lambda _head: []
        server.may_answer.clear()
        opening = asyncio.create_task(at.open())
        await server.until(lambda: len(server.heads) == 2)
        server.cuts.clear()
        for writer in list(server._writers):
            writer.transport.abort()
        server.split = lambda head: [head]
        server.may_answer.set()
        assert await drain(await opening) == DATA[5:25]
        assert (at.counts.replaced, at.counts.retries, at.counts.connections) == (1, 0, 2)
        (pool,) = at.reader._pools.values()
        assert pool._permits + len(pool._open) == QUICK.connections


@WAYS
@on_both_loops
async def test_a_connection_that_ends_while_it_is_idle_is_taken_out(way: str, tls: ssl.SSLContext) -> None:
    async with over(way, tls) as (server, at):
        await at.read()
        (pool,) = at.reader._pools.values()
        assert len(pool._idle) == 1
        await server.hang_up()
        while pool._idle:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        await at.read()
        assert (at.counts.replaced, at.counts.connections) == (0, 2)


@on_both_loops
async def test_a_first_connection_that_is_closed_unanswered_uses_up_a_try() -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        server.cuts.append(0)
        server.split = lambda _head: []
        opening = asyncio.create_task(at.open())
        await server.until(lambda: len(server.heads) == 1)
        server.split = lambda head: [head]
        assert await drain(await opening) == DATA[5:25]
        assert (at.counts.replaced, at.counts.retries) == (0, 1)


@on_both_loops
async def test_what_nobody_uses_is_closed() -> None:
    async with RangedServer(DATA) as server, asking(server, first_byte_s=0.2) as at:
        with mock.patch.object(pool_module, "IDLE_S", 0.05):
            await asyncio.gather(*(at.read() for _ in range(3)))
            await asyncio.wait_for(server.until(lambda: server.open == 0), 10)


@on_both_loops
async def test_an_answer_that_says_so_is_the_connections_last() -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        server.fields = "Connection: close\r\n"
        await at.read()
        await at.read(LONG)
        assert (at.counts.connections, at.counts.reused) == (2, 0)


@on_both_loops
async def test_the_one_used_last_is_used_first() -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        await asyncio.gather(*(at.read() for _ in range(4)))
        assert server.total == 4
        (pool,) = at.reader._pools.values()
        last = pool._idle[-1]
        for _ in range(3):
            await at.read()
            assert pool._idle[-1] is last


# --- bounds ---------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_no_more_connections_are_made_than_may_be_and_those_who_wait_get_their_turn() -> None:
    async with RangedServer(DATA) as server, asking(server, connections=3) as at:
        await asyncio.gather(*(at.read(LONG if n % 2 else SPAN) for n in range(40)))
        assert server.total <= 3
        assert at.counts.requests == 40
        await at.read()
        assert (at.counts.connections, at.counts.reused) == (server.total, 41 - server.total)


@on_both_loops
async def test_one_who_leaves_the_queue_takes_no_connection_with_him() -> None:
    async with RangedServer(DATA) as server, asking(server, connections=1) as at:
        for close_first in (True, False):
            first = await at.open(LONG)
            waiting = [asyncio.create_task(at.open()) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if close_first:  # his turn comes, and he leaves in the same moment
                await first.close()
                waiting[0].cancel()
            else:
                waiting[0].cancel()
                await first.close()
            with contextlib.suppress(asyncio.CancelledError):
                await (await waiting[0]).close()
            for task in waiting[1:]:
                assert await drain(await task) == DATA[5:25]
        await at.read(LONG)


@on_both_loops
async def test_who_has_waited_in_vain_is_forgotten() -> None:
    async with RangedServer(bytes(3_000_000)) as server:
        reader = Reader("lab", QUICK.model_copy(update={"connections": 1, "connect_s": 0.05, "progress_s": 100}))
        target = reader.target(f"http://127.0.0.1:{server.port}/o", {}, Pin("ETag", ETAG))
        under_way = await reader.get(target, Span(0, 3_000_000))
        try:
            for _ in range(5):
                got = await asyncio.gather(*(target.pool.get() for _ in range(100)), return_exceptions=True)
                assert all(isinstance(one, Unavailable) for one in got)
            assert len(target.pool._waiting) < 10
        finally:
            await under_way.close()
            await reader.close()


async def test_a_connection_that_cannot_be_made_takes_no_ones_place() -> None:
    at = Asking(f"http://127.0.0.1:{unused_port()}/o", connections=1)
    with mock.patch("gateway.stores.origin.jittered", return_value=0):
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot connect to 127"):
                await at.open()
    (pool,) = at.reader._pools.values()
    assert pool._permits == 1
    assert at.counts.retries == 6
    await at.reader.close()


@on_both_loops
async def test_an_open_that_is_cancelled_gives_its_connection_up() -> None:
    async with RangedServer(DATA) as server, asking(server, connections=1) as at:
        server.may_answer.clear()
        opening = asyncio.create_task(at.open())
        await server.until(lambda: len(server.heads) == 1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        server.may_answer.set()
        await server.until(lambda: server.open == 0)
        await at.read()


@on_both_loops
async def test_deadlines_are_kept_and_told_apart() -> None:
    async with RangedServer(DATA) as server, asking(server, first_byte_s=0.1) as at:
        server.may_answer.clear()
        with pytest.raises(OriginTimeout, match="first_byte_s"):
            await at.open()
        await server.until(lambda: len(server.heads) >= 2)
        assert len(server.heads) == 2
        server.may_answer.set()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as stack:
        for _ in range(4):  # its queue is full: nobody else is let in
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(deaf.getsockname())
        at = Asking(f"http://127.0.0.1:{deaf.getsockname()[1]}/o", connect_s=0.1)
        with pytest.raises(Unavailable, match=r"no connection to 127.0.0.1:\d+ within connect_s"):
            await at.open()
        await at.reader.close()


@on_both_loops
async def test_a_reader_that_is_closed_lets_nobody_wait() -> None:
    async with RangedServer(DATA) as server, asking(server) as at:
        body = await at.open(Span(0, PIECE))
        await drain(body)
        server.cuts.append(10)
        short = await at.open(LONG)
        server.may_answer.clear()
        opening = asyncio.create_task(at.open())
        await server.until(lambda: len(server.heads) == 3)
        pipes = at.reader._means.pipes
        assert pipes is not None
        pipe = pipes.take()
        assert pipe is not None
        pipes.give(pipe)
        await at.reader.close()
        assert pipes._free == []
        with pytest.raises(Unavailable):
            await opening
        with pytest.raises(Unavailable, match="was closed"):
            await at.open()
        assert len(server.heads) == 3
        with pytest.raises(Broken):
            await drain(short)


class Dialing:
    """A dialer whose connections are made once ``may`` is set, or fail with ``error``."""

    host, port = "h", 1

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.may = asyncio.Event()
        self.made: list[socket.socket] = []

    async def dial(self) -> socket.socket:
        await self.may.wait()
        if self.error is not None:
            raise self.error
        self.made.append(socket.socket())
        return self.made[-1]


def pool_of(dialing: Dialing) -> Pool:
    settings = QUICK.model_copy(update={"connections": 1, "connect_s": 0.01 if dialing.error is None else 1})
    return Pool("store lab", cast("Dialer", dialing), settings, Counts())


UNVERIFIED = ssl.SSLCertVerificationError("unverified")
UNVERIFIED.verify_message = "unverified"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, Unavailable),
        (UNVERIFIED, OriginFailed),
        (ConnectionRefusedError(), Unavailable),
        (RuntimeError(), Unavailable),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
    ids=["not in time", "unverified", "refused", "uvloop's own", "nobody wants it any more"],
)
async def test_whatever_a_connection_was_not_made_for_another_may_be(
    error: BaseException | None, told: type[BaseException]
) -> None:
    dialing = Dialing(error)
    if error is not None:
        dialing.may.set()
    pool = pool_of(dialing)
    for _ in range(2):
        with pytest.raises(told):
            await pool.get()
    dialing.error = None
    dialing.may.set()
    (await pool.get()).close()
    assert pool._permits == 1


async def test_a_connection_that_is_made_after_the_end_is_closed() -> None:
    dialing = Dialing()
    pool = pool_of(dialing)
    getting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    pool.close()
    dialing.may.set()
    with pytest.raises(Unavailable, match="was closed"):
        await getting
    assert [sock.fileno() for sock in dialing.made] == [-1]


async def test_a_connection_whose_taker_leaves_as_his_turn_comes_is_kept() -> None:
    dialing = Dialing()
    dialing.may.set()
    pool = pool_of(dialing)
    connection = await pool.get()
    waiting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    pool.put(connection)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (waiting.cancelled(), pool.take()) == (True, connection)
    connection.close()


async def test_every_host_of_a_store_is_swept_however_busy_another_is() -> None:
    swept: list[str] = []
    reader = Reader("lab", QUICK)

    def pool(host: str) -> Any:
        return SimpleNamespace(sweep=lambda _now: not swept.append(host), close=lambda: None)

    reader._pools = {("http", host, 80): pool(host) for host in ("one", "other")}
    reader._swept()
    assert swept == ["one", "other"]
    await reader.close()


# --- one by itself --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def alone(*, kept: bool = False) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection, and the store's end of it. ``kept``: it has served before."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    connection = Connection(asyncio.get_running_loop(), near, lambda _: None)
    connection.uses = int(kept)
    with near, far:
        yield connection, far
        connection.close()


@pytest.mark.parametrize(
    ("kept", "takes", "said", "fate"),
    [
        (False, True, b"", ConnectionResetError),
        (False, False, b"", ConnectionResetError),
        (False, True, b"220 mail", NotHttp),
        (True, True, b"", Stale),
        (True, False, b"", Stale),
        (True, True, b"220 mail", Stale),
        (True, True, b"HTTP/1.1 206 Part", ConnectionResetError),
        (True, False, b"HTTP/1.1 206 Part", ConnectionResetError),
    ],
)
async def test_only_a_kept_connection_that_ends_without_any_answer_is_replaced_for_nothing(
    *, kept: bool, takes: bool, said: bytes, fate: type[Exception]
) -> None:
    """One that ``takes`` the request before it ends is closed, any other is reset."""
    async with alone(kept=kept) as (connection, far):
        answer = connection.ask(b"GET / HTTP/1.1\r\n\r\n", 4096, inf)
        if takes:
            far.recv(4096)
        far.send(said)
        far.close()
        with pytest.raises(fate):
            await answer


@pytest.mark.parametrize(("kept", "fate"), [(False, BrokenPipeError), (True, Stale)])
async def test_a_connection_that_takes_no_request_is_stale_where_it_was_kept(
    *, kept: bool, fate: type[Exception]
) -> None:
    async with alone(kept=kept) as (connection, far):
        far.close()
        with pytest.raises(fate):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n", 4096, inf)


async def test_a_request_that_does_not_leave_at_once_leaves_whole_and_is_then_watched_no_more() -> None:
    loop, request = asyncio.get_running_loop(), os.urandom(1_000_000)
    async with alone() as (connection, far):
        answer = connection.ask(request, 4096, inf)
        came = b""
        async with asyncio.timeout(20):
            while len(came) < len(request):
                came += await loop.sock_recv(far, 1 << 20)
        assert came == request
        assert not loop.remove_writer(connection.descriptor)
        far.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await answer)[0].status == 204
        left = connection.ask(request, 4096, inf)
        descriptor = connection.descriptor
        connection.close()
        assert not loop.remove_writer(descriptor)
        with pytest.raises(ConnectionAbortedError):
            await left


class Records:
    """A socket as TLS has it: of what came together the rest waits here, where the system tells of it no more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""

    def pending(self) -> int:
        return len(self._rest)

    def recv(self, most: int) -> bytes:
        came = self._rest or self._sock.recv(16_384)
        piece, self._rest = came[:most], came[most:]
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_what_tls_has_decrypted_is_taken_though_the_socket_has_nothing_more() -> None:
    async with alone() as (connection, far):
        connection.sock = connection.tls = cast("ssl.SSLSocket", Records(connection.sock))
        answer = connection.ask(b"GET / HTTP/1.1\r\n\r\n", 4096, inf)
        far.send(
            b"HTTP/1.1 404 Not Found\r\nX-Long: " + b"x" * 5000 + b"\r\nContent-Length: 5000\r\n\r\n" + b"y" * 5000
        )
        async with asyncio.timeout(20):
            head, rest = await answer
        assert (head.status, rest) == (404, b"y" * len(rest))
        assert connection.tls.pending()
        assert not connection.put_by(), "what waits would be taken for the next answer"


def body_over(
    connection: Connection,
    length: int,
    came: bytes = b"",
    pipes: Pipes | None = None,
    widest: int = 0,
    *,
    keep: bool = True,
) -> tuple[Body, list[Connection]]:
    """A body of which ``came`` has come; and where its connection is put by."""
    put: list[Connection] = []
    means = Means("store lab", 1.0, Counts(), bytearray(PIECE), pipes, widest)
    pool = cast("Pool", SimpleNamespace(put=put.append))
    return body_of(means, pool, connection, memoryview(came), length, keep=keep), put


async def test_of_a_body_that_is_over_nothing_is_left_on_its_connection() -> None:
    async with alone() as (connection, far):
        body, put = body_over(connection, 3)
        connection._read_on()
        far.send(b"abc")
        assert await body.read() == b"abc"
        assert (put, connection.collect, connection.deadline) == ([connection], None, inf)


@pytest.mark.parametrize("keep", [True, False])
async def test_who_waits_for_a_short_answer_has_it_whole_and_nothing_broke_though_its_connection_ends(
    *, keep: bool
) -> None:
    async with alone() as (connection, far):
        body, put = body_over(connection, 3, keep=keep)
        waiting = asyncio.create_task(body.ready())
        await asyncio.sleep(0)
        far.send(b"abc")
        await asyncio.wait_for(waiting, 5)
        assert (await body.read(), await body.read()) == (b"abc", b"")
        assert put == ([connection] if keep else [])
        assert body._means.counts.errors == {}


@pytest.mark.parametrize("splices", [True, False])
async def test_a_body_that_was_closed_says_so_to_whoever_asks_on(*, splices: bool) -> None:
    """And keeps nobody waiting, nor busy, for what does not come any more."""
    near, taker = socket.socketpair()
    async with alone() as (connection, _far):
        with near, taker:
            body, put = body_over(connection, 3 * PIECE, b"abc", Pipes() if splices else None)
            await body.close()
            for ask in (body.ready, body.read):
                with pytest.raises(Broken, match="read after close"):
                    await ask()
            with pytest.raises(Broken, match="read after close"):
                body.pour(near.fileno(), 3)
            assert (put, connection.descriptor, body._means.counts.errors) == ([], -1, {})


class Unbounded:
    """A socket whose system bounds nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def setsockopt(self, *_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def unwatched() -> Any:
    """While the system has no room to watch anything more."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return mock.patch.object(asyncio.get_running_loop(), "add_reader", side_effect=error)


@pytest.mark.parametrize("splices", [True, False])
async def test_what_was_poured_counts_though_its_connection_cannot_be_bounded_or_watched_any_more(
    *, splices: bool
) -> None:
    near, taker = socket.socketpair()
    async with alone() as (connection, far):
        with near, taker, unwatched():
            connection.sock = cast("socket.socket", Unbounded(connection.sock))
            connection._wide = True
            body, put = body_over(connection, PIECE + 1, bytes(PIECE - 2), Pipes() if splices else None)
            far.send(b"abc")
            assert body.pour(near.fileno(), PIECE - 2) == PIECE - 2
            assert body.pour(near.fileno(), 3) == 3
            assert (put, connection.descriptor) == ([], -1), "nobody would see it end"


async def test_who_asks_or_waits_where_nothing_more_can_be_watched_is_told_and_nobody_else(untold: list[Any]) -> None:
    async with alone() as (connection, _far):
        with unwatched():
            with pytest.raises(OSError, match="No space"):
                await connection.ask(b"GET / HTTP/1.1\r\n\r\n", 4096, inf)
            with pytest.raises(OSError, match="No space"):
                await connection.readable(5)
        connection.close()
    gc.collect()
    assert not untold


@pytest.mark.parametrize("splices", [True, False])
async def test_no_more_is_poured_than_is_asked_for(*, splices: bool) -> None:
    near, taker = socket.socketpair()
    async with alone() as (connection, far):
        with near, taker:
            body, _ = body_over(connection, PIECE + 10, b"abc", Pipes() if splices else None)
            far.send(b"defgh")
            assert (body.pour(near.fileno(), 4), taker.recv(9)) == (4, b"abcd")
            assert (body.pour(near.fileno(), 2), taker.recv(9)) == (2, b"ef")
            await body.close()


async def test_what_tls_has_decrypted_is_not_waited_for() -> None:
    async with alone() as (connection, far):
        records = Records(connection.sock)
        connection.sock = connection.tls = cast("ssl.SSLSocket", records)
        body, _ = body_over(connection, PIECE + 1)
        far.send(b"abc")
        assert records.recv(1) == b"a"
        async with asyncio.timeout(0.5):
            await body.ready()
        await body.close()


def room(sock: socket.socket) -> tuple[int, int]:
    """Bytes that may wait at it: of its buffer, which Linux doubles, and of its window."""
    buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    return buffer, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP)


async def test_a_connection_that_was_widened_for_one_is_put_by_as_it_was_made() -> None:
    """The window with the buffer: else a larger one stays empty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = await Dialer("127.0.0.1", server.getsockname()[1], None, 8 * NARROW).dial()
        connection = Connection(asyncio.get_running_loop(), sock, lambda _: None)
        made = room(sock)
        assert made == (NARROW, NARROW)
        connection.narrow()
        connection.widen(NARROW)  # no more than it has
        assert room(sock) == made
        connection.widen(8 * NARROW)
        assert room(sock) == (8 * NARROW, 8 * NARROW)
        assert connection.put_by()
        assert room(sock) == (NARROW, NARROW)
        connection.close()


async def test_the_window_that_a_store_is_told_of_can_become_as_wide_as_the_buffer() -> None:
    """TCP scales it once, as it connects (RFC 7323 section 2): one scaled for a narrow buffer ended at 256 KiB."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        widest = Origin().receive_buffer_bytes
        sock = await Dialer("127.0.0.1", server.getsockname()[1], None, widest).dial()
        scaled = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[6] >> 4  # tcpi_rcv_wscale
        assert 0xFFFF << scaled >= widest
        sock.close()


SLOW_S = QUICK_S + 0.1


@pytest.mark.parametrize("splices", [True, False])
async def test_for_as_long_as_a_client_takes_all_or_is_quick_more_may_wait_for_it(
    *, splices: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr(bodies, "STRETCH", 3)
    monkeypatch.setattr(bodies, "time", SimpleNamespace(monotonic=lambda: clock.now))
    (near, taker), (full, _unread) = pairs = socket.socketpair(), socket.socketpair()
    full.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while full.send(bytes(PIECE)):
            pass
    async with alone() as (connection, far):
        body, _ = body_over(connection, 2 * PIECE, pipes=Pipes() if splices else None, widest=2 * NARROW)
        body._stretch = 3
        for took, then_full, wide in (
            (SLOW_S, False, False),  # nothing is known yet
            (SLOW_S, True, True),
            (SLOW_S, True, False),
            (QUICK_S, True, True),
            (SLOW_S, False, False),
            (SLOW_S, False, True),
        ):
            clock.now += took
            far.send(b"abcd")
            if then_full:
                with pytest.raises(BlockingIOError):
                    body.pour(full.fileno(), 4)
            assert (body.pour(near.fileno(), 4), taker.recv(9)) == (4, b"abcd")
            assert connection._wide == wide
        await body.close()
    for each in itertools.chain(*pairs):
        each.close()


async def test_of_a_body_that_is_read_only_haste_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr(bodies, "STRETCH", 3)
    monkeypatch.setattr(bodies, "time", SimpleNamespace(monotonic=lambda: clock.now))
    async with alone() as (connection, far):
        body, _ = body_over(connection, 2 * PIECE, widest=2 * NARROW)
        body._stretch = 3
        for took, wide in ((SLOW_S, False), (SLOW_S, False), (QUICK_S, True), (SLOW_S, False)):
            clock.now += took
            far.send(b"abcd")
            assert await body.read() == b"abcd"
            assert connection._wide == wide
        await body.close()


async def test_a_connection_that_was_closed_is_waited_for_by_nobody() -> None:
    async with alone() as (connection, _):
        connection.close()
        connection.close()
        with pytest.raises(ConnectionAbortedError):
            await connection.readable(inf)
