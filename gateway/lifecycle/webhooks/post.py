"""One try: one POST to one endpoint, over a connection of its own, to an address that was checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import (
    AddrInfoType,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidUrlClientError,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ...config import Webhooks
from .guard import Forbidden, Target
from .resolving import CheckedResolver, Resolve, guard_of
from .schedule import Tried

_ANSWER_BYTES: Final = 4096
"""Of an answer's body that are read, so that a polite endpoint is not cut off; no byte of it is looked at or kept."""
_ANSWER_S: Final = 0.5
_HEARD_BYTES: Final = 32 * 1024
"""Of all that an endpoint sends in one try. Aiohttp passes over interim answers (1xx) however many come: a read full of them takes it a
quarter of a second, in which nothing else is done here, and there would be another until the try is over."""


def longest_s(settings: Webhooks) -> float:
    """Seconds that a try can last."""
    return settings.connect_s + settings.answer_s + _ANSWER_S


_WORDS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    ((Forbidden, InvalidUrlClientError), "address_forbidden"),
    (ClientConnectorDNSError, "name_not_found"),
    (ConnectionTimeoutError, "connect_timed_out"),
    (TimeoutError, "timed_out"),
    (ClientSSLError, "tls_failed"),
    (ClientConnectorError, "not_connected"),
    ((ClientResponseError, ClientPayloadError, ValueError), "not_http"),
    ((ClientError, OSError), "connection_lost"),
)
"""What the log calls a failure; the first that fits."""


class _Brief(ResponseHandler):
    """A connection that hears no more than _HEARD_BYTES, and is cut off by whatever comes after them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._room = _HEARD_BYTES

    def data_received(self, data: bytes) -> None:
        over = len(data) > self._room
        data, self._room = data[: self._room], max(self._room - len(data), 0)
        super().data_received(data)
        if over and self.transport is not None:
            self.transport.abort()


class _Connector(TCPConnector):
    """Makes connections that are _Brief."""

    def __init__(self, **options: Any) -> None:  # Any: aiohttp's own
        super().__init__(**options)
        made: type[ResponseHandler] = _Brief
        self._factory = partial(made, loop=self._loop)


class Poster:
    """Made inside the loop that uses it. ``trust``: the TLS context, else the system's."""

    def __init__(self, settings: Webhooks, resolve: Resolve, *, trust: ssl.SSLContext | None = None) -> None:
        self._guard = guard_of(settings)
        self._connect_s, self._answer_s = settings.connect_s, settings.answer_s
        self._session = ClientSession(
            connector=_Connector(
                limit=0,  # whoever posts keeps count
                force_close=True,  # every try resolves and looks anew
                use_dns_cache=False,
                resolver=CheckedResolver(resolve, self._guard),
                socket_factory=self._socket,
                ssl=True if trust is None else trust,
            ),
            timeout=ClientTimeout(total=None, connect=settings.connect_s),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            headers={
                "User-Agent": "recording-gateway",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Tried:
        """Whatever happens is told in the Tried; nothing is raised. Ends within ``longest_s``."""
        at, begun = datetime.now(UTC), time.monotonic()
        status, retry_after = None, None
        try:
            async with asyncio.timeout(self._connect_s + self._answer_s):
                response = await self._ask(self._guard.target(url), body, headers)
            status, retry_after = response.status, response.headers.get("Retry-After")
            await _hear_out(response)
            error = _refusal(status)
        except Exception as failure:  # noqa: BLE001  an endpoint may do anything, and each failure is one to log and retry
            error = _word(failure)
        return Tried(at, round((time.monotonic() - begun) * 1000), status, error, retry_after)

    async def close(self) -> None:
        await self._session.close()

    async def _ask(self, target: Target, body: bytes, headers: Mapping[str, str]) -> ClientResponse:
        url = URL(target.url, encoded=True)
        if (url.raw_host or "").lower() != target.host or url.port != target.port:
            raise Forbidden("two parsers read the URL differently")
        return await self._session.post(url, data=body, headers=headers, allow_redirects=False)

    def _socket(self, address: AddrInfoType) -> socket.socket:
        """Every connection's socket is made here: the last look at where it leads."""
        family, kind, protocol, _, place = address
        self._guard.check([str(place[0])])
        return socket.socket(family, kind, protocol)


async def _hear_out(response: ClientResponse) -> None:
    with suppress(TimeoutError, ClientError, OSError):
        async with asyncio.timeout(_ANSWER_S):
            await response.content.read(_ANSWER_BYTES)
    response.close()


def _refusal(status: int) -> str | None:
    """The word for an answer; None: it took the event."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "redirected"
    return "gone" if status == HTTPStatus.GONE else "refused"


def _word(failure: Exception) -> str:
    """The word for a try without an answer: one of a few, never what a library or the endpoint says."""
    if isinstance(failure, ClientConnectorError) and isinstance(failure.os_error, Forbidden):
        return "address_forbidden"
    return next((word for kinds, word in _WORDS if isinstance(failure, kinds)), "defect")
