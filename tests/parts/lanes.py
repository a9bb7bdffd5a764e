"""A keep-alive connection that asks one thing after another, quickly."""

import asyncio
from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit

from .wire import Answer


class Lane:
    """One connection; a new one when the last has ended. ``async with`` it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._address = parts.hostname, parts.port
        self._host = parts.netloc
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def ask(
        self,
        method: str,
        path: str,
        query: str = "",
        lines: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        host: str | None = None,
    ) -> Answer:
        """Reads the whole answer, whose length is told."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        head = [f"{method} {path}{'?' if query else ''}{query} HTTP/1.1", f"Host: {host or self._host}"]
        head += [f"{name}: {value}" for name, value in lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*head, "", ""]).encode() + body)
        async with asyncio.timeout(30):
            first, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            fields = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in rest))
            status, named = int(first.split(" ")[1]), dict(fields)
            told = b""
            if method != "HEAD" and status not in {204, 304}:
                told = await self._reader.readexactly(int(named["content-length"]))
        if named.get("connection", "").lower() == "close":
            await self._close()
        return Answer(status, fields, told)

    async def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()
        self._reader = self._writer = None
