"""Where everything is measured: one origin, one set of objects, one Postgres whose catalog knows them."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import shutil
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from gateway.catalog.registry import Registry
from gateway.catalog.schema import migrate
from gateway.config import Config, Origin, load
from gateway.demo import postgres, seaweed
from gateway.demo.ports import free_ports, is_free
from gateway.demo.server import Server
from gateway.demo.shelves import Bucket
from gateway.demo.state import State
from gateway.issuing import issue_key
from gateway.model import NewCall, Object, Stat
from gateway.postgres import open_pool
from gateway.stores import open_store

from .certificates import write_certificates
from .sizes import SPAN, Size

HERE = Path(__file__).parent
BUCKET = "recordings"
SIGNED_FOR = timedelta(hours=6)


class Sheet(Template):
    """A configuration file with holes: ``@name``, because nginx's own variables are ``$name``."""

    delimiter = "@"


def fill(source: str, to: Path, holes: Mapping[str, object]) -> Path:
    """``bench/<source>`` written to ``to``."""
    to.write_text(Sheet((HERE / source).read_text("utf-8")).substitute(holes), "utf-8")
    return to


@dataclass(frozen=True, slots=True)
class Stage:
    """All that variants and workloads are told."""

    folder: Path
    objects: Path
    size: Size
    keys: Sequence[str]
    """Whole objects; all hold the same bytes."""
    cold: Sequence[str]
    """Objects of one range's length, for ids that nobody has asked for yet."""
    sha256: str
    plain_origin: int
    tls_origin: int
    origin_pid: int
    database_url: str
    postgres_pid: int
    secret: str
    """The API key, which peers that look at it know as well."""
    calls: Mapping[tuple[str, str], UUID]
    """(store, key) → the call's id in the catalog."""
    s3: seaweed.S3 | None = None
    """A real S3, where a workload wants one: slower than nginx, and it checks signatures."""
    signed: Mapping[str, str] = field(default_factory=dict)
    """Key → path and query of a presigned URL there."""

    @property
    def ca(self) -> Path:
        """What variants verify the TLS origin with."""
        return self.folder / "tls" / "ca.pem"

    @property
    def s3_origin(self) -> int:
        """Its port; where there is none, another origin's, which then nobody asks."""
        return (urlsplit(self.s3.endpoint).port if self.s3 else None) or self.plain_origin

    def holes(self) -> dict[str, object]:
        """What configuration files are told."""
        return {
            "folder": self.folder,
            "objects": self.objects,
            "tls": self.folder / "tls",
            "bucket": BUCKET,
            "plain_origin": self.plain_origin,
            "tls_origin": self.tls_origin,
            "s3_origin": self.s3_origin,
            "s3_store": _s3_store(self.s3) if self.s3 else "",
            "secret": self.secret,
            "database_url": self.database_url,
            "user": "user root;" if os.geteuid() == 0 else "",
        }


@contextmanager
def passing_state() -> Iterator[State]:
    """One that goes with all that belongs to it."""
    with TemporaryDirectory(prefix="rg-bench-") as name:
        folder = Path(name)
        try:
            with State(folder) as state:
                yield state
        finally:
            postgres.forget(folder)


async def set_up(state: State, size: Size, stack: AsyncExitStack, *, s3: bool = False) -> Stage:
    """What it starts ends with ``stack``. ``s3``: a real S3 beside the origin that all others have."""
    keys, cold, digest = _objects(state.folder / "objects", size)
    write_certificates(state.folder / "tls")
    database, url = await postgres.start(state)
    stack.push_async_callback(database.stop)
    await _empty(url)
    plain, tls = free_ports(2)
    stage = Stage(
        folder=state.folder,
        objects=state.folder / "objects",
        size=size,
        keys=keys,
        cold=cold,
        sha256=digest,
        plain_origin=plain,
        tls_origin=tls,
        origin_pid=0,
        database_url=url,
        postgres_pid=pid_of(state.folder, "postgres"),
        secret=secrets.token_urlsafe(24),
        calls={},
    )
    config = fill(
        "peers/origin.conf", state.folder / "origin.conf", stage.holes() | {"plain_port": plain, "tls_port": tls}
    )
    origin = await Server.start(
        "origin", nginx(state.folder, "origin", config), folder=state.folder, ready=listening(plain, tls)
    )
    stack.push_async_callback(origin.stop)
    stage = replace(
        stage, origin_pid=pid_of(state.folder, "origin"), s3=await _start_s3(state, stage, stack) if s3 else None
    )
    written = fill(
        "gateway.toml", state.folder / "catalog.toml", stage.holes() | {"port": 0, "journal": state.folder / "journal"}
    )
    return await _catalog(load(written), stage)


