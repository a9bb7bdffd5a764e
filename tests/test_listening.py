"""Connections that are taken, and those that cannot be."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from parts.audit import until
from parts.pouring import no_descriptor_left
from structlog.testing import capture_logs

from gateway import listening
from gateway.listening import Listening


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


async def test_who_comes_while_no_descriptor_is_left_is_served_afterwards_and_the_log_has_a_line_of_it(
    bound: socket.socket, untold: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "REST_S", 0.01)
    tries: list[int] = []
    accept = socket.socket.accept
    monkeypatch.setattr(socket.socket, "accept", lambda sock: tries.append(1) or accept(sock))
    with capture_logs() as told, socket.create_connection(bound.getsockname()) as client:
        client.setblocking(False)
        with no_descriptor_left():
            port = Listening(bound, Greeter, backlog=1024)
            await until(lambda: len(tries) >= 3)
        assert [line["event"] for line in told] == ["no connection taken"]
        assert len(tries) < 10
        async with asyncio.timeout(20):
            assert await asyncio.get_running_loop().sock_recv(client, 10) == b"hello"
        await until(lambda: told[-1]["event"] == "connections taken again")
        await port.close()
    assert len(told) == 2
    assert not untold


async def test_closing_while_no_descriptor_is_left_ends_the_tries(
    bound: socket.socket, untold: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "REST_S", 0)
    with capture_logs() as told, socket.create_connection(bound.getsockname()), no_descriptor_left():
        port = Listening(bound, Greeter, backlog=1024)
        await until(lambda: bool(told) and port._rest is not None)
        await port.close()
        for _ in range(10):
            await asyncio.sleep(0)  # in any of which a try would come
    assert not untold


async def test_who_was_queued_when_it_is_closed_is_taken_first(bound: socket.socket):
    descriptor, made = bound.fileno(), list[Greeter]()

    def make() -> Greeter:
        made.append(Greeter())
        return made[-1]

    port = Listening(bound, make, backlog=8)
    with socket.create_connection(bound.getsockname()) as one, socket.create_connection(bound.getsockname()) as other:
        await port.close()
        assert len(made) == 2
        for client in (one, other):
            client.setblocking(False)
            async with asyncio.timeout(20):
                assert await asyncio.get_running_loop().sock_recv(client, 10) == b"hello"
    assert bound.fileno() < 0
    assert not asyncio.get_running_loop().remove_reader(descriptor), "another's one day"


@pytest.mark.parametrize("closing", [True, False])
async def test_who_has_left_again_holds_up_nobody_who_is_queued_behind(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch, *, closing: bool
):
    taken = [ConnectionAbortedError(), *[None] * 100]
    accept = socket.socket.accept

    def aborted_at_first(sock: socket.socket) -> Any:
        if (error := taken.pop(0)) is not None:
            raise error
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", aborted_at_first)
    with capture_logs() as told, socket.create_connection(bound.getsockname()) as client:
        client.setblocking(False)
        port = Listening(bound, Greeter, backlog=8)
        if closing:
            await port.close()
        async with asyncio.timeout(20):
            assert await asyncio.get_running_loop().sock_recv(client, 10) == b"hello"
        if not closing:
            await port.close()
    assert not told


async def test_a_port_that_cannot_be_watched_again_is_tried_until_it_can(
    bound: socket.socket, untold: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "REST_S", 0.01)
    loop, tries = asyncio.get_running_loop(), list[int]()

    def unwatched(*_: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with capture_logs() as told, socket.create_connection(bound.getsockname()) as client:
        client.setblocking(False)
        with no_descriptor_left(), monkeypatch.context() as failing:
            port = Listening(bound, Greeter, backlog=8)
            await until(lambda: bool(told))
            failing.setattr(loop, "add_reader", unwatched)
            await until(lambda: len(tries) >= 2)
        async with asyncio.timeout(20):
            assert await loop.sock_recv(client, 10) == b"hello"
        await port.close()
    assert [line["problem"] for line in told] == ["Too many open files", *["No space left on device"] * 2]
    assert not untold
