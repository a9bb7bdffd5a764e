"""Stores to try out, each over a real place: put objects there beside the store, then see what it makes of them."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from aiohttp import ClientSession, hdrs
from multidict import CIMultiDict
from yarl import URL

from gateway.config import DiskStore, Origin
from gateway.demo.ports import free_ports
from gateway.model import PIECE, Source, Span, Store
from gateway.stores import open_store
from gateway.stores.gcs import Gcs

from .gcs import GcsEmulator, GcsStub
from .s3 import SeaweedS3

QUICK = Origin(connect_s=1, first_byte_s=6, progress_s=1, resumes=3, connections=64)
"""Deadlines a test can wait for."""


class Lab(Protocol):
    """One kind of store, and the place behind it."""

    port: int | None
    """Where it is reached, for a proxy to stand before; None: not over a network."""
    lifetimes: AsyncExitStack

    def put(self, key: str, data: bytes, media_type: str = "audio/wav") -> None: ...
    def delete(self, key: str) -> None: ...

    async def make(self, origin: Origin, **how: Any) -> Store:
        """``port``: reached over that proxy. ``denied``: without the right to read. ``gone``: the bucket is not there."""
        ...


async def store_of(lab: Lab, origin: Origin = QUICK, **how: Any) -> Store:
    """A store of the lab's, closed with it."""
    store = await lab.make(origin, **how)
    lab.lifetimes.push_async_callback(store.close)
    return store


class S3Lab:
    def __init__(self, s3: SeaweedS3, lifetimes: AsyncExitStack) -> None:
        self._s3 = s3
        self.port: int | None = s3.port
        self.lifetimes = lifetimes
        self.put = s3.put
        self.delete = s3.delete

    async def make(self, origin: Origin, *, port: int | None = None, denied: bool = False, gone: bool = False) -> Store:
        changes = {"secret_access_key": "another"} if denied else {}
        if port is not None:
            changes["endpoint"] = f"http://127.0.0.1:{port}"
        if gone:
            changes["bucket"] = "no-such-bucket"
        return await open_store("lab", self._s3.settings(**changes), origin)


class GcsEmulatorLab:
    def __init__(self, gcs: GcsEmulator, lifetimes: AsyncExitStack) -> None:
        self._gcs = gcs
        self.port: int | None = gcs.port
        self.lifetimes = lifetimes
        self.put = gcs.put
        self.delete = gcs.delete

    async def make(self, origin: Origin, *, port: int | None = None, gone: bool = False) -> Store:
        changes = {} if port is None else {"endpoint": f"http://127.0.0.1:{port}"}
        if gone:
            changes["bucket"] = "no-such-bucket"
        return await open_store("lab", self._gcs.settings(**changes), origin)


class GcsStubLab:
    def __init__(self, stub: GcsStub, lifetimes: AsyncExitStack) -> None:
        self._stub = stub
        self.port: int | None = stub.port
        self.lifetimes = lifetimes
        self.put = stub.put
        self.delete = stub.delete

    async def make(self, origin: Origin, *, port: int | None = None, denied: bool = False, gone: bool = False) -> Store:
        self._stub.denied = denied
        settings = self._stub.settings(bucket="no-such-bucket") if gone else self._stub.settings()
        return Gcs("lab", settings, origin, google=f"http://127.0.0.1:{port or self._stub.port}")


class DiskLab:
    def __init__(self, root: Path, lifetimes: AsyncExitStack) -> None:
        self.root = root
        (root / ".lab").touch()  # an empty folder may be one that is not mounted
        self.port: int | None = None
        self.lifetimes = lifetimes

    def put(self, key: str, data: bytes, media_type: str = "") -> None:  # noqa: ARG002 - a file has none
        """As an upload would: written beside, then moved into place."""
        place = self.root / key
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.root / f".{uuid4()}"
        fresh.write_bytes(data)
        fresh.rename(place)

    def delete(self, key: str) -> None:
        (self.root / key).unlink()

    async def make(self, origin: Origin, *, gone: bool = False) -> Store:
        root = self.root / "no such folder" if gone else self.root
        return await open_store("lab", DiskStore(kind="disk", root=root), origin)


async def drain(source: Source) -> bytes:
    """All that comes, then close. Pieces must be of the size they are promised to have."""
    pieces = []
    try:
        while piece := await source.read():
            assert len(piece) <= PIECE
            pieces.append(piece)
        assert await source.read() == b""
    finally:
        await source.close()
    return b"".join(pieces)


async def read(store: Store, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """Those bytes of the object as it is now."""
    stat = await store.stat(key)
    return await drain(await store.open(key, Span(start, stat.size if stop is None else stop), stat.version))


async def signed(store: Store, key: str, ttl: timedelta = timedelta(minutes=5), **how: Any) -> str:
    """The URL of a link that must be there."""
    link = await store.sign(key, ttl, **({"media_type": "audio/wav", "disposition": None} | how))
    assert link is not None
    return link.url


async def fetch(lab: Lab, url: str, **headers: str) -> tuple[int, CIMultiDict[str], bytes]:
    """A signed URL as any client would; what names Google goes to the lab, with Google's name in Host."""
    where = URL(url, encoded=True)
    if isinstance(lab, GcsStubLab):
        headers[hdrs.HOST] = str(where.host)
        where = URL(f"http://127.0.0.1:{lab.port}{where.raw_path_qs}", encoded=True)
    async with ClientSession() as session, session.get(where, headers=headers, allow_redirects=False) as answer:
        return answer.status, CIMultiDict(answer.headers), await answer.read()


def unused_port() -> int:
    """Nobody listens there."""
    return free_ports(1)[0]


async def soon(event: asyncio.Future[Any] | asyncio.Task[Any], seconds: float = 5.0) -> None:
    """Waits for it, not for ever."""
    async with asyncio.timeout(seconds):
        await event
