"""A pipeline on a real database and a real store, in which something may happen at the wrong moment."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.lifecycle.pipeline import Pipeline
from gateway.model import CallRef, Entry, Link, NewCall, Source, Span, Stat, Store

from .labs import Lab


class Meddled:
    """A store in which something may happen just before it is asked for bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before_open: Callable[[], None] = lambda: None
        self.opened: list[Span] = []

    def unfit(self, key: str) -> str | None:
        return self._store.unfit(key)

    async def stat(self, key: str) -> Stat:
        return await self._store.stat(key)

    async def open(self, key: str, span: Span, version: str) -> Source:
        self.opened.append(span)
        self.before_open()
        return await self._store.open(key, span, version)

    async def sign(self, key: str, ttl: timedelta, *, media_type: str, disposition: str | None) -> Link | None:
        return await self._store.sign(key, ttl, media_type=media_type, disposition=disposition)

    async def delete(self, key: str, version: str) -> None:
        await self._store.delete(key, version)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        await self._store.close()


@dataclass(frozen=True)
class Works:
    """The pipeline, what stands behind it, and a tenant."""

    pipeline: Pipeline
    registry: Registry
    catalog: PostgresCatalog
    lab: Lab
    store: Meddled
    tenant: UUID
    database: str
    folder: str
    """Keys of this test begin so."""

    def put(self, name: str, data: bytes) -> str:
        """An object put beside the store; returns its key."""
        key = f"{self.folder}/{name}"
        self.lab.put(key, data)
        return key

    def delete(self, name: str) -> None:
        self.lab.delete(f"{self.folder}/{name}")

    async def call(self, **aliases: str) -> UUID:
        return await self.registry.create_call(self.tenant, NewCall(aliases=aliases))

    async def find(self, call: UUID) -> Entry:
        return await self.catalog.find(self.tenant, CallRef(None, str(call)))

    async def execute(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.database)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def events(self) -> int:
        """How many events wait for webhooks."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval("SELECT count(*) FROM webhook_outbox")
        finally:
            await connection.close()
