"""Deliveries that are due, taken by one process at a time under a lease, and what became of them; in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import Record

from ...config import Database
from ...postgres import Pool, Pooled, borrow
from .schedule import Fate, Tried, Verdict

_CONNECTIONS = 2
"""Of the pool at once: requests come first."""

_TAKE = """
    WITH RECURSIVE owed AS (
        (SELECT endpoint_id FROM webhook_deliveries WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT d.endpoint_id FROM webhook_deliveries d WHERE d.state = 'pending' AND d.endpoint_id > owed.endpoint_id
            ORDER BY d.endpoint_id LIMIT 1
        ) FROM owed WHERE owed.endpoint_id IS NOT NULL
    ), busy AS (
        SELECT * FROM unnest($3::uuid[], $4::int[]) AS busy (id, count)
    ), served AS (
        SELECT e.tenant_id, sum(busy.count) AS count FROM busy JOIN webhook_endpoints e USING (id) GROUP BY e.tenant_id
    ), due AS (
        SELECT d.id FROM owed JOIN webhook_endpoints e ON e.id = owed.endpoint_id
        LEFT JOIN busy ON busy.id = e.id LEFT JOIN served USING (tenant_id)
        CROSS JOIN LATERAL (
            SELECT d.id, d.due_at FROM webhook_deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.due_at <= now()
            ORDER BY d.due_at LIMIT greatest(least($2, $5 - coalesce(busy.count, 0)), 0) FOR UPDATE SKIP LOCKED
        ) d
        WHERE (e.failing_since IS NOT NULL) = $1
        ORDER BY coalesce(served.count, 0) + row_number() OVER (PARTITION BY tenant_id ORDER BY d.due_at), d.due_at LIMIT $2
    )
    UPDATE webhook_deliveries d
    SET lease = gen_random_uuid(), due_at = now() + make_interval(secs => $6), attempts = d.attempts + 1
    FROM due, webhook_endpoints e, webhook_outbox o
    WHERE d.id = due.id AND e.id = d.endpoint_id AND o.id = d.event_id
    RETURNING d.id, d.lease, d.attempts, d.tries, d.event_id, d.endpoint_id, e.url, e.enabled, e.secret,
        CASE WHEN e.former_until > now() THEN e.former_secret END AS former_secret, o.payload
"""
"""``owed`` steps through the index from one endpoint with pending deliveries to the next: other endpoints cost nothing.

Tenants with the fewest deliveries under way come first, so that one with many slow endpoints keeps no other waiting.
"""
_NEXT = """
    SELECT extract(epoch FROM min(due_at) - now())::float8 FROM webhook_deliveries WHERE state = 'pending' AND due_at > now()
"""
_SETTLE = """
    WITH settled AS (
        UPDATE webhook_deliveries SET
            state = CASE WHEN state = 'pending' AND (tries = $10 OR $3 <> 'failed') OR $3 = 'delivered' THEN $3 ELSE state END,
            settled_at = CASE WHEN $3 <> 'pending' AND (tries = $10 OR $3 <> 'failed') THEN now() ELSE settled_at END,
            due_at = now() + make_interval(secs => CASE WHEN tries = $10 THEN $4 ELSE 0 END),
            tries = CASE WHEN tries = $10 THEN tries + 1 ELSE tries END,
            lease = NULL
        WHERE id = $1 AND lease = $2
        RETURNING id, state
    ), logged AS (
        INSERT INTO webhook_attempts (delivery_id, number, at, took_ms, status, error)
        SELECT id, $5, $6, $7, $8, $9 FROM settled
    )
    SELECT state FROM settled
"""
"""$10: how often the delivery had failed when it was taken. If that number has changed, it was put on the schedule anew."""
_HOLD = "SELECT url FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE"
_WELL = "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL"
_FAILING = "UPDATE webhook_endpoints SET failing_since = now() WHERE id = $1 AND failing_since IS NULL AND enabled"
_SWITCH_OFF = """
    UPDATE webhook_endpoints SET enabled = false, disabled_reason = $2, updated_at = now()
    WHERE id = $1 AND enabled AND ($3::float8 IS NULL OR failing_since < now() - make_interval(secs => $3))
    RETURNING id
"""
_DROP_PENDING = """
    UPDATE webhook_deliveries SET state = 'dropped', settled_at = now() WHERE endpoint_id = $1 AND state = 'pending'
"""
_DROP = """
    UPDATE webhook_deliveries SET state = 'dropped', settled_at = now(), lease = NULL
    WHERE id = $1 AND lease = $2 AND NOT (SELECT enabled FROM webhook_endpoints WHERE id = endpoint_id)
"""
_GIVE_BACK = """
    UPDATE webhook_deliveries SET due_at = now(), lease = NULL WHERE id = $1 AND lease = $2 AND state = 'pending'
"""
_FORGET_FORMER = """
    UPDATE webhook_endpoints SET former_secret = NULL, former_until = NULL WHERE former_until <= now()
