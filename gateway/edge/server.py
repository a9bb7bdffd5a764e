"""aiohttp's server, with a deadline for request heads and errors that echo nothing. All that touches its internals.

What is used beyond aiohttp's documented surface:

- ``Server.__call__`` makes the protocol, which is a ``RequestHandler``;
- ``RequestHandler.handle_error`` words the answer to what could not be parsed;
- of a response that a handler returns, only ``prepare``, ``write_eof`` and ``keep_alive`` are used;
- parsed requests wait in ``_messages``, and after ``_pause_reading_for_buffer`` nothing is read until they are answered;
- what comes in one read behind a request that asks for an unknown upgrade is dropped; of a known one ``_upgraded`` is set;
- a connection that waits for a request has a ``_waiter`` that is not done; ``_close``, ``_force_close``: it takes no more;
- ``_process_keepalive`` closes what is idle from ``_next_keepalive_close_time`` on, and ``_keepalive_handle`` is its timer;
- ``_drain_helper`` waits until the transport holds nothing back;
- ``_read_ready_cb`` of asyncio's transport.

``tests/edge/test_server.py`` and ``tests/e2e/test_repeats.py`` fail when those move.
"""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler

from ..http.head import response_head
from .pacing import pace_from_afar
from .repeats import Asked, whole_head

SERVER = "recording-gateway"

_MALFORMED = (
    b'{"type":"urn:recording-gateway:problem:bad_request","title":"Bad request","status":400,"code":"bad_request",'
    b'"detail":"The request is not valid HTTP, or its head is too long."}'
)
"""Whose it was to word is not known: it is worded as native's."""

_FIELDS = {
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": SERVER,
}

_SPOKEN = frozenset({HttpVersion10, HttpVersion11})

_LOOK_S = 0.02
_RING = "_read_ready_cb"
"""The attribute in which asyncio's transport refers to a method of its own: a cycle that keeps it, and its socket, until a collection."""
_BEHIND = 65_536
"""Bytes of pipelined requests taken in while one is answered; the read that exceeds this is still taken whole."""
_LINE_END, _HEAD_END = b"\r\n", b"\r\n\r\n"
_LONG_LINES = 4
"""A whole request head may be as large as this many lines of the greatest length."""


class Ongoing(Protocol):
    """A request that is answered past aiohttp."""

    begun: float
    request_id: str
    handed_over: bool

    @property
    def event(self) -> UUID: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def of(self) -> tuple[UUID, str]:
        """Recording and etag."""
        ...

    @property
    def durable(self) -> Awaitable[None]: ...
    def lost(self) -> None: ...
    def cut_off(self) -> None: ...
    def taken_over(self) -> None: ...


class Taking(Protocol):
    """Who may answer requests past aiohttp."""

    def put_off(self, look: Callable[[], None], /) -> bool:
        """Whether ``look`` is called in a moment, together with that of others whose requests have come. False: there are none."""
        ...

    def take(self, connection: Connection, data: bytes, /) -> bool:
        """Whether it does. Then it has told ``goes_on``, and tells that it is over, hands it over, or gives it back."""
        ...


