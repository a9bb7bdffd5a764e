"""Somebody who asks a ranged server for spans of its one object."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.model import Span
from gateway.stores.answer import Pin
from gateway.stores.body import Body
from gateway.stores.origin import Reader

from .labs import QUICK, drain
from .ranged import ETAG, RangedServer

DATA = bytes(range(256)) * 2000
SPAN = Span(5, 25)
PIN = Pin("ETag", ETAG)
WAYS = pytest.mark.parametrize("way", ["plain", "tls"])


class Asking:
    """A reader of one object of a server."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.reader = Reader("lab", QUICK.model_copy(update=changes))
        self.target = self.reader.target(url, {}, PIN)
        self.counts = self.reader.counts

    async def open(self, span: Span = SPAN) -> Body:
        return await self.reader.get(self.target, span)

    async def read(self, span: Span = SPAN) -> None:
        assert await drain(await self.open(span)) == DATA[span.start : span.stop]


@contextlib.asynccontextmanager
async def asking(server: RangedServer, *, host: str = "127.0.0.1", **changes: Any) -> AsyncIterator[Asking]:
    scheme = "http" if server._tls is None else "https"
    made = Asking(f"{scheme}://{host}:{server.port}/o", **changes)
    try:
        yield made
    finally:
        await made.reader.close()


@contextlib.asynccontextmanager
async def over(way: str, tls: ssl.SSLContext) -> AsyncIterator[tuple[RangedServer, Asking]]:
    async with (
        RangedServer(DATA, tls=tls if way == "tls" else None) as server,
        asking(server, host="localhost") as at,
    ):
        yield server, at