"""
_PRUNED_AT_ONCE = 1000
"""As prune_webhook_log has it."""
_PRUNE = "SELECT prune_webhook_log(make_interval(secs => $1))"

_STATES = {Fate.DELIVERED: "delivered", Fate.RETRY: "pending", Fate.FAILED: "failed", Fate.GONE: "dropped"}


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this process has taken. Secrets are as they rest."""

    id: UUID
    lease: UUID
    attempt: int
    """Which try this is, of all there ever were."""
    tries: int
    """Failures since it was last put on the schedule."""
    event: UUID
    endpoint: UUID
    url: str = field(repr=False)
    enabled: bool
    """Whether its endpoint is; it may have been switched off while the event was being written."""
    secrets: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)


class Queue:
    """Every method raises Unavailable while Postgres is away. ``lease_s``: seconds for which nobody else takes it."""

    def __init__(self, pool: Pool, database: Database, *, lease_s: float) -> None:
        self._pool = pool
        self._wait_s = database.connect_s
        self._lease_s = lease_s
        self._turn = asyncio.Semaphore(_CONNECTIONS)

    async def take(self, limit: int, busy: Mapping[UUID, int], *, failing: bool, each: int) -> list[Due]:
        """Takes up to ``limit`` due deliveries: tenants in turn, each one's oldest first.

        No endpoint gets more than ``each`` under way; ``busy`` says how many each has already. ``failing``: take those of
        endpoints whose last try failed, else those of all others.
        """
        async with self._writing() as connection:
            rows = await connection.fetch(
                _TAKE, failing, limit, list(busy.keys()), list(busy.values()), each, self._lease_s
            )
        return [_due(row) for row in rows]

    async def next_s(self) -> float | None:
        """Seconds until something else becomes due; None: nothing does."""
        async with self._writing() as connection:
            seconds: float | None = await connection.fetchval(_NEXT)
        return seconds

    async def settle(self, due: Due, tried: Tried, verdict: Verdict, *, patience_s: float | None) -> str | None:
        """Writes down how a try ended, unless the lease has passed to somebody else.

        An endpoint that has been failing for ``patience_s`` is switched off as a delivery to it fails for good. Returns why it
        was switched off, if it was.
        """
        final = tried.asked and verdict.fate in {Fate.GONE, Fate.FAILED}
        async with self._writing() as connection:
            # The endpoint's row is locked ahead of its deliveries', as everywhere: neither waits for the other in a circle.
            if final and await connection.fetchval(_HOLD, due.endpoint) != due.url and verdict.fate is Fate.GONE:
                verdict, final = Verdict(Fate.RETRY), False  # gone is where it went before; it is due where it goes now
            if tried.asked:
                await connection.execute(_WELL if verdict.fate is Fate.DELIVERED else _FAILING, due.endpoint)
            state = await connection.fetchval(
                _SETTLE,
                due.id,
                due.lease,
                _STATES[verdict.fate],
                verdict.delay_s,
                due.attempt,
                tried.at,
                tried.took_ms,
                tried.status,
                tried.error,
                due.tries,
            )
            if state in {None, "pending"} or not final or (verdict.fate is Fate.FAILED and patience_s is None):
                return None
            why, since = ("gone", None) if verdict.fate is Fate.GONE else ("failing", patience_s)
            if await connection.fetchval(_SWITCH_OFF, due.endpoint, why, since) is None:
                return None
            await connection.execute(_DROP_PENDING, due.endpoint)
        return why

    async def drop(self, due: Due) -> None:
        """Drops a delivery whose endpoint is switched off; if the endpoint is on again by now, gives the delivery back."""
        async with self._writing() as connection:
            await connection.execute(_HOLD, due.endpoint)
            await connection.execute(_DROP, due.id, due.lease)
            await connection.execute(_GIVE_BACK, due.id, due.lease)

    async def give_back(self, due: Due) -> None:
        """Lets any process take it at once."""
        async with self._writing() as connection:
            await connection.execute(_GIVE_BACK, due.id, due.lease)

    async def tidy(self, keep_s: float) -> bool:
        """Forgets secrets whose time is over, and a part of the log older than ``keep_s``. Returns whether more is left."""
        async with self._writing() as connection:
            await connection.execute(_FORGET_FORMER)
            pruned: int = await connection.fetchval(_PRUNE, keep_s)
        return pruned >= _PRUNED_AT_ONCE

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Pooled]:
        async with (
            self._turn,
            borrow(self._pool, "webhooks", wait_s=self._wait_s) as connection,
            connection.transaction(),
        ):
            yield connection


def _due(row: Record) -> Due:
    return Due(
        id=row["id"],
        lease=row["lease"],
        attempt=row["attempts"],
        tries=row["tries"],
        event=row["event_id"],
        endpoint=row["endpoint_id"],
        url=row["url"],
        enabled=row["enabled"],
        secrets=tuple(secret for secret in (row["secret"], row["former_secret"]) if secret is not None),
        body=row["payload"].encode(),
    )
