"""Figures have a listener of their own: a TCP port for Prometheus, a socket in the file system for a supervisor.

It shares nothing with the listener of the surfaces: no route, no port, no limit.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from aiohttp.web_protocol import RequestHandler

from ..config import Unbindable
from ..listening import Listening
from .pages import merge

log = structlog.get_logger("gateway.metrics")

Page = Callable[[], Awaitable[bytes]]
"""Gives the page as it is now."""

SOCKET = "RECORDING_GATEWAY_METRICS_SOCKET"
"""Names the environment variable that holds the path of a worker's own socket; its supervisor has the port."""
PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATIENCE_S = 1.0
"""Seconds that a worker has to give its page."""

_FIELDS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_KEEPALIVE_S = 75.0
_ASK_S = 10.0
"""Seconds that a new connection has to ask for something: aiohttp itself would wait for ever."""
_CLOSE_S = 0.2
_BACKLOG = 100
"""Connections that may wait: those who scrape are few."""


class _Server(web.Server):
    """Closes a new connection that asks for nothing in time."""

    def __init__(self, page: Page) -> None:
        super().__init__(self._heed, access_log=None, keepalive_timeout=_KEEPALIVE_S)
        self._answer = _handler(page)
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    def __call__(self) -> RequestHandler:
        connection = super().__call__()
        self._silent[connection] = self._loop.call_later(_ASK_S, connection.force_close)
        return connection

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._let_be(handler)
        super().connection_lost(handler, exc)

    async def _heed(self, request: web.BaseRequest) -> web.StreamResponse:
        self._let_be(request.protocol)
        return await self._answer(request)

    def _let_be(self, connection: RequestHandler) -> None:
        if (timer := self._silent.pop(connection, None)) is not None:
            timer.cancel()


@asynccontextmanager
async def serve_page(
    page: Page, *, host: str = "127.0.0.1", port: int = 0, path: Path | None = None
) -> AsyncIterator[int]:
    """Answers GET and HEAD /metrics while the context lasts, at ``path`` or else at ``host`` and the port that it gives.

    Nothing is removed at the end: a path may be a successor's by then.
    Raises Unbindable where the port can't be had, OSError where the path can't.
    """
    server = _Server(page)
    if path is not None:
        sockets = [_bound_at(path)]
    else:
        sockets = await _bound(host, port)
        port = sockets[0].getsockname()[1]
    async with AsyncExitStack() as open_until_then:
        open_until_then.push_async_callback(server.shutdown, _CLOSE_S)
        for each in sockets:
            open_until_then.callback(each.close)
        try:
            for each in sockets:
                open_until_then.push_async_callback(Listening(each, server, backlog=_BACKLOG).close)
        except OSError as error:  # of two that have bound a port it is the first's who listens
            if path is not None:
                raise
            raise _taken(host, port, error) from error
        yield port


async def refuse_taken(*, host: str, port: int) -> None:
    """Raises Unbindable where the port can't be had. Nobody is answered."""
    for each in await _bound(host, port):
        each.close()


async def _bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``, bound and no more. Raises Unbindable."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
        sockets = [each.dup() for each in server.sockets]  # its own are closed with it
        server.close()
    except OSError as error:
        raise _taken(host, port, error) from error
    return sockets


def _taken(host: str, port: int, error: OSError) -> Unbindable:
    named = error.errno and not isinstance(error, socket.gaierror)  # whose numbers are its own
    reason = os.strerror(error.errno or 0) if named else str(error)
    return Unbindable([f"metrics.port: cannot listen on {host}:{port}: {reason}; change metrics.host or metrics.port"])


def _bound_at(path: Path) -> socket.socket:
    """In the place of a dead one. Raises OSError."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    return sock


async def fetch_page(path: Path) -> str:
    """The page that a worker serves at ``path``. Raises OSError: it did not give one within PATIENCE_S."""
    try:
        async with (
            ClientSession(connector=UnixConnector(str(path)), timeout=ClientTimeout(PATIENCE_S)) as session,
            session.get(f"http://worker{PATH}") as answer,
        ):
            if answer.status != HTTPStatus.OK:
                raise OSError(f"{path}: status {answer.status}")
            return await answer.text("utf-8")
    except (ClientError, UnicodeDecodeError) as error:
        raise OSError(f"{path}: {error}") from error


async def merged_page(paths: Mapping[str, Path]) -> bytes:
    """All workers' pages as one, by the workers' names; who does not answer is left out, and told as down."""
    told = await asyncio.gather(*(fetch_page(path) for path in paths.values()), return_exceptions=True)
    pages: dict[str, str] = {}
    down: list[str] = []
    for worker, page in zip(paths, told, strict=True):
        if isinstance(page, str):
            pages[worker] = page
        elif isinstance(page, OSError):
            log.warning("no figures from a worker", worker=worker, detail=str(page))
            down.append(worker)
        else:
            raise page
    return merge(pages, down).encode()


def _handler(page: Page) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PATH:
            return web.Response(status=HTTPStatus.NOT_FOUND, headers=_FIELDS)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={**_FIELDS, "Allow": "GET, HEAD"})
        return web.Response(body=await page(), headers={**_FIELDS, "Content-Type": CONTENT_TYPE})

    return answer
