"""How a store is reached: names, addresses, TLS."""

import asyncio
import gc
import socket
import ssl
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from parts.asking import DATA, Asking, asking
from parts.canned import answer, outspoken
from parts.certificates import server_context
from parts.labs import unused_port
from parts.loops import on_both_loops
from parts.ranged import RangedServer

from gateway.errors import OriginFailed, Unavailable
from gateway.stores.dial import REMEMBERED_S, Dialer, _once


@on_both_loops
async def test_whichever_address_answers_is_taken() -> None:
    async with RangedServer(DATA) as server, asking(server, host="localhost") as at:
        port = server.port
        both = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        (pool,) = at.reader._pools.values()
        pool._dialer._addresses, pool._dialer._until = both, float("inf")
        await asyncio.gather(*(at.read() for _ in range(4)))
        assert at.counts.connections == 4


@on_both_loops
async def test_a_name_is_looked_up_once_in_a_while_and_again_where_nobody_answers() -> None:
    async with RangedServer(DATA) as server, asking(server, host="localhost") as at:
        (pool,) = at.reader._pools.values()
        await asyncio.gather(*(at.read() for _ in range(3)))
        until = pool._dialer._until
        server.fields = "Connection: close\r\n"
        for _ in range(4):
            await at.read()
        assert pool._dialer._until == until <= asyncio.get_running_loop().time() + REMEMBERED_S
        pool._dialer._until -= REMEMBERED_S
        await at.read()
        assert pool._dialer._until >= until
        pool._dialer._addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", unused_port()))]
        await at.read()
        assert at.counts.retries == 1


@on_both_loops
async def test_a_name_whose_look_up_hangs_is_looked_up_once_however_many_want_it() -> None:
    """The loop looks few names up at once: others' wait behind them, Postgres's among them."""
    loop = asyncio.get_running_loop()
    asked, may_tell = 0, asyncio.Event()

    async def look_up(*about: Any, **how: Any) -> Any:
        nonlocal asked
        asked += about[0] == "localhost"  # uvloop asks for addresses, too
        await may_tell.wait()
        return socket.getaddrinfo(*about, **how)

    async with RangedServer(DATA) as server, asking(server, host="localhost", connect_s=0.3) as at:
        with mock.patch.object(loop, "getaddrinfo", look_up):
            for _ in range(2):
                with pytest.raises(Unavailable, match="no connection to localhost:"):
                    await at.open()
            may_tell.set()
            await asyncio.gather(*(at.read() for _ in range(9)))
        assert asked == 1


async def test_a_look_up_that_fails_once_nobody_waits_for_it_is_nobodys_business(untold: list[Any]) -> None:
    loop, dialer, may_fail = asyncio.get_running_loop(), Dialer("h", 1, None, 0), asyncio.Event()

    async def look_up(*_about: Any, **_how: Any) -> Any:
        await may_fail.wait()
        raise socket.gaierror

    with mock.patch.object(loop, "getaddrinfo", look_up):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(dialer.dial(), 0.01)
        looking = dialer._looking
        assert looking is not None
        may_fail.set()
        await asyncio.wait([looking])
        del looking
    gc.collect()
    assert untold == []


async def test_a_name_that_could_not_be_looked_up_is_looked_up_again_and_each_address_has_its_turn() -> None:
    loop, dialer = asyncio.get_running_loop(), Dialer("h", 1, None, 0)
    with mock.patch.object(loop, "getaddrinfo", side_effect=socket.gaierror()) as look_up:
        for count in (1, 2):
            with pytest.raises(socket.gaierror):
                await dialer.dial()
            assert look_up.await_count == count
        look_up.side_effect = None
        look_up.return_value = ["one", "other"]
        with mock.patch("gateway.stores.dial.start_connection") as connect:
            for _ in range(3):
                await dialer.dial()
    assert [list(call.args[0]) for call in connect.await_args_list] == [
        ["one", "other"],
        ["other", "one"],
        ["one", "other"],
    ]
    assert look_up.await_count == 3


async def test_a_handshake_that_is_given_up_leaves_nothing_watched() -> None:
    """A descriptor's number is soon another's."""
    loop, (near, far) = asyncio.get_running_loop(), socket.socketpair()
    with near, far:
        waiting = asyncio.create_task(_once(near, loop.add_reader, loop.remove_reader))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not loop.remove_reader(near.fileno())


@on_both_loops
async def test_tls_is_spoken_with_the_name_and_the_protocol(tls: ssl.SSLContext) -> None:
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with RangedServer(DATA, tls=tls) as server, asking(server, host="localhost") as at:
        await at.read()
        (pool,) = at.reader._pools.values()
        assert pool._idle[0].sock.selected_alpn_protocol() == "http/1.1"
        assert pool._idle[0].sock.server_hostname == "localhost"


@on_both_loops
async def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext) -> None:
    async with RangedServer(DATA, tls=tls) as server, asking(server, host="127.0.0.1") as at:
        with pytest.raises(OriginFailed, match=r"certificate of 127\.0\.0\.1:") as refused:
            await at.open()
        assert "mismatch" in str(refused.value)
        assert server.heads == []


@on_both_loops
async def test_a_certificate_of_an_unknown_authority_is_refused(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with RangedServer(DATA, tls=tls) as server, asking(server, host="localhost") as at:
        with pytest.raises(OriginFailed, match="certificate of localhost"):
            await at.open()
        assert server.heads == []


@on_both_loops
async def test_a_certificate_past_its_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, _ = server_context(tmp_path, "localhost", days=(-9, -2))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    async with RangedServer(DATA, tls=context) as server, asking(server, host="localhost") as at:
        with pytest.raises(OriginFailed, match="expired"):
            await at.open()
        assert server.heads == []


@on_both_loops
async def test_what_tls_failed_of_is_told() -> None:
    async with outspoken(answer("400 Bad Request")) as url:
        at = Asking(f"{url}/o")
        with pytest.raises(Unavailable, match=r"cannot connect to localhost:\d+ \(SSLError WRONG_VERSION_NUMBER\)"):
            await at.open()
        await at.reader.close()


@on_both_loops
async def test_a_server_that_speaks_no_tls_is_out_of_reach(tls: ssl.SSLContext) -> None:
    del tls
    async with RangedServer(DATA) as server:
        at = Asking(f"https://localhost:{server.port}/o", connect_s=0.1)
        with pytest.raises(Unavailable, match=r"no connection to localhost:"):
            await at.open()
        await at.reader.close()
