"""Where events go, and the log of how that went: a tenant's endpoints and deliveries, in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import orjson
from asyncpg import Record
from uuid_utils.compat import uuid7

from .. import cursor
from ..asks.webhooks import (
    Attempt,
    ChangeEndpoint,
    Deliveries,
    Delivery,
    DeliveryState,
    Endpoint,
    ListDeliveries,
    Redeliver,
)
from ..config import Database
from ..errors import Contradicts, NotFound
from ..postgres import Pool, Pooled, borrow
from . import records, webhook_statements

PING = "webhook.ping"


class WebhookBook:
    """Secrets come and go as they rest. Every method raises Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    # --- endpoints

    async def add(self, tenant: UUID, url: str, description: str, secret: str, *, at_most: int) -> Endpoint:
        """Raises Contradicts: there are ``at_most`` already."""
        async with self._writing() as connection:
            await connection.execute(webhook_statements.LOCK_TENANT, tenant)
            if await connection.fetchval(webhook_statements.COUNT_ENDPOINTS, tenant) >= at_most:
                raise Contradicts(
                    "too_many_webhooks", f"A tenant has {at_most} webhooks at most. Delete one that is not needed."
                )
            row = await connection.fetchrow(webhook_statements.ADD_ENDPOINT, uuid7(), tenant, url, description, secret)
        return _endpoint(row)

    async def all(self, tenant: UUID) -> list[Endpoint]:
        """Oldest first."""
        async with self._writing() as connection:
            return [_endpoint(row) for row in await connection.fetch(webhook_statements.ENDPOINTS, tenant)]

    async def one(self, tenant: UUID, endpoint: UUID) -> Endpoint:
        """Raises NotFound, as all of the following."""
        async with self._writing() as connection:
            return _endpoint(await connection.fetchrow(webhook_statements.ENDPOINT, tenant, endpoint))

    async def change(self, tenant: UUID, ask: ChangeEndpoint) -> Endpoint:
        async with self._writing() as connection:
            row = await connection.fetchrow(
                webhook_statements.CHANGE_ENDPOINT, tenant, ask.endpoint, ask.url, ask.description, ask.enabled
            )
            changed = _endpoint(row)
            if not changed.enabled:
                await connection.execute(webhook_statements.DROP_PENDING, ask.endpoint)
        return changed

    async def delete(self, tenant: UUID, endpoint: UUID) -> None:
        async with self._writing() as connection:
            _endpoint(await connection.fetchrow(webhook_statements.DELETE_ENDPOINT, tenant, endpoint))
            await connection.execute(webhook_statements.DROP_PENDING, endpoint)

    async def rotate(self, tenant: UUID, endpoint: UUID, secret: str, *, overlap_s: float) -> Endpoint:
        async with self._writing() as connection:
            return _endpoint(
                await connection.fetchrow(webhook_statements.ROTATE_SECRET, tenant, endpoint, secret, overlap_s)
            )

    # --- deliveries

    async def ping(self, tenant: UUID, endpoint: UUID) -> Delivery:
        """Raises Contradicts: it is switched off."""
        event = uuid7()
        payload = {"type": PING, "timestamp": datetime.now(UTC), "data": {"endpoint_id": endpoint}}
        text = orjson.dumps(payload, option=orjson.OPT_UTC_Z).decode()
        async with self._writing() as connection:
            await self._enabled(connection, tenant, endpoint)
            await connection.execute(webhook_statements.ADD_PING, event, tenant, PING, text, endpoint)
            row = await connection.fetchrow(webhook_statements.DELIVERY_OF_EVENT, tenant, endpoint, event)
        return _delivery(row)

    async def deliveries(self, tenant: UUID, ask: ListDeliveries) -> Deliveries:
        """Newest first. Raises Malformed."""
        of = cursor.listing(tenant, "webhook_deliveries", str(ask.endpoint), ask.state and str(ask.state))
        after = (None, None) if ask.cursor is None else cursor.decode(of, ask.cursor)
        async with self._writing() as connection:
            _endpoint(await connection.fetchrow(webhook_statements.ENDPOINT, tenant, ask.endpoint))
            rows = await connection.fetch(
                webhook_statements.DELIVERIES, tenant, ask.endpoint, ask.state, *after, ask.limit + 1
            )
        found = [_delivery(row) for row in rows[: ask.limit]]
        if len(rows) <= ask.limit:
            return Deliveries(found, None)
        return Deliveries(found, cursor.encode(of, found[-1].created_at, found[-1].id))

    async def redeliver(self, tenant: UUID, ask: Redeliver) -> Delivery:
        """Raises Contradicts: it is switched off."""
        async with self._writing() as connection:
            await self._enabled(connection, tenant, ask.endpoint)
            if await connection.fetchval(webhook_statements.REOPEN, tenant, ask.endpoint, ask.delivery) is None:
                raise NotFound("no such delivery of this webhook")
            return _delivery(await connection.fetchrow(webhook_statements.DELIVERY, tenant, ask.endpoint, ask.delivery))

    async def _enabled(self, connection: Pooled, tenant: UUID, endpoint: UUID) -> None:
        """Until the transaction ends."""
        if not _endpoint(await connection.fetchrow(webhook_statements.HOLD_ENDPOINT, tenant, endpoint)).enabled:
            raise Contradicts("webhook_off", "The webhook is switched off. Switch it on first.")

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Pooled]:
        async with borrow(self._pool, "webhooks", wait_s=self._wait_s) as connection, connection.transaction():
            yield connection


def _endpoint(row: Record | None) -> Endpoint:
    if row is None:
        raise NotFound("no such webhook of this tenant")
    return Endpoint(
        id=records.uuid(row["id"]),
        url=row["url"],
        description=row["description"],
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
        failing_since=row["failing_since"],
        former_until=row["former_until"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _delivery(row: Record | None) -> Delivery:
    assert row is not None, "it was written, or locked, in this transaction"
    state = DeliveryState(row["state"])
    return Delivery(
        id=records.uuid(row["id"]),
        event=records.uuid(row["event_id"]),
        type=row["type"],
        call=None if row["call_id"] is None else UUID(row["call_id"]),
        state=state,
        next_attempt_at=row["due_at"] if state is DeliveryState.PENDING else None,
        created_at=row["created_at"],
        settled_at=row["settled_at"],
        attempts=[
            Attempt(*attempt)
            for attempt in zip(
                *(row[column] or () for column in ("numbers", "times", "took", "statuses", "errors")), strict=True
            )
        ],
    )
