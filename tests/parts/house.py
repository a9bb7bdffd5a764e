"""A whole gateway as a process of its own, on real parts: how tests fill it, start it, stop it and kill it."""

import asyncio
import hashlib
import json
import os
import queue
import random
import signal
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from pydantic import TypeAdapter

from gateway.catalog.registry import Registry
from gateway.config import ENV_PREFIX, AnyStore, Database, Origin
from gateway.identity.keys import mint
from gateway.model import Key, Lifetime, NewCall, Object, State
from gateway.postgres import open_pool
from gateway.stores import open_store

from .aliases import fresh
from .forked import Forked, start

START_S = 60.0
SERVE = "import asyncio; from gateway.workers import serve; from gateway.config import load; asyncio.run(serve(load()))"
FULL = ("calls:read", "recordings:download", "recordings:write", "audit:read")
_STORE: TypeAdapter[Any] = TypeAdapter(AnyStore)


@dataclass(frozen=True)
class Filed:
    """A call that was registered: how surfaces name it, and what its object holds."""

    id: UUID
    alias: str
    data: bytes
    etag: str
    modified: datetime
    aliases: Mapping[str, str] = field(default_factory=dict)
    """surface → id; ``alias`` is yotel's"""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def native(self) -> str:
        return f"/v1/recordings/{self.id}/audio"

    @property
    def yotel(self) -> str:
        return f"/yotel/api/v1/calls/{self.alias}/recording/audio"


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A store's settings as the environment gives them, secrets and all."""
    shown = _STORE.validate_python(dict(settings)).model_dump(mode="json")
    return {k: v for k, v in (shown | dict(settings)).items() if v is not None}


