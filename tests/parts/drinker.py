"""A client that is read by hand: one socket, nothing buffered but what the kernel holds, left in any way one likes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

PIECE = 64 * 1024


class Way(StrEnum):
    """How a client leaves."""

    CLOSE = "close"
    """close(2): a FIN, or a RST where bytes lie unread."""
    RESET = "reset"
    """A RST at once."""
    HALF = "half"
    """A FIN, and the socket stays: it reads no more, and does not say so."""


class Client:
    """One GET. Reading ends at the body's length or at the connection's end, whichever is first."""

    def __init__(self, raw: socket.socket, authority: str) -> None:
        self.raw = raw
        self._authority = authority
        self.status = 0
        self.fields: dict[str, str] = {}
        self.got = 0
        """Body bytes that came."""
        self._early = b""
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, base_url: str, *, receive_buffer: int | None = None) -> Self:
        """Connected, nothing sent. ``receive_buffer``: what the kernel may hold for it, in bytes. Raises OSError."""
        url = urlsplit(base_url)
        raw = socket.socket()
        try:
            if receive_buffer is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_connect(raw, (url.hostname, url.port))
        except BaseException:
            raw.close()
            raise
        return cls(raw, url.netloc)

    @classmethod
    async def ask(
        cls,
        base_url: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        receive_buffer: int | None = None,
    ) -> Self:
        """Connected, and a GET is sent."""
        client = await cls.connect(base_url, receive_buffer=receive_buffer)
        try:
            await client.request(path, headers)
        except BaseException:
            client.raw.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.raw.close()

    async def request(self, path: str, headers: Mapping[str, str] | None = None) -> None:
        """The first or another GET on the connection; the answer before it must have been read."""
        fields = {"Host": self._authority, **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.status, self.fields, self.got = 0, {}, 0
        with contextlib.suppress(ConnectionError):  # head() tells it, as it tells an end that comes later
            await self._loop.sock_sendall(self.raw, f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())

    async def head(self) -> int:
        """Reads the answer's head; its status, or 0: the connection ended before."""
        text = b""
        while b"\r\n\r\n" not in text:
            piece = await self._some(PIECE)
            if not piece:
                return 0
            text += piece
        lines, _, self._early = text.partition(b"\r\n\r\n")
        first, *rest = lines.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return self.status

    @property
    def length(self) -> int:
        """What was promised."""
        return int(self.fields["content-length"])

    @property
    def whole(self) -> bool:
        """All that was promised has come."""
        return self.status != 0 and self.got == self.length

    async def read(self, most: int = PIECE) -> bytes:
        """1 to ``most`` bytes of the body; ``b""``: that was all there is, see ``whole``."""
        most = min(most, self.length - self.got)
        if self._early:
            piece, self._early = self._early[:most], self._early[most:]
        else:
            piece = await self._some(most) if most else b""
        self.got += len(piece)
        return piece

    async def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes, or what came of them."""
        pieces = []
        while count and (piece := await self.read(min(count, PIECE))):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    async def rest(self) -> bytes:
        """All that is still to come."""
        return await self.exactly(self.length - self.got)

    async def ended(self) -> None:
        """Waits until the other side closes."""
        while await self._some(PIECE):
            pass

    def leave(self, way: Way) -> None:
        match way:
            case Way.CLOSE:
                self.raw.close()
            case Way.RESET:
                self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.raw.close()
            case Way.HALF:
                self.raw.shutdown(socket.SHUT_WR)

    async def _some(self, most: int) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self._loop.sock_recv(self.raw, most)
        return b""


async def fetch(base_url: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[Client, bytes]:
    """A whole GET: the client, closed, and what came of the body."""
    async with await Client.ask(base_url, path, headers) as client:
        body = await client.rest() if await client.head() else b""
    return client, body
