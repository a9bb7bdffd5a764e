"""Connections between this host and itself are not paced; others are as the system has it."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Self
from unittest import mock

import pytest
from aiohttp import web

from gateway.config import Config
from gateway.edge import pacing
from gateway.edge.bind import bind
from gateway.edge.pacing import PLAIN, near
from gateway.edge.server import Server
from gateway.listening import Listening


def congestion(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


def system() -> bytes:
    with socket.socket() as untouched:
        return congestion(untouched)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    pacing.pacing.cache_clear()
    yield
    pacing.pacing.cache_clear()


async def accepted() -> bytes:
    """The congestion control of a connection that this host has with itself, on the server's side."""
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answered.set_result(congestion(request.get_extra_info("socket")))
        return web.Response()

    server = Server(handler, head_timeout=30, max_line=16_384, max_body=1000, access_log=None)
    sock = bind(Config(server={"host": "127.0.0.1", "port": 0}))  # as pydantic reads it
    listening = Listening(sock, server, backlog=1)
    _, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    try:
        return await answered
    finally:
        writer.close()
        await listening.close()
        await server.shutdown(0)


@pytest.mark.parametrize(
    ("host_itself", "paces", "plain"), [(True, True, True), (False, True, False), (True, False, False)]
)
async def test_only_where_the_system_paces_and_the_client_is_near_a_connection_is_plain(
    *, host_itself: bool, paces: bool, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "PACES", (system(),) if paces else (b"nothing is called so",))
    monkeypatch.setattr(pacing, "near", lambda _peer, _own: host_itself)
    assert await accepted() == (PLAIN if plain else system())


async def test_a_client_on_this_host_is_near_by_the_addresses_of_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "PACES", (system(),))
    with mock.patch.object(pacing, "near", wraps=near) as asked:
        assert await accepted() == PLAIN
    asked.assert_called_once_with("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("peer", "own", "same"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.9", True),
        ("::1", "::1", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("2001:db8::1", "2001:db8::2", False),
        ("12.7.0.1", "10.1.2.4", False),
    ],
)
def test_two_addresses_are_of_one_host(peer: str, own: str, *, same: bool) -> None:
    assert near(peer, own) is same


class Refusing:
    """A socket of a system that lets nobody choose ``refused``."""

    def __init__(self, refused: bytes) -> None:
        self._refused = refused

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def getsockopt(self, *_: object) -> bytes:
        return b"bbr\0\0"

    def setsockopt(self, _level: int, _option: int, name: bytes) -> None:
        if name == self._refused:
            raise PermissionError


@pytest.mark.parametrize(("refused", "found"), [(PLAIN, None), (b"bbr", None), (b"cubic", b"bbr")])
def test_what_could_not_be_taken_back_is_not_touched(refused: bytes, found: bytes | None) -> None:
    with mock.patch.object(pacing.socket, "socket", return_value=Refusing(refused)):
        assert pacing.pacing() == found


def test_a_client_that_has_left_already_is_nobodys_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "pacing", lambda: b"bbr")
    gone = mock.Mock()
    gone.setsockopt.side_effect = OSError
    pacing.pace_from_afar(gone, "10.1.2.3", "10.1.2.4")
    gone.setsockopt.assert_called_once_with(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
