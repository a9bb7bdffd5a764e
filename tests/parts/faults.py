"""A proxy that breaks HTTP/1 answers at the byte one names, and counts who is connected."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

PIECE = 64 * 1024


class Kind(StrEnum):
    """What happens."""

    CUT = "cut"
    """An orderly end of the connection (FIN)."""
    RESET = "reset"
    """RST."""
    STALL = "stall"
    """Nothing more comes, and the connection stays."""
    DELAY = "delay"
    """Nothing comes for ``seconds``; then all goes on."""
    THROTTLE = "throttle"
    """From here on ``rate`` bytes a second."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens after ``at`` bytes of a body; below zero: before its head."""

    kind: Kind
    at: int = 0
    seconds: float = 0.0
    rate: int = 0


class FaultProxy:
    """Stands before ``port`` on loopback. ``async with`` it, point a client at ``url``, and ``plan`` what breaks.

    Each planned fault (None: no fault) is for one answer to a GET that has a body and a 2xx; other answers, and those
    beyond the plan, pass untouched. Counts and waits are about the client's connections.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._plan: deque[Fault | None] = deque()
        self._always: Fault | None = None
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.send_buffer: int | None = None
        """Bytes that the kernel may hold for each client; None: as many as it likes, and ``sent`` counts them."""
        self.open = 0
        """Connections now."""
        self.total = 0
        """Connections ever."""
        self.answers = 0
        """Answers to GETs with a body and a 2xx, ever."""
        self.sent = 0
        """Bytes of those answers' bodies that were passed on, ever."""
        self.heads: list[bytes] = []
        """Request heads, oldest first."""
        self.struck: list[Fault] = []
        """Faults that came to pass, oldest first."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, *faults: Fault | None) -> None:
        """Adds to what is to come, one answer each."""
        self._plan.extend(faults)

    def forget(self) -> None:
        """What was planned and did not come to pass will not."""
        self._plan.clear()

    def always(self, fault: Fault | None) -> None:
        """What happens to every answer beyond the plan."""
        self._always = fault

    async def refuse(self) -> None:
        """New connections are refused; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """New connections are taken again, on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]

    async def until(self, done: Callable[[Self], bool]) -> None:
        """Waits until ``done(proxy)``; asked whenever a connection comes or goes, an answer is over or a fault strikes."""
        async with self._changed:
            await self._changed.wait_for(lambda: done(self))

    async def closed(self) -> None:
        """Waits until nobody is connected."""
        await self.until(lambda proxy: proxy.open == 0)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        await asyncio.sleep(0)  # connections that were just accepted begin, and can be ended
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _note(self, *, opened: int = 0, struck: Fault | None = None) -> None:
        self.open += opened
        self.total += max(opened, 0)
        if struck is not None:
            self.struck.append(struck)
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.send_buffer is not None:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        try:
            await self._note(opened=1)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=PIECE)
        except OSError:
            _reset(writer)
        else:
            connection = _Connection(self, reader, writer, far_reader, far_writer)
            with contextlib.suppress(
                asyncio.CancelledError
            ):  # only __aexit__ cancels; the stream's own task log is not ours
                await connection.run()
        finally:
            writer.close()
            self.open -= 1
            async with self._changed:
                self._changed.notify_all()

    def _next(self) -> Fault | None:
        self.answers += 1
        return self._plan.popleft() if self._plan else self._always


class _Connection:
    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._far_reader, self._far_writer = far_reader, far_writer
        self._methods: deque[str] = deque()
        writer.transport.set_write_buffer_limits(high=0)  # so that drain() means sent

    async def run(self) -> None:
        pumps = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._far_writer.transport.abort()  # before any wait, which could be cancelled
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self) -> None:
        async for head, body in _messages(self._reader, lambda head: _length(head) or 0):
            self._methods.append(head.split(b" ", 1)[0].decode())
            self._proxy.heads.append(head)
            self._far_writer.write(head)
            async for piece in body:
                self._far_writer.write(piece)
                await self._far_writer.drain()
            await self._far_writer.drain()

    async def _answers(self) -> None:
        async for head, body in _messages(self._far_reader, self._answer_length):
            fault = self._proxy._next() if self._method == "GET" and head[9:10] == b"2" and _length(head) else None
            if fault is not None and fault.at < 0:
                await self._strike(fault)
            self._writer.write(head)
            await self._forward(body, fault if fault is not None and fault.at >= 0 else None)

    def _answer_length(self, head: bytes) -> int | None:
        self._method = self._methods.popleft() if self._methods else ""
        bodiless = self._method == "HEAD" or head[9:12] in {b"204", b"304"} or head[9:10] == b"1"
        return 0 if bodiless else _length(head)

    async def _forward(self, body: AsyncIterator[bytes], fault: Fault | None) -> None:
        sent = 0
        rate = 0
        async for piece in body:
            if fault is not None and sent + len(piece) >= fault.at:
                await self._send(piece[: fault.at - sent], rate)
                await self._strike(fault)
                piece = piece[fault.at - sent :]  # noqa: PLW2901 - what is left of it
                sent, rate, fault = fault.at, fault.rate, None
            await self._send(piece, rate)
            sent += len(piece)
        await self._writer.drain()
        await self._proxy._note()

    async def _send(self, piece: bytes, rate: int) -> None:
        step = max(rate // 20, 1) if rate else len(piece) or 1
        for start in range(0, len(piece), step):
            self._writer.write(piece[start : start + step])
            await self._writer.drain()
            self._proxy.sent += len(piece[start : start + step])
            if rate:
                await asyncio.sleep(step / rate)

    async def _strike(self, fault: Fault) -> None:
        await self._writer.drain()
        await self._proxy._note(struck=fault)
        match fault.kind:
            case Kind.CUT:
                raise ConnectionError("cut")
            case Kind.RESET:
                _reset(self._writer)
                raise ConnectionError("reset")
            case Kind.STALL:
                await asyncio.Event().wait()  # until the client goes
            case Kind.DELAY:
                await asyncio.sleep(fault.seconds)
            case Kind.THROTTLE:
                pass


async def _messages(
    reader: asyncio.StreamReader, length_of: Callable[[bytes], int | None]
) -> AsyncIterator[tuple[bytes, AsyncIterator[bytes]]]:
    """Heads and bodies as they come; a body must be read before the next head. Ends with the connection."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        yield head, _body(reader, length_of(head))


async def _body(reader: asyncio.StreamReader, length: int | None) -> AsyncIterator[bytes]:
    """``length`` bytes; None: all there are."""
    left = length
    while left is None or left > 0:
        piece = await reader.read(PIECE if left is None else min(PIECE, left))
        if not piece:
            raise ConnectionError("ended early" if left else "ended")
        left = None if left is None else left - len(piece)
        yield piece


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
