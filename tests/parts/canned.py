"""A server that says exactly the bytes it was given."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Self


class CannedServer:
    """Answers each request, on whatever connection, with the next of ``answers``; the last one serves for ever.

    An answer ``b""`` is a hang-up. ``heads`` are the requests that came. ``async with`` it, in the test's own loop.
    ``tls``: the context for localhost that it speaks TLS by.
    """

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answers = deque(answers)
        self._tls = tls
        self.heads: list[bytes] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        where = "http://127.0.0.1" if self._tls is None else "https://localhost"
        self.url = f"{where}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@contextlib.asynccontextmanager
async def outspoken(said: bytes) -> AsyncIterator[str]:
    """A server that says so to whoever connects, and then listens; its URL, by which it would speak TLS."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP/1.1 answer; ``Content_Length`` is the body's unless given, "" leaves it out. ``_`` stands for ``-``."""
    fields = {"Content_Length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body
