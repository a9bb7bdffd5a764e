"""What is written past the transport: in its order, and to nobody else's descriptor."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.edge.delivery import Delivery, _pour, _Watch
from gateway.edge.outlet import Outlet
from gateway.errors import Broken
from gateway.model import PIECE


class Transport:
    """Holds ``held`` bytes back, and notes what it is given."""

    def __init__(self) -> None:
        self.held = 0
        self.closing = False
        self.given: list[bytes] = []

    def get_write_buffer_size(self) -> int:
        return self.held

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.given.append(data)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def outlet_to(transport: Transport, sock: socket.socket | None = None) -> Outlet:
    request = cast("web.BaseRequest", SimpleNamespace(transport=transport, protocol=None))
    outlet = Outlet(request)
    outlet._socket = cast("Any", sock)
    return outlet


async def test_what_comes_behind_bytes_that_wait_waits_behind_them(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    transport = Transport()
    outlet = outlet_to(transport, near)
    assert outlet.offer(b"a", b"b")
    assert (far.recv(9), transport.given) == (b"ab", [])
    transport.held = 1
    assert not outlet.offer(b"c", b"d")
    assert transport.given == [b"cd"]
    with pytest.raises(BlockingIOError):
        far.recv(9)


async def test_of_a_connection_that_ends_nothing_is_written_to(ends: tuple[socket.socket, socket.socket]) -> None:
    """Its descriptor may be somebody else's by then."""
    near, far = ends
    transport = Transport()
    outlet = outlet_to(transport, near)
    assert outlet.fileno() == near.fileno()
    transport.closing = True
    for write in (outlet.fileno, lambda: outlet.offer(b"a"), lambda: outlet_to(transport)):
        with pytest.raises(ConnectionResetError):
            write()
    assert transport.given == []
    with pytest.raises(BlockingIOError):
        far.recv(9)


def fill(sock: socket.socket) -> int:
    """As much as it takes."""
    taken = 0
    with suppress(BlockingIOError):
        while True:
            taken += sock.send(bytes(PIECE))
    return taken


def watched(near: socket.socket) -> Outlet:
    outlet = outlet_to(Transport(), near)
    assert outlet.watchable()
    return outlet


async def test_whoever_has_more_is_called_each_time_the_socket_takes_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    room = fill(near)
    sent: list[int] = []

    def more() -> bool:
        sent.append(fill(near))
        asyncio.get_running_loop().call_later(0.01, lambda: far.recv(room))
        return len(sent) < 3

    outlet = watched(near)
    waiting = asyncio.ensure_future(outlet.whenever_writable(more))
    await asyncio.sleep(0)
    assert sent == [], "it is full"
    far.recv(room)
    async with asyncio.timeout(10):
        await waiting
    assert (len(sent), all(sent)) == (3, True)
    far.recv(room)
    await asyncio.sleep(0.02)
    assert len(sent) == 3, "it said that there was no more"
    outlet.close()


async def test_what_goes_wrong_meanwhile_is_raised_to_whoever_waits_and_held_by_nobody(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    def more() -> bool:
        raise Broken("the source")

    outlet = watched(ends[0])
    gc.disable()
    try:
        with pytest.raises(Broken, match="the source") as raised:
            await outlet.whenever_writable(more)
        left = weakref.ref(raised.value)
        del raised
        await asyncio.sleep(0)  # the loop has it for as long as it wakes this
        assert left() is None
    finally:
        gc.enable()
        outlet.close()


async def test_who_is_cancelled_while_it_waits_is_called_no_more(
    ends: tuple[socket.socket, socket.socket], untold: list[Any]
) -> None:
    near, far = ends
    room = fill(near)
    called: list[bool] = []
    outlet = watched(near)
    waiting = asyncio.ensure_future(outlet.whenever_writable(lambda: called.append(True) or True))
    await asyncio.sleep(0)
    far.recv(room)
    asyncio.get_running_loop().call_soon(waiting.cancel)  # in the very round in which the socket takes more
    with pytest.raises(asyncio.CancelledError):
        await waiting
    outlet.close()
    await asyncio.sleep(0.02)
    assert (called, untold) == ([], [])


async def test_who_is_cancelled_as_it_goes_wrong_leaves_nothing_untold(
    ends: tuple[socket.socket, socket.socket], untold: list[Any]
) -> None:
    def more() -> bool:
        waiting.cancel()
        raise Broken("the source")

    waiting: asyncio.Future[None]
    outlet = watched(ends[0])
    waiting = asyncio.ensure_future(outlet.whenever_writable(more))
    with pytest.raises((asyncio.CancelledError, Broken)):
        await waiting
    outlet.close()
    waiting = asyncio.ensure_future(asyncio.sleep(0))
    gc.collect()
    assert untold == []


async def test_nobody_is_watched_once_his_answer_is_over() -> None:
    transport = Transport()
    watch = _Watch(cast("Any", transport), Delivery(), 20)
    watch.begin()
    timer = watch._timer
    assert timer is not None and not timer.cancelled()
    watch.stop()
    assert timer.cancelled()


class Endless:
    """A Pourable whose client takes whatever it is given, at once."""

    def at_hand(self) -> memoryview:
        return memoryview(b"")

    def pour(self, _to: int, most: int) -> int:
        return min(most, PIECE)


async def test_others_have_their_turn_beside_a_client_that_takes_all_at_once() -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    came = Delivery()
    with socket.socket() as sock:
        await _pour(outlet_to(Transport(), sock), cast("Any", Endless()), 8 << 20, came, cast("Any", None))
    assert (came.sent, turns > 4) == (8 << 20, True)
