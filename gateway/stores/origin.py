"""One ranged HTTP read, shared by the stores that are reached by HTTP.

What a store answers is checked before a byte of it is believed: RFC 9110 sections 14.4, 15.3.7 and 8.4. No URL stands
in any message: it may carry a signature.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from ..config import Origin
from ..errors import Broken, Changed, OriginFailed, OriginTimeout, Unavailable
from ..model import PIECE, Source, Span

TRIES: Final = 3
"""Times a store is asked before it counts as away. One that let the first-byte deadline pass is asked twice only."""
BACKOFF_S: Final = 0.05
ERROR_BYTES: Final = 8 * 1024
UNCODED: Final = frozenset({"", "identity", "aws-chunked"})
"""Content codings that change no byte; ``aws-chunked`` is a leftover of some uploads."""
CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)


class Refused(Exception):
    """The store answered 4xx, neither 412, 416 nor 429. Only its adapter knows what that means.

    ``body`` is the answer's beginning, at most ERROR_BYTES. It may quote a signature: it belongs in no message.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Pin:
    """The response field that tells which version was read, and what it must be."""

    field: str
    value: str
    required: bool = True
    """Whether an answer without the field is refused."""


def jittered(attempt: int) -> float:
    """Seconds to wait before try ``attempt`` + 1: doubling, capped at a second, half of it chance."""
    return min(BACKOFF_S * 2.0 ** (attempt - 1), 1.0) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


def fault(status: int, headers: Mapping[str, str], span: Span) -> str | None:
    """What is wrong with the head of a 200 or 206 for ``span``; None: nothing."""
    if headers.get("Content-Encoding", "").strip().lower() not in UNCODED:
        return "a content-encoded body; objects must be stored without Content-Encoding"
    if headers.get("Content-Length") != str(len(span)):
        return f"Content-Length {headers.get('Content-Length')} where {len(span)} bytes were asked for"
    if status == 200:  # noqa: PLR2004 - a status code is its own name
        return "200 and its beginning where a part was asked for" if span.start else None
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if match is None:
        return "206 without a Content-Range that can be read"
    first, last, total = map(int, match.groups())
    if (first, last) != (span.start, span.stop - 1) or total < span.stop:
        return f"bytes {first}-{last}/{total} where {span.start}-{span.stop - 1} were asked for"
    return None


def _sock(address: AddrInfoType, receive_buffer: int) -> socket.socket:
    """A socket to connect with; its buffer must be set before, or TCP tells the store of a larger one."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    return made


class Reader:
    """Reads byte ranges of one store over pooled connections. Made inside the loop that uses it."""

    def __init__(self, store: str, settings: Origin) -> None:
        self._store = store
        self._settings = settings
        self._session = ClientSession(
            connector=TCPConnector(
                limit=settings.connections, socket_factory=partial(_sock, receive_buffer=settings.receive_buffer_bytes)
            ),
            timeout=ClientTimeout(total=None, connect=settings.connect_s),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=PIECE,
            headers={"User-Agent": "recording-gateway", "Accept-Encoding": "identity"},
        )

    async def get(self, url: str, headers: Mapping[str, str], span: Span, pin: Pin) -> Source:
        """The bytes ``span`` of what ``url`` names; ``url`` is sent exactly as it is written.

        The store has answered, and rightly, when this returns. Raises Changed (412, 416, another ``pin``), Refused,
        Unavailable, OriginTimeout, OriginFailed.
        """
        asked = {**headers, "Range": f"bytes={span.start}-{span.stop - 1}"}
        where = URL(url, encoded=True)
        tries = TRIES
        while True:
            try:
                return await self._try(where, asked, span, pin)
            except Unavailable:
                tries -= 1
                if tries <= 0:
                    raise
            except OriginTimeout:
                tries -= 2
                if tries <= 0:
                    raise
            await asyncio.sleep(jittered(TRIES - tries))

    async def close(self) -> None:
        await self._session.close()

    async def _try(self, where: URL, headers: Mapping[str, str], span: Span, pin: Pin) -> Source:
        try:
            async with asyncio.timeout(self._settings.first_byte_s):
                response = await self._session.get(where, headers=headers, allow_redirects=False)
        except ConnectionTimeoutError:
            raise Unavailable(
                f"store {self._store}: no connection within connect_s ({self._settings.connect_s:g} s);"
                f" it is out of reach, or all {self._settings.connections} connections are in use"
            ) from None
        except TimeoutError:
            raise OriginTimeout(
                f"store {self._store}: no answer within first_byte_s ({self._settings.first_byte_s:g} s)"
            ) from None
        except ClientConnectorError as error:
            raise Unavailable(f"store {self._store}: cannot connect to {error.host}:{error.port}") from None
        except ClientResponseError:
            raise OriginFailed(f"store {self._store}: answered what is not HTTP; check its endpoint") from None
        except (ClientError, OSError) as error:
            raise Unavailable(f"store {self._store}: connection failed ({type(error).__name__})") from None
        try:
            await self._judge(response, span, pin)
        except BaseException:
            response.close()
            raise
        return Body(self._store, response, len(span), self._settings.progress_s)

    async def _judge(self, response: ClientResponse, span: Span, pin: Pin) -> None:
        status = response.status
        if status in {200, 206}:
            told = response.headers.get(pin.field)
            if told is None and pin.required:
                raise OriginFailed(
                    f"store {self._store}: answered without {pin.field}; which version it is can't be told"
                )
            if told is not None and told != pin.value:
                raise Changed(f"store {self._store}: {pin.field} is another")
            if (wrong := fault(status, response.headers, span)) is not None:
                raise OriginFailed(f"store {self._store}: answered {wrong}")
        elif status in {412, 416}:
            raise Changed(f"store {self._store}: answered {status}")
        elif status == 429 or status >= 500:  # noqa: PLR2004 - status codes are their own names
            raise Unavailable(f"store {self._store}: answered {status}")
        elif status >= 400:  # noqa: PLR2004
            raise Refused(status, await self._beginning(response))
        else:
            raise OriginFailed(f"store {self._store}: answered {status}; check its endpoint, region and addressing")

    async def _beginning(self, response: ClientResponse) -> bytes:
        body = b""
        try:
            async with asyncio.timeout(self._settings.progress_s):
                while len(body) < ERROR_BYTES and (piece := await response.content.read(ERROR_BYTES - len(body))):
                    body += piece
        except (ClientError, OSError):
            return body
        return body


class Body:
    """A response's body as a Source. Bytes are taken off the socket only while somebody reads."""

    __slots__ = ("_left", "_length", "_progress_s", "_response", "_store")

    def __init__(self, store: str, response: ClientResponse, length: int, progress_s: float) -> None:
        self._store = store
        self._response = response
        self._length = length
        self._left = length
        self._progress_s = progress_s

    async def read(self) -> bytes:
        if not self._left:
            return b""
        content = self._response.content
        try:
            if content.total_bytes > self._length - self._left:  # there is something to take: it will not wait
                piece = await content.read(PIECE)
            else:
                async with asyncio.timeout(self._progress_s):
                    piece = await content.read(PIECE)
        except (ClientError, OSError, RuntimeError) as error:  # RuntimeError: the connection is gone, says aiohttp
            raise Broken(
                f"store {self._store}: body broke {self._left} bytes before its end ({type(error).__name__})"
            ) from None
        if not piece:
            raise Broken(f"store {self._store}: body ended {self._left} bytes early")
        self._left -= len(piece)
        return piece

    async def close(self) -> None:
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()
