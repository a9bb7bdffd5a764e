"""The audit's last home: the tables access_events and access_outcomes, and their monthly partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain

import orjson
import structlog
from asyncpg import exceptions as pg

from ..errors import Rejected, Unavailable
from ..postgres import Pool, borrow

_log = structlog.get_logger(__name__)

ACQUIRE_S = 5.0
DAY_S = 86_400.0
RETRY_S = 30.0
"""Seconds until making partitions is tried again."""

# One statement is one transaction and one round trip. The records go over as they are, one JSON array for each table: Postgres
# reads them for a fifth of what taking them apart into columns costs here. An event's Range field is "range" in a record.
INSERT = """
WITH events AS (
    INSERT INTO access_events (
        event_id, occurred_at, surface, method, tenant, actor_kind, actor_id, credential_id, auth_method, scopes, role,
        address, peer, user_agent, request_id, trace_id, call, recording, etag, range_asked, session
    )
    SELECT * FROM json_to_recordset($1) AS intent (
        event_id uuid, occurred_at timestamptz, surface text, method text, tenant uuid, actor_kind text, actor_id text,
        credential_id text, auth_method text, scopes text[], role text, address text, peer text, user_agent text,
        request_id text, trace_id text, call uuid, recording uuid, etag text, range text, session uuid
    )
    ON CONFLICT DO NOTHING
)
INSERT INTO access_outcomes (event_id, occurred_at, completed_at, status, bytes_sent, result, reason)
SELECT * FROM json_to_recordset($2) AS outcome (
    event_id uuid, occurred_at timestamptz, completed_at timestamptz, status integer, bytes_sent bigint, result text,
    reason text
)
ON CONFLICT DO NOTHING
"""

MAKE_PARTITIONS = "SELECT ensure_access_partitions($1, $2)"

_REFUSED = (
    pg.DataError,  # class 22: a text, number or time that Postgres cannot take
    pg.IntegrityConstraintViolationError,  # class 23: a column that must not be null, a row no partition takes
    pg.ProgramLimitExceededError,  # class 54: too long for its index
)


class PostgresSink:
    """A ``event.Sink``. What Postgres has of an event already stays as it is."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, intents: Sequence[bytes], outcomes: Sequence[bytes]) -> None:
        try:
            try:
                await self._insert(intents, outcomes)
            except pg.CheckViolationError:  # no partition, yet, for a row's month
                await self._make_partitions(chain(intents, outcomes))
                await self._insert(intents, outcomes)
        except _REFUSED as error:
            raise Rejected(f"{type(error).__name__}: {error}") from error
        except pg.PostgresError as error:  # no such table, no such right: nothing the records could help
            raise Unavailable(f"audit: {type(error).__name__}: {error}") from error

    async def _insert(self, intents: Sequence[bytes], outcomes: Sequence[bytes]) -> None:
        async with borrow(self._pool, "audit", wait_s=ACQUIRE_S) as connection:
            await connection.execute(INSERT, _array(intents), _array(outcomes))

    async def _make_partitions(self, records: Iterable[bytes]) -> None:
        months = {orjson.loads(record)["occurred_at"][:7] for record in records}
        async with borrow(self._pool, "audit", wait_s=ACQUIRE_S) as connection:
            for month in sorted(months):
                made = await connection.fetchval(MAKE_PARTITIONS, 0, datetime.fromisoformat(f"{month}-15T00:00:00Z"))
                if made:
                    _log.warning("audit_partition_was_missing", month=month, made=made)


async def keep_partitions(pool: Pool, months_ahead: int) -> None:
    """Makes partitions ahead of need, now and daily, until it is cancelled."""
    while True:
        try:
            async with borrow(pool, "audit", wait_s=ACQUIRE_S) as connection:
                made = await connection.fetchval(MAKE_PARTITIONS, months_ahead, datetime.now(UTC))
        except (Unavailable, pg.PostgresError) as error:
            _log.warning("audit_partitions_not_made", problem=str(error))
            await asyncio.sleep(RETRY_S)
        else:
            if made:
                _log.info("audit_partitions_made", made=made, months_ahead=months_ahead)
            await asyncio.sleep(DAY_S)


def _array(records: Sequence[bytes]) -> str:
    return f"[{b','.join(records).decode()}]"