class Connection(RequestHandler):
    """One client's connection: a request head that is not whole in time closes it."""

    __slots__ = (
        "_behind", "_come", "_fields", "_head_came", "_head_timeout", "_head_timer", "_held", "_longest_head", "_ongoing",
        "_retiring", "_serving", "_taking", "asked", "body", "foreign", "fresh", "lost", "peer", "raw", "socket", "under_way",
    )  # fmt: skip

    asked: Asked | None
    """What the last request was found to be like."""
    fresh: bool
    """It has asked nothing yet."""
    lost: bool
    """The client has left, or was cut off."""
    foreign: bool
    """The last request names an HTTP version that is not spoken here; its answer says HTTP/1.1."""
    body: StreamReader | None
    """The last request's body. If the answer left before all of it came, the next bytes are its rest and not a head."""
    socket: TransportSocket | None
    """A plain socket, which may be written to past the transport. None: this is not one (TLS)."""
    peer: bytes
    """The address it comes from."""
    raw: bytes | None
    """All that came of the last request, where it came alone and at once."""
    under_way: bool
    """Some of the answer to the last request has left."""

    def __init__(
        self,
        manager: web.Server,
        *,
        head_timeout: float,
        max_line: int,
        fields: Mapping[str, str],
        taking: Taking | None = None,
        **options: Any,  # aiohttp's own
    ) -> None:
        """``fields``: of the answer to a head that could not be read."""
        super().__init__(manager, max_line_size=max_line, max_field_size=max_line, **options)
        self._fields = fields
        self._head_timeout = head_timeout
        self._longest_head = _LONG_LINES * max_line
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_came = 0
        self._serving = False
        self._behind = 0
        self._msg_queue_resume_size = 0  # what was held back comes once all that waits here was answered
        self.fresh = True
        self.lost = False
        self.under_way = False
        self.foreign = False
        self.body = None
        self.socket = None
        self.peer = b""
        self.asked = None
        self.raw = None
        self._taking = taking
        self._ongoing: Ongoing | None = None
        self._retiring = False
        self._held = b""
        self._come = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            self.transport.set_write_buffer_limits(high=0)  # so that drained means that the kernel has it
            if self.transport.get_extra_info("sslcontext") is None:
                self.socket = self.transport.get_extra_info("socket")
            peer = _host(self.peername)
            self.peer = peer.encode()
            if self.socket is not None:
                pace_from_afar(self.socket, peer, _host(self.transport.get_extra_info("sockname")))
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._ongoing is not None and not self._ongoing.handed_over:
            self._hold(data)
            return
        if self._come:
            self._come += data
        elif self._taking is not None and self.asked is not None and self._taking.put_off(self._look):
            self._come = data
        else:
            self._come = data
            self._look()

    def _look(self) -> None:
        """At what has come."""
        data, self._come = self._come, b""
        if self.lost:
            return
        if self._taking is not None and self._is_idle() and whole_head(data):
            self.raw = data
            if self._taking.take(self, data):
                return
        else:
            self.raw = None
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        late = not data or (self.body is not None and not self.body.is_eof())  # aiohttp itself may come with nothing
        waiting = len(self._messages)
        super().data_received(data)
        if len(self._messages) > waiting:
            self._heed_upgrade(data)
        if self._serving and self._messages:
            self._behind += len(data)
            if self._behind > _BEHIND and not self._buffer_paused:
                self._pause_reading_for_buffer()  # or whoever takes no answers could fill the memory with heads
        if not self._messages and not late:
            self._head_grows(len(data))

    def eof_received(self) -> None:
        """A client that closes its sending side during an answer counts as gone, or one that reads no more would hold the origin open."""
        if self._serving and self.transport is not None:
            self.transport.abort()

    def _is_idle(self) -> bool:
        """Nothing of a request has come, none is being answered, and the next may be."""
        waiter = self._waiter
        return (
            waiter is not None
            and self.socket is not None
            and not (waiter.done() or self._serving or self._head_came or self._messages)
            and (self.body is None or self.body.is_eof())
            and not (self._upgraded or self._close or self._force_close)
        )

    def _hold(self, data: bytes) -> None:
        """Until what is being answered is over."""
        self._held += data
        if len(self._held) > _BEHIND and self.transport is not None:
            self.transport.pause_reading()

    def goes_on(self, ongoing: Ongoing | None) -> None:
        """A request is being answered past aiohttp; None: no more."""
        self._ongoing = ongoing
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if ongoing is not None:
            self.head_read()
        elif self._held:
            self._let_go()
        elif self._retiring:
            self.retire()

    def hand_over(self, data: bytes) -> None:
        """Aiohttp is given ``data`` as if nobody had begun to answer it."""
        self._receive(data)
        self._let_go()

    def give_back(self, data: bytes) -> None:
        """As ``hand_over``, of what nothing was begun of."""
        self._ongoing = None
        self.hand_over(data)

    def take_over(self) -> Ongoing | None:
        """What was begun of the request that was handed over; None: nothing was."""
        ongoing, self._ongoing = self._ongoing, None
        return ongoing

    def _let_go(self) -> None:
        held, self._held = self._held, b""
        if self.transport is None or self.transport.is_closing():
            return  # nobody would hear the answers
        if len(held) > _BEHIND:
            self.transport.resume_reading()
        if held:
            self.data_received(held)

    def _process_keepalive(self) -> None:
        if self._ongoing is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  as aiohttp calls it
        self._held = b""  # or an answer to what waits would be taken for that to what is cut off
        if self._ongoing is not None:
            self._ongoing.cut_off()
        await super().shutdown(timeout)

    async def drained(self) -> None:
        """Waits until the kernel has what was written. Raises ConnectionError."""
        await self._drain_helper()
        if self.lost:  # of a connection that is aborted it says that all has left
            raise ConnectionResetError("the connection was lost")

    @property
    def expected(self) -> bool:
        """A request is: its first one, or one whose head has begun to come."""
        return self.fresh or self._head_came > 0

    def retire(self) -> None:
        """Takes no more requests, except one that is being received and the first one of a fresh connection.

        aiohttp's ``close`` alone would leave an idle connection open, and requests on it unanswered.
        """
        self._retiring = self._ongoing is not None
        if self._retiring or self.expected or (self._serving and self.body is not None and not self.body.is_eof()):
            return  # closing, aiohttp would take in no more of a body either; its answer says that it is the last
        self.close()
        if not self._serving and not self._messages:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost, self.body, self.asked, self._held = True, None, None, b""
        self._stop_timer()
        if self._ongoing is not None:
            self._ongoing.lost()
        transport = self.transport
        super().connection_lost(exc)
        if hasattr(transport, _RING):
            setattr(transport, _RING, _nothing)

    def head_read(self) -> None:
        """A whole head has come; its answer is under way."""
        self._serving, self.fresh, self.under_way, self._head_came = True, False, False, 0
        if not self._messages:
            self._behind = 0
        self._stop_timer()

    def answered(self) -> None:
        """The next byte begins another head."""
        self._serving = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it quotes what was sent
    ) -> web.StreamResponse:
        """Words what could not be parsed, without a word of it, and closes."""
        if self.under_way or request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionAbortedError("the answer is already under way, or nobody is there to take it")
        if status != HTTPStatus.BAD_REQUEST:
            self.log_exception("unhandled error", exc_info=exc)
        response = web.Response(status=status, body=_MALFORMED if status == HTTPStatus.BAD_REQUEST else b"")
        response.headers.update(self._fields)
        response.force_close()
        return response

    def _heed_upgrade(self, data: bytes) -> None:
        """Makes the last request of ``data`` the connection's last if the parser may have dropped what came behind it.

        What comes next could be the rest of a request, and be taken for one. Nothing was dropped where ``data`` holds the end
        of one head, and that is its own.
        """
        message, payload = self._messages[-1]
        if not isinstance(message, RawRequestMessage) or not message.upgrade or self._upgraded:
            return
        ends = data[:1] not in _LINE_END and data.find(_HEAD_END) == len(data) - len(_HEAD_END)
        if not ends or payload is not EMPTY_PAYLOAD:
            self._messages[-1] = message._replace(should_close=True), payload

    def _head_grows(self, count: int) -> None:
        """So many bytes of a head have come, and not its end. Aiohttp bounds each line and how many there are, not their sum."""
        if self._head_timer is None and not self._serving:
            self._await_head()
        self._head_came += count
        if self._head_came <= self._longest_head:
            return
        if self._serving:
            self.close()  # behind the answer that is under way
        elif self.transport is not None:
            fields = {**self._fields, "Content-Length": str(len(_MALFORMED))}
            self.transport.write(response_head(HTTPStatus.BAD_REQUEST, fields, keep_alive=False) + _MALFORMED)
            self.force_close()

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._head_timeout, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.force_close()


