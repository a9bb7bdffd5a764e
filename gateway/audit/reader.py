"""Reading the audit back from Postgres: a listing, newest first, and following what comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from ..errors import NotFound
from ..postgres import Connection, outages

Access = dict[str, Any]
"""One access, fit for JSON: an Intent's fields and ``tenant_slug``; an Outcome's, null while it is open."""

POLL_S = 1.0

_COLUMNS = """
    e.event_id, e.occurred_at, o.completed_at, e.surface, e.method, t.slug AS tenant_slug, e.tenant, e.actor_kind,
    e.actor_id, e.credential_id, e.auth_method, e.scopes, e.role, e.address, e.peer, e.user_agent, e.request_id,
    e.trace_id, e.call, e.recording, e.etag, e.range_asked AS range, e.session, o.status, o.bytes_sent, o.result, o.reason
"""
_NAMED = "LEFT JOIN tenants t ON t.id = e.tenant"

# Ids are UUIDv7, so their order is that of time and the primary key's index gives it.
_LIST = f"""
SELECT {_COLUMNS}
FROM access_events e LEFT JOIN access_outcomes o USING (event_id, occurred_at) {_NAMED}
WHERE {{wanted}} AND ($6::uuid IS NULL OR e.event_id < $6)
ORDER BY e.event_id DESC LIMIT $7
"""  # noqa: S608 - put together from what stands in this file

# What arrived in transactions $6 up to, not including, $7: events, with the outcomes that arrived before $7; and
# outcomes of events that arrived before $6, which were given without.
_ARRIVED = f"""
SELECT {_COLUMNS}
FROM access_events e
LEFT JOIN access_outcomes o ON (o.event_id, o.occurred_at) = (e.event_id, e.occurred_at) AND o.arrived < $7::text::xid8
{_NAMED}
WHERE {{wanted}} AND e.arrived >= $6::text::xid8 AND e.arrived < $7::text::xid8
UNION ALL
SELECT {_COLUMNS}
FROM access_outcomes o JOIN access_events e USING (event_id, occurred_at) {_NAMED}
WHERE {{wanted}} AND o.arrived >= $6::text::xid8 AND o.arrived < $7::text::xid8 AND e.arrived < $6::text::xid8
ORDER BY event_id
"""  # noqa: S608 - put together from what stands in this file

_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which accesses; None: any. ``since`` is included, ``until`` is not."""

    tenant: str | None = None
    """Its slug."""
    call: UUID | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_accesses(
    connection: Connection, wanted: Wanted, *, limit: int = 50, before: UUID | None = None
) -> list[Access]:
    """Newest first; ``before`` is the event_id that the page before ended with. Raises NotFound (tenant), Unavailable."""
    with outages("audit"):
        where, values = await _where(connection, wanted)
        rows = await connection.fetch(_LIST.format(wanted=where), *values, before, limit)
    return [_access(row) for row in rows]


async def horizon(connection: Connection) -> str:
    """What has reached Postgres up to now, for ``follow`` to begin after. Raises Unavailable."""
    with outages("audit"):
        now: str = await connection.fetchval(_HORIZON)
    return now


async def follow(
    connection: Connection, wanted: Wanted, *, after: str | None = None, poll_s: float = POLL_S
) -> AsyncIterator[Access]:
    """Every access that reaches Postgres from now on (or ``after`` a horizon), soon after it does, however late that is.

    One whose outcome follows later comes twice: first while it is open, ``result`` null, then whole. While anybody's
    transaction that writes stays open on the server, what came after it is held back. Raises NotFound (tenant), Unavailable.
    """
    with outages("audit"):
        where, values = await _where(connection, wanted)
        query = _ARRIVED.format(wanted=where)
    start = await horizon(connection) if after is None else after
    while True:
        with outages("audit"):
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                end: str = await connection.fetchval(_HORIZON)
                async for row in connection.cursor(query, *values, start, end):
                    yield _access(row)
        start = end
        await asyncio.sleep(poll_s)


async def _where(connection: Connection, wanted: Wanted) -> tuple[str, Sequence[object]]:
    """A condition on ``e`` with the values of $1 to $5."""
    tenant = None
    if wanted.tenant is not None:
        tenant = await connection.fetchval("SELECT id FROM tenants WHERE slug = $1", wanted.tenant)
        if tenant is None:
            raise NotFound(f"no tenant is called {wanted.tenant!r}")
    values = (tenant, wanted.call, wanted.actor, wanted.since, wanted.until)
    terms = (
        ("e.tenant = $1::uuid", "$1::uuid IS NULL"),
        ("e.call = $2::uuid", "$2::uuid IS NULL"),
        ("e.actor_id = $3::text", "$3::text IS NULL"),
        ("e.occurred_at >= $4::timestamptz", "$4::timestamptz IS NULL"),
        ("e.occurred_at < $5::timestamptz", "$5::timestamptz IS NULL"),
    )
    # A term that asks nothing still names its parameter, so that each keeps its number.
    return " AND ".join(term[value is None] for term, value in zip(terms, values, strict=True)), values


def _access(row: asyncpg.Record) -> Access:
    return {name: plain(value) for name, value in row.items()}


def plain(value: object) -> object:
    """A column's value as JSON has it: times in UTC to the microsecond."""
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case _:
            return value