@dataclass
class House:
    """One gateway's configuration and, once started, its process. ``stores``: name → settings as in the file."""

    database_url: str
    stores: Mapping[str, dict[str, Any]]
    sections: dict[str, Any] = field(default_factory=dict)
    """Name → table, or a list of tables."""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rg-house-")))
    serve: str = SERVE
    """What the process runs."""
    base_url: str = ""
    process: Forked | None = None
    logs: list[dict[str, Any]] = field(default_factory=list)
    _listener: threading.Thread | None = field(default=None, repr=False)

    def environment(self) -> dict[str, str]:
        """What tells the process its configuration."""
        sections: dict[str, Any] = {
            "server": {"port": 0, "drain_delay_s": 0, "drain_s": 20},
            "database": {"url": self.database_url},
            "stores": self.stores,
            "audit": {"journal_dir": str(self.folder / "journal")},
            "identity": {"link_keys": ["l" * 48]},
            "retention": {"sweep": False},  # what is past its end stays there to be asked for
            "limits": {"public": None, "failing": None},  # all tests ask from one address
        }
        for name, table in self.sections.items():
            sections[name] = sections.get(name, {}) | table if isinstance(table, dict) else table
        named = {ENV_PREFIX + name.upper(): json.dumps(table) for name, table in sections.items()}
        return {**os.environ, **named, "PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        """Returns once it listens. Its log lines are kept in ``logs``."""
        (self.folder / "journal").mkdir(exist_ok=True)
        self.process = start(self.serve, env=self.environment(), own=ENV_PREFIX, cwd=self.folder)
        serving: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, args=(self.process, serving), daemon=True)
        self._listener.start()
        url = serving.get(timeout=START_S)
        if url is None:
            raise RuntimeError(f"the gateway did not start: {self.logs}")
        self.base_url = url

    def _listen(self, process: Forked, serving: "queue.Queue[str | None]") -> None:
        with process.stderr:
            for line in process.stderr:
                try:
                    told = json.loads(line)
                except json.JSONDecodeError:
                    told = {"event": line.rstrip()}
                self.logs.append(told)
                if told.get("event") == "serving":
                    serving.put(told["url"])
        serving.put(None)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and the exit status; ``logs`` are whole then."""
        assert self.process is not None and self._listener is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._listener.join(10)
        return status

    def kill(self) -> None:
        assert self.process is not None and self._listener is not None
        self.process.kill()
        self.process.wait(10)
        self._listener.join(10)

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> tuple[int, bytes]:
        """One blocking request; for what needs no more."""
        request = urllib.request.Request(self.base_url + path, headers=dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class Office:
    """Fills the catalog: tenants, keys, calls whose objects lie in a store."""

    def __init__(self, database_url: str, stores: Mapping[str, dict[str, Any]]) -> None:
        self.database = Database.model_validate({"url": database_url})
        self.stores = {name: _STORE.validate_python(settings) for name, settings in stores.items()}

    async def tenant(self, slug: str = "acme", **settings: Any) -> UUID:
        """Made, or brought up to date; ``settings`` as Registry.create_tenant takes them."""
        async with _registry(self.database) as registry:
            return (await registry.create_tenant(slug, slug.title(), **settings)).id

    async def key(
        self, tenant: UUID, *scopes: str, expires_at: datetime | None = None, role: str | None = None
    ) -> dict[str, str]:
        """The request fields of a new key."""
        minted = mint("yt_live")
        async with _registry(self.database) as registry:
            key = Key(
                id=uuid4(),
                tenant=tenant,
                tenant_slug="",
                name="test",
                hint=minted.hint,
                scopes=frozenset(scopes or FULL),
                role=role,
                created_at=datetime.now(UTC),
                expires_at=expires_at,
            )
            await registry.create_key(key, minted.sha256)
        return {"Authorization": f"Bearer {minted.secret}"}

    async def call(
        self, tenant: UUID, state: State = State.ABSENT, *, aliases: Mapping[str, str] | None = None
    ) -> tuple[UUID, str]:
        """A new call and its yotel id; its recording is absent, pending, processing or failed."""
        named = fresh() | dict(aliases or {})
        async with _registry(self.database) as registry:
            call = await registry.create_call(tenant, NewCall(aliases=named))
            if state is State.FAILED:
                await registry.mark_failed(tenant, call, "it was never uploaded")
            elif state is not State.ABSENT:
                await registry.put_recording(tenant, call, state=state)
        return call, named["yotel"]

    async def transcript(
        self, tenant: UUID, call: UUID, text: str, *, language: str = "en", segments: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """A transcript that is done; ``segments`` as model.Segment has them."""
        await self.rows(
            "INSERT INTO transcripts (tenant_id, call_id, status, language, text, segments)"
            " VALUES ($1, $2, 'ready', $3, $4, $5)",
            tenant,
            call,
            language,
            text,
            json.dumps(list(segments)),
        )

    async def department(self, tenant: UUID, *calls: UUID) -> UUID:
        """A new department that ``calls`` belong to."""
        (row,) = await self.rows("INSERT INTO departments (tenant_id, name) VALUES ($1, 'Sales') RETURNING id", tenant)
        await self.rows("UPDATE calls SET department_id = $1 WHERE id = ANY($2::uuid[])", row["id"], list(calls))
        return UUID(bytes=row["id"].bytes)

    async def revoke(self, fields: Mapping[str, str]) -> None:
        """Revokes the key whose request fields these are."""
        secret = fields["Authorization"].removeprefix("Bearer ").encode()
        (row,) = await self.rows("SELECT id FROM api_keys WHERE sha256 = $1", hashlib.sha256(secret).digest())
        async with _registry(self.database) as registry:
            await registry.revoke_key(row["id"])

    async def file(
        self,
        tenant: UUID,
        store: str,
        key: str,
        data: bytes,
        *,
        voice_agent: bool = False,
        channels: int | None = 1,
        duration_ms: int | None = 1000,
        expires_at: datetime | None = None,
        media_type: str = "audio/wav",
        aliases: Mapping[str, str] | None = None,
        call: Mapping[str, Any] | None = None,
    ) -> Filed:
        """Registers ``key``, which must lie in ``store`` already, as a ready recording of a new call.

        ``aliases`` stand in place of fresh ones; ``call`` is what else is told of it, as NewCall takes it.
        """
        opened = await open_store(store, self.stores[store], Origin())
        try:
            stat = await opened.stat(key)
        finally:
            await opened.close()
        named = fresh() | dict(aliases or {})
        async with _registry(self.database) as registry:
            new = NewCall(aliases=named, voice_agent=voice_agent, **(call or {}))
            made = await registry.create_call(tenant, new)
            place = Object(store, key, stat, media_type)
            await registry.mark_ready(
                tenant,
                made,
                place,
                duration_ms=duration_ms,
                channels=channels,
                lifetime=Lifetime(expires_at=expires_at),
            )
        return Filed(made, named["yotel"], data, stat.etag, stat.modified, named)

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """What Postgres holds, as its owner sees it."""
        connection = await asyncpg.connect(self.database.url.get_secret_value())
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()


class _registry:  # noqa: N801 - used as a function
    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Registry:
        self._pool = await open_pool(self._database)
        return Registry(self._pool, self._database)

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes without a pattern that a shift would hide."""
    return random.Random(seed).randbytes(size)


async def gone(process: "asyncio.subprocess.Process") -> int:
    """Waits for a player's end."""
    async with asyncio.timeout(60):
        return await process.wait()