def _host(name: object) -> str:
    """Of a socket's name: of its address, the port says nothing."""
    return str(name[0] if isinstance(name, tuple) else name)


def _nothing() -> None:
    """In place of a method."""


class Answered(web.StreamResponse):
    """What a handler returns that has written its answer itself: aiohttp asks it for nothing but ``keep_alive``."""

    def __init__(self, *, keep_alive: bool) -> None:  # StreamResponse's own would make what nobody reads
        self._keep_alive = keep_alive

    @property
    def keep_alive(self) -> bool:
        return bool(self._keep_alive)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002  as aiohttp calls it
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """All of it has left."""


class Server(web.Server):
    """Makes Connections. The handler is cancelled the moment its client is gone."""

    def __init__(
        self,
        handler: Any,
        *,
        head_timeout: float,
        max_line: int,
        max_body: int,
        fields: Mapping[str, str] = MappingProxyType({}),
        taking: Taking | None = None,
        **options: Any,  # both Any: aiohttp's own
    ) -> None:
        """``fields``: of the answer to a head that could not be read, beside those that it always has."""
        super().__init__(handler, request_factory=self._begin, handler_cancellation=True)
        self._head_timeout = head_timeout
        self._max_line = max_line
        self._max_body = max_body
        self._fields = {**_FIELDS, **fields}
        self._taking = taking
        self._options = options

    def pre_shutdown(self) -> None:
        """Ends idle connections. Those that are fresh, or amid a head, may ask once, and should be told to close then."""
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.retire()

    async def heard(self, within_s: float) -> None:
        """Waits until no request is expected, no longer than ``within_s`` seconds: some connections are opened ahead of need."""
        end = self._loop.time() + within_s
        expected = True
        while expected and self._loop.time() < end:
            await asyncio.sleep(_LOOK_S)
            expected = any(isinstance(one, Connection) and one.expected for one in self.connections)

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            head_timeout=self._head_timeout,
            max_line=self._max_line,
            fields=self._fields,
            taking=self._taking,
            **self._options,
        )

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        foreign = message.version not in _SPOKEN
        if isinstance(protocol, Connection):
            protocol.head_read()
            protocol.foreign = foreign
            protocol.body = payload
        if foreign or message is ERROR:  # what could not be parsed is given out as HTTP/1.0
            message = message._replace(version=HttpVersion11)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body)
