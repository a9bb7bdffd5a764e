"""A server of one object by ranges, that closes, cuts and dawdles as it is told to."""

import asyncio
import contextlib
import re
import ssl
from collections import deque
from collections.abc import Callable
from typing import Self

ETAG = '"v"'


class RangedServer:
    """``async with`` it in the test's own loop. ``heads`` are the requests that came, ``total`` the connections."""

    def __init__(self, data: bytes, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._data = data
        self._tls = tls
        self._host = host
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self.heads: list[bytes] = []
        self.total = 0
        self.cuts: deque[int | None] = deque()
        """For each answer: after how many bytes of its body the connection ends; None: not at all."""
        self.split: Callable[[bytes], list[bytes]] = lambda answer: [answer]
        """Into what pieces an answer's head leaves."""
        self.fields = ""
        """More of them, each with its line's end."""
        self.before = b""
        """Sent ahead of each answer."""
        self.after = b""
        """Sent behind each answer."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.hang_up()

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._writers)

    async def hang_up(self) -> None:
        """On everybody."""
        self.may_answer.set()
        for writer in list(self._writers):
            writer.transport.abort()
        await self.until(lambda: not self._writers)

    async def until(self, done: Callable[[], bool]) -> None:
        """Asked whenever a connection or a request comes or goes."""
        async with self._changed:
            await self._changed.wait_for(done)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.total += 1
        await self._note()
        try:
            while await self._answer(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._writers.discard(writer)
            await self._note()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        self.heads.append(request)
        await self._note()
        await self.may_answer.wait()
        asked = re.search(rb"Range: bytes=(\d+)-(\d+)\r\n", request)
        assert asked is not None
        first, last = int(asked[1]), int(asked[2])
        body = memoryview(self._data)[first : last + 1]
        head = (
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(body)}\r\nETag: {ETAG}\r\n{self.fields}"
            f"Content-Range: bytes {first}-{last}/{len(self._data)}\r\n\r\n"
        )
        for piece in self.split(self.before + head.encode()):
            writer.write(piece)
            await asyncio.sleep(0)
        cut = self.cuts.popleft() if self.cuts else None
        writer.write(bytes(body[:cut]))
        if self.after:
            writer.write(self.after)
        await writer.drain()
        return cut is None and "close" not in self.fields
