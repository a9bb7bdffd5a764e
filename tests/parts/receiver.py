"""An endpoint that webhooks are sent to: it remembers what came, and behaves as told."""

import asyncio
import contextlib
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Came:
    """One request that came whole."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The payload, if the library's own verifier takes the signature; else raises."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Behaviour = Callable[[Came], Answer | None]
"""What to answer. None: nothing, until ``release``."""


@dataclass
class Receiver:
    """On a loopback port of its own; ``stop`` and ``start`` keep it."""

    behave: Behaviour = lambda _came: Answer()
    host: str = "127.0.0.1"
    came: list[Came] = field(default_factory=list)
    connections: int = 0
    overlaps: list[str] = field(default_factory=list)
    """Ids that came to a path while one of the same id had not been answered there."""
    most: Counter[str] = field(default_factory=Counter)
    """By path: how many were being answered at the same time at most."""
    port: int = 0
    tls: ssl.SSLContext | None = None
    keep_open: bool = False
    """Whether a connection stays open after its answer, until the other side closes it."""

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._released = asyncio.Event()
        self._at_once: Counter[tuple[str, str]] = Counter()
        self._busy: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens, and connections are cut."""
        assert self._server is not None
        self._server.close()
        for writer in [*self._writers]:
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    @property
    def busy(self) -> bool:
        """Is any request being answered?"""
        return self._busy.total() > 0

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}:{self.port}{path}"

    def release(self) -> None:
        """Whoever waits for an answer gets a 200; from now on nobody waits."""
        self._released.set()

    async def until(self, done: Callable[[], bool], within_s: float = 30) -> None:
        """Waits until ``done``; looked at whenever a request came or was answered."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(done)

    async def until_came(self, count: int, path: str | None = None, within_s: float = 30) -> list[Came]:
        """Waits for so many requests; returns them all, in order."""
        await self.until(lambda: len(self.at(path)) >= count, within_s)
        return self.at(path)

    def at(self, path: str | None) -> list[Came]:
        return [came for came in self.came if path is None or came.path == path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            came = await _read(reader)
            async with self._noticed(came):
                answer = self.behave(came)
                if answer is None:
                    await _either(self._released.wait(), reader.read(1))
                    answer = Answer()
            writer.write(_written(answer))
            await writer.drain()
            if self.keep_open:
                await reader.read(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    @asynccontextmanager
    async def _noticed(self, came: Came) -> AsyncIterator[None]:
        this = (came.path, came.id)
        if self._at_once[this]:
            self.overlaps.append(came.id)
        self._at_once[this] += 1
        self._busy[came.path] += 1
        self.most[came.path] = max(self.most[came.path], self._busy[came.path])
        self.came.append(came)
        await self._tell()
        try:
            yield
        finally:
            self._at_once[this] -= 1
            self._busy[came.path] -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def receiver(
    behave: Behaviour = lambda _came: Answer(),
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> AsyncIterator[Receiver]:
    made = Receiver(behave, host, port=port, tls=tls)
    await made.start()
    try:
        yield made
    finally:
        if made._server is not None:
            await made.stop()


@asynccontextmanager
async def on_one_port(*hosts: str) -> AsyncIterator[list[Receiver]]:
    """One at each of ``hosts``. A port that is free at the first may be taken at another: then with the next."""
    while True:
        async with contextlib.AsyncExitStack() as stack:
            made = [await stack.enter_async_context(receiver(host=hosts[0]))]
            try:
                for host in hosts[1:]:
                    made.append(await stack.enter_async_context(receiver(host=host, port=made[0].port)))
            except OSError:
                continue
            yield made
            return


async def _read(reader: asyncio.StreamReader) -> Came:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    assert method == "POST"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Came(urlsplit(target).path, headers, body)


def _written(answer: Answer) -> bytes:
    fields = {"Content-Length": str(len(answer.body)), **answer.fields}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {answer.status} Whatever\r\n{head}\r\n".encode() + answer.body


async def _either(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
