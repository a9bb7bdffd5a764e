"""What aiohttp's server does under our Connection: raw sockets, malformed heads, slow heads. Fails when internals move."""

import asyncio
import contextlib
import gc
import time
import weakref
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from parts.audit import until

from gateway.edge.server import Connection, Server

HEAD_TIMEOUT = 0.4
KEPT_S = 5
"""Seconds that a connection is kept idle."""
PATIENCE_S = 30.0
"""For heads that are not slow, and for answers: a busy machine may be."""


@contextlib.asynccontextmanager
async def serving(handler, head_timeout=PATIENCE_S):
    server = Server(
        handler, head_timeout=head_timeout, max_line=16_384, max_body=1000, keepalive_timeout=KEPT_S, access_log=None
    )
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], server
    finally:
        listener.close()
        await server.shutdown(0)
        await listener.wait_closed()


async def plain(request):
    request.protocol.answered()
    return web.Response(text="ok")


async def talk(port, sent):
    """Everything the server says to ``sent`` until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(PATIENCE_S / 2):
            return await reader.read()
    finally:
        writer.close()


GOOD = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"secret-word\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret-word",
    ],
    ids=[
        "CL and TE",
        "signed length",
        "bare LF",
        "long field",
        "many fields",
        "long target",
        "space before colon",
        "NUL in a field",
        "HTTP/2 by prior knowledge",
        "no HTTP",
        "TLS on plain",
    ],
)
async def test_what_is_not_http_gets_a_400_that_echoes_nothing_and_is_closed(head):
    async with serving(plain) as (port, _):
        answer = await talk(port, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"secret-word" not in answer
    assert b"\r\nConnection: close" in answer


UPGRADE = b"GET /first HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
WITH_BODY = b"POST /first HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[bytes]:
    """Each read that a connection has taken in."""
    reads, method = asyncio.Queue(), Connection.data_received

    def taking(self, data):
        method(self, data)
        if data:
            reads.put_nowait(data)

    monkeypatch.setattr(Connection, "data_received", taking)
    return reads


@pytest.mark.parametrize(
    "reads",
    [
        [UPGRADE + GOOD],
        [UPGRADE + GOOD[:20], GOOD[20:]],
        [UPGRADE[:-2], UPGRADE[-2:] + GOOD],
        [UPGRADE[:-1], UPGRADE[-1:] + GOOD],
        [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + UPGRADE + GOOD],
        [WITH_BODY + GOOD],
        [WITH_BODY[:-2], WITH_BODY[-2:] + GOOD],
    ],
    ids=["whole", "in part", "its end split", "its last byte apart", "behind another", "with a body", "in its body"],
)
async def test_what_comes_behind_an_upgrade_that_is_unknown_is_not_waited_for(reads, taken):
    """The parser drops it. The rest of a request that was cut must not be taken for one, nor its client wait for an answer."""
    asked, sent = [], asyncio.Event()

    async def named(request):
        asked.append(request.path)
        await request.read()
        await sent.wait()
        return await plain(request)

    async with serving(named) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for read in reads:
            writer.write(read)
            assert await asyncio.wait_for(taken.get(), PATIENCE_S) == read
        begun = time.monotonic()
        sent.set()
        answer = await reader.read()
        took = time.monotonic() - begun
        writer.close()
    assert asked[-1] == "/first"
    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 200") == len(asked)
    assert answer.count(b"\r\nConnection: close") == 1
    assert took < KEPT_S / 2


@pytest.mark.parametrize(
    "reads",
    [[UPGRADE, GOOD], [UPGRADE[:40], UPGRADE[40:], GOOD], [UPGRADE.replace(b"h2c", b"websocket") + GOOD]],
    ids=["alone", "alone, in two", "known"],
)
async def test_an_upgrade_that_nothing_is_lost_behind_is_answered_and_the_connection_kept(reads, taken):
    async with serving(plain) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for read in reads:
            writer.write(read)
            assert await asyncio.wait_for(taken.get(), PATIENCE_S) == read
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
    assert answer.count(b"HTTP/1.1 200") == 2


def after(monkeypatch: pytest.MonkeyPatch, name: str) -> asyncio.Event:
    """Set once a connection has done what it does by that name."""
    done, method = asyncio.Event(), getattr(Connection, name)

    def doing(self):
        method(self)
        done.set()

    monkeypatch.setattr(Connection, name, doing)
    return done


def a_head_of(size: int) -> bytes:
    """So many bytes, all but its end."""
    head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + (b"X: " + b"a" * 6_000 + b"\r\n") * 10
    return head + b"X: " + b"b" * (size - len(head) - 5) + b"\r\n"


@pytest.mark.parametrize(
    ("size", "status"), [(65_536, b"200"), (65_537, b"400")], ids=["as long as may be", "a byte longer"]
)
async def test_a_head_longer_than_four_long_lines_is_answered_before_its_end(size, status):
    head = a_head_of(size)
    async with serving(plain) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head[:30_000])
        await writer.drain()
        writer.write(head[30_000:])
        if status == b"200":
            writer.write(b"\r\n")
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S / 2)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_head_longer_than_that_behind_an_answer_is_the_last(monkeypatch: pytest.MonkeyPatch):
    answering, closed = asyncio.Event(), after(monkeypatch, "close")

    async def held(request):
        answering.set()
        await closed.wait()
        return await plain(request)

    async with serving(held) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await answering.wait()
        writer.write(a_head_of(65_537))
        answers = await asyncio.wait_for(reader.read(), PATIENCE_S / 2)
        writer.close()
    assert answers.count(b"HTTP/1.1 200 ") == 1


async def test_a_head_that_drips_is_closed_at_its_deadline():
    async with serving(plain, HEAD_TIMEOUT) as (port, _):
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def drip():
            with contextlib.suppress(ConnectionError):
                for byte in GOOD * 100:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert HEAD_TIMEOUT * 0.9 < time.monotonic() - begun < HEAD_TIMEOUT * 20
        dripping.cancel()
        writer.close()


async def test_a_client_that_says_nothing_is_closed_at_the_deadline():
    async with serving(plain, HEAD_TIMEOUT) as (port, server):
        assert await talk(port, b"") == b""
        assert not server.connections


async def test_a_kept_connection_may_be_idle_longer_than_a_head_may_take():
    async with serving(plain, HEAD_TIMEOUT) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"ok")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), HEAD_TIMEOUT * 2)
        writer.write(b"GET / HTTP/1.1\r\n")  # a head that has begun may not
        assert await asyncio.wait_for(reader.read(), KEPT_S * 0.8) == b""
        writer.close()


async def test_heads_are_bounded_each_by_itself_and_not_all_of_a_connection_together():
    head = a_head_of(40_000).replace(b"Connection: close\r\n", b"")
    async with serving(plain) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.connections)
        (connection,) = server.connections
        for _ in range(3):
            before = connection._head_came
            writer.write(head)
            await until(lambda before=before: connection._head_came > before)
            writer.write(b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"ok")
        writer.close()


async def test_a_request_whose_head_has_begun_to_come_is_waited_for_and_answered_as_serving_ends():
    async with serving(plain) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        (connection,) = server.connections
        writer.write(b"GET / HTTP/1.1\r\n")
        await until(lambda: connection._head_came > 0)
        server.pre_shutdown()
        heard = asyncio.create_task(server.heard(PATIENCE_S))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(heard), HEAD_TIMEOUT)
        writer.write(b"Host: h\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        await heard
        server.pre_shutdown()
        assert await asyncio.wait_for(reader.read(), KEPT_S / 2) == b""
        writer.close()


@pytest.mark.parametrize("behind", [False, True], ids=["nothing behind it", "a request behind it"])
async def test_one_that_is_answered_past_aiohttp_as_serving_ends_is_its_connections_last_but_for_what_has_come(behind):
    async with serving(plain) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.connections)
        (connection,) = server.connections
        connection.goes_on(SimpleNamespace(handed_over=False))
        server.pre_shutdown()
        if behind:
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await until(lambda: connection._held)
        connection.transport.write(b"its answer")
        connection.answered()
        connection.goes_on(None)
        assert await reader.readexactly(10) == b"its answer"
        if behind:
            assert b"200 OK" in await reader.readuntil(b"ok")
            server.pre_shutdown()
        assert await asyncio.wait_for(reader.read(), KEPT_S / 2) == b""
        writer.close()


async def test_what_is_not_http_behind_an_answer_gets_its_400_as_well():
    async def written_past_aiohttp(request):
        request.protocol.under_way = True
        return await plain(request)

    async with serving(written_past_aiohttp) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"secret-word\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S / 2)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_what_comes_late_of_a_body_is_no_slow_head():
    async with serving(plain, HEAD_TIMEOUT) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), HEAD_TIMEOUT * 2)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.close()


async def test_a_slow_answer_is_no_slow_head():
    async def slow(_request):
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(HEAD_TIMEOUT * 2))})
        return web.Response(text="late")

    async with serving(slow, HEAD_TIMEOUT) as (port, _):
        assert (await talk(port, GOOD)).endswith(b"late")


async def test_a_client_that_leaves_cancels_its_handler_at_once():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stuck(_request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(stuck) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GOOD)
        await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()


async def test_little_of_what_is_asked_behind_an_answer_is_taken_in_and_all_of_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
):
    """Else whoever takes no answers could fill the memory with heads."""
    answering, go_on = asyncio.Event(), asyncio.Event()
    held_back = after(monkeypatch, "_pause_reading_for_buffer")

    async def held(request):
        answering.set()
        await go_on.wait()
        return await plain(request)

    fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8000) for number in range(6))
    asked = b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"
    async with serving(held) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        await answering.wait()
        writer.write(asked * 30 + GOOD)
        (connection,) = server.connections
        try:
            async with asyncio.timeout(PATIENCE_S):
                await held_back.wait()
            assert len(connection._messages) == 1
        finally:
            go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            answers = await reader.read()
        writer.close()
    assert answers.count(b"HTTP/1.1 200 ") == 32


async def test_a_connection_that_is_over_is_freed_with_its_socket_and_waits_for_no_collection():
    transports = []

    async def noted(request):
        transports.append(weakref.ref(request.transport))
        request.protocol.answered()
        return web.Response(text="ok")

    async with serving(noted) as (port, _):
        gc.disable()
        try:
            assert (await talk(port, GOOD)).startswith(b"HTTP/1.1 200 ")
            await until(lambda: transports[0]() is None)
        finally:
            gc.enable()


def test_the_internals_that_connection_builds_on_are_where_they_were():
    for name in (
        "connection_made", "data_received", "connection_lost", "handle_error", "force_close", "_pause_reading_for_buffer",
    ):  # fmt: skip
        assert callable(getattr(RequestHandler, name))
    assert {"_messages", "_msg_queue_resume_size"} <= {*RequestHandler.__slots__}
    assert issubclass(Connection, RequestHandler)