def nginx(folder: Path, name: str, config: Path) -> list[str | Path]:
    """The command that runs one of that name; all that it writes is below ``folder``."""
    (folder / f"{name}.tmp").mkdir(exist_ok=True)
    return ["nginx", "-e", "stderr", "-p", folder, "-c", config]


def pid_of(folder: Path, name: str) -> int:
    """Of a server that ``Server.start`` started there."""
    return int((folder / f"{name}.pid").read_text())


class listening:  # noqa: N801 - a function that remembers
    """Ready once all of ``ports`` are taken."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports

    async def __call__(self) -> bool:
        return not any(is_free(port) for port in self._ports)


def _objects(folder: Path, size: Size) -> tuple[list[str], list[str], str]:
    """Every object has the same bytes, and a file of its own: a disk store serves no file that has several names."""
    shutil.rmtree(folder, ignore_errors=True)
    bucket = folder / BUCKET
    bucket.mkdir(parents=True)
    content = random.Random(1).randbytes(size.object_bytes)
    keys = [f"whole-{place}.wav" for place in range(size.streams)]
    cold = [f"cold-{place}.wav" for place in range(size.cold_ids)]
    for key in keys:
        _write(bucket / key, content)
    for key in cold:
        _write(bucket / key, content[:SPAN])
    return keys, cold, hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """On the disk, so that nothing is being written while something is measured."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())


async def _empty(url: str) -> None:
    """Each run begins with an empty database."""
    server, _, name = url.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


async def _start_s3(state: State, stage: Stage, stack: AsyncExitStack) -> seaweed.S3:
    """With the objects that it is to have."""
    server, s3 = await seaweed.start(state)
    stack.push_async_callback(server.stop)
    async with Bucket.open(s3) as bucket:
        for key in _keys(stage, "s3"):
            await bucket.put(key, stage.objects / BUCKET / key, "audio/wav")
    return s3


def _s3_store(s3: seaweed.S3) -> str:
    """Its part of the gateway's configuration."""
    return f"""[stores.s3]
kind = "s3"
bucket = "{s3.bucket}"
endpoint = "{s3.endpoint}"
access_key_id = "{s3.access_key_id}"
secret_access_key = "{s3.secret_access_key}"
"""


async def _catalog(config: Config, stage: Stage) -> Stage:
    """Every object registered in every store; the stage with the API key, the calls, and what was signed."""
    await migrate(config.database)
    stats: dict[str, dict[str, Stat]] = {}
    signed: dict[str, str] = {}
    for name in config.stores:
        if name == "tls":  # the same objects as plain
            continue
        store = await open_store(name, config.stores[name], Origin())
        try:
            stats[name] = {key: await store.stat(key) for key in _keys(stage, name)}
            if name == "s3":
                for key in stats[name]:
                    link = await store.sign(key, SIGNED_FOR, media_type="audio/wav", disposition=None)
                    assert link is not None, "an S3 signs"
                    url = urlsplit(link.url)
                    signed[key] = f"{url.path}?{url.query}"
        finally:
            await store.close()
    stats["tls"] = stats["plain"]
    pool = await open_pool(config.database)
    try:
        registry = Registry(pool, config.database)
        tenant = await registry.create_tenant("bench", "Benchmarks")
        _, minted = await issue_key(registry, tenant, "bench", ["recordings:download"], prefix="rg_live")
        calls = {}
        for name in config.stores:
            for key in _keys(stage, name):
                calls[name, key] = await registry.create_call(tenant.id, NewCall())
                await registry.mark_ready(tenant.id, calls[name, key], Object(name, key, stats[name][key], "audio/wav"))
    finally:
        await pool.close()
    return replace(stage, secret=minted.secret, calls=calls, signed=signed)


def _keys(stage: Stage, store: str) -> list[str]:
    match store:
        case "plain":
            return [*stage.keys, *stage.cold]
        case "s3":
            return [stage.keys[0], stage.keys[-1]]
        case _:
            return list(stage.keys)


def trusting(ca: Path) -> dict[str, str]:
    """Environment that has OpenSSL, botocore and httpx verify the origin with ``ca``."""
    assert ssl.get_default_verify_paths().openssl_cafile_env == "SSL_CERT_FILE"
    return {"SSL_CERT_FILE": str(ca), "AWS_CA_BUNDLE": str(ca), "REQUESTS_CA_BUNDLE": str(ca)}
