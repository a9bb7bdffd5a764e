"""Retention as Postgres has it: what is past its end, and what became of it. One process at a time has the book open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record
from asyncpg.exceptions import RestrictViolationError

from ..config import Database
from ..errors import NotFound, Unavailable
from ..model import Due, Outlook
from ..postgres import Connection, connect, outages
from . import queries, records

CLOSE_S: Final = 2.0
ANSWER_S: Final = 60.0
"""Seconds for one statement before Postgres counts as away, and the lock as lost."""
_KEY: Final = "hashtextextended('recording_gateway.retention', 0)"
_TRY: Final = f"SELECT pg_try_advisory_lock({_KEY})"
_WAIT: Final = f"SELECT true FROM pg_advisory_lock({_KEY})"  # noqa: S608  constants only

_TENANTS: Final = "SELECT id, slug, retention_days FROM tenants WHERE $1::text IS NULL OR slug = $1 ORDER BY slug"

# Recordings r of tenant $1 that are past their end, $2 being its plan's days. Those that have begun to be kept come in the
# order in which the plan lets them end; where there is no plan, or nothing has begun, only what each says itself ends it.
_END: Final = "kept_until(r.expires_at, r.kept_from, r.retention_days, $2::integer)"
_OWN_END: Final = "kept_until(r.expires_at, r.kept_from, r.retention_days, NULL)"
_BY_PLAN: Final = f"""
    r.tenant_id = $1 AND r.state <> 'expired'
    AND r.kept_from <= now() - least($2::integer, 365000) * interval '24 hours' AND {_END} <= now()
"""
_BY_ITSELF: Final = f"""
    r.tenant_id = $1 AND r.state <> 'expired' AND {_OWN_END} <= now() AND ($2::integer IS NULL OR r.kept_from IS NULL)
"""
# What has expired and whose object may still be there, unless another recording needs it.
_LEFT: Final = """
    r.tenant_id = $1 AND r.state = 'expired' AND r.object_deleted_at IS NULL AND r.ready_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM recordings o WHERE (o.store, o.key) = (r.store, r.key) AND o.state <> 'expired')
"""


def _page(wanted: str, order: str, limit: int) -> str:
    """Of ``wanted``, as many as parameter ``limit`` says; the two after it are (order, id) of the last one before."""
    return f"""
        SELECT r.call_id, {order} AS place, {queries.RECORDING} FROM recordings r
        WHERE {wanted} AND NOT r.hold AND (${limit + 2}::uuid IS NULL OR ({order}, r.id) > (${limit + 1}, ${limit + 2}))
        ORDER BY {order}, r.id LIMIT ${limit}
    """  # noqa: S608  constants only


_PAGE_LEFT: Final = _page(_LEFT, "r.tenant_id", 2)
_PAGE_BY_PLAN: Final = _page(_BY_PLAN, "r.kept_from", 3)
_PAGE_BY_ITSELF: Final = _page(_BY_ITSELF, _OWN_END, 3)

_OUTLOOK: Final = f"""
    WITH over AS (
        SELECT r.hold, r.ready_at, r.size FROM recordings r WHERE {_BY_PLAN}
        UNION ALL SELECT r.hold, r.ready_at, r.size FROM recordings r WHERE {_BY_ITSELF}
    )
    SELECT count(*) FILTER (WHERE NOT hold) AS due, count(*) FILTER (WHERE hold) AS held,
        coalesce(sum(size) FILTER (WHERE NOT hold AND ready_at IS NOT NULL), 0)::bigint AS bytes FROM over
"""  # noqa: S608  constants only
_OUTLOOK_LEFT: Final = f"""
    SELECT count(*) AS left, coalesce(sum(r.size), 0)::bigint AS bytes FROM recordings r WHERE {_LEFT}
"""  # noqa: S608  constants only

# All is looked at once more: what was held or is kept longer since stays as it is, here and by the table's own guard.
_EXPIRE: Final = f"""
    UPDATE recordings r SET state = 'expired'
    WHERE r.id = ANY($1) AND r.state <> 'expired' AND NOT r.hold AND {queries.KEPT_UNTIL} <= now()
    RETURNING r.id
"""  # noqa: S608  constants only
_SHARED: Final = """
    SELECT DISTINCT r.store, r.key FROM recordings r
    JOIN unnest($1::text[], $2::text[]) AS asked (store, key) USING (store, key) WHERE r.state <> 'expired'
"""
_PLACE: Final = queries.place_lock("asked.store", "asked.key")
_PLACES: Final = "unnest($1::text[], $2::text[]) AS asked (store, key)"
_LOCK: Final = f"SELECT pg_advisory_lock({_PLACE}) FROM {_PLACES}"  # noqa: S608  constants only
_UNLOCK: Final = f"SELECT pg_advisory_unlock({_PLACE}) FROM {_PLACES}"  # noqa: S608  constants only
_DELETED: Final = """
    UPDATE recordings r SET object_deleted_at = now() FROM unnest($1::text[], $2::text[]) AS gone (store, key)
    WHERE (r.store, r.key) = (gone.store, gone.key) AND r.state = 'expired' AND r.object_deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: UUID
    slug: str
    plan: int | None


class RetentionBook:
    """On a connection of its own. Every method raises Unavailable while Postgres is away."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.lost = asyncio.Event()
        """Set once the connection has ended, and with it the lock: somebody else may be at it."""
        connection.add_termination_listener(lambda _: self.lost.set())

    async def outlook(self, tenant: str | None = None) -> list[Outlook]:
        """How things stand with each tenant, or with one, by its slug. Raises NotFound (no such tenant)."""
        found = []
        for one in await self._tenants(tenant):
            (over,) = await self._fetch(_OUTLOOK, one.id, one.plan)
            (left,) = await self._fetch(_OUTLOOK_LEFT, one.id)
            bytes_ = over["bytes"] + left["bytes"]
            found.append(Outlook(one.id, one.slug, over["due"], left["left"], over["held"], bytes_))
        return found

    async def due(self, tenant: str | None, batch: int) -> AsyncGenerator[list[Due], None]:
        """What is due, each recording once, 1 to ``batch`` of them at a time; ``tenant`` (a slug) None: everybody's.

        Raises NotFound (no such tenant).
        """
        for one in await self._tenants(tenant):
            plan = (one.plan,)
            looks: list[tuple[str, tuple[object, ...]]] = [(_PAGE_LEFT, ()), (_PAGE_BY_ITSELF, plan)]
            if one.plan is not None:
                looks.append((_PAGE_BY_PLAN, plan))
            for statement, arguments in looks:
                place: tuple[object, object] = (None, None)
                while rows := await self._fetch(statement, one.id, *arguments, batch, *place):
                    yield [Due(one.id, one.slug, records.uuid(row["call_id"]), records.recording(row)) for row in rows]
                    place = (rows[-1]["place"], rows[-1]["recording_id"])

    async def expire(self, recordings: Sequence[UUID]) -> set[UUID]:
        """Marks those of ``recordings`` that are past their end and not held at this moment, and tells which."""
        try:
            rows = await self._fetch(_EXPIRE, list(recordings))
        except RestrictViolationError:
            # A plan grew longer between the statement's look and the table's own, which had to wait for it: none has expired.
            rows = []
            for one in recordings:
                with suppress(RestrictViolationError):
                    rows += await self._fetch(_EXPIRE, [one])
        return {records.uuid(row["id"]) for row in rows}

    @asynccontextmanager
    async def alone(self, places: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
        """While the context lasts nobody registers a recording at ``places``; registrations under way are waited for.

        If the body raises, the locks end only with the connection.
        """
        await self._fetch(_LOCK, *_columns(places))
        yield
        await self._fetch(_UNLOCK, *_columns(places))

    async def shared(self, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of ``places`` (store, key) in which a recording lies that has not expired."""
        return {(row["store"], row["key"]) for row in await self._fetch(_SHARED, *_columns(places))}

    async def deleted(self, places: Sequence[tuple[str, str]]) -> None:
        """The objects at ``places`` are gone."""
        await self._fetch(_DELETED, *_columns(places))

    async def tidy(self) -> None:
        """Forgets links that were over long ago."""
        await self._fetch("SELECT forget_links()")

    async def _tenants(self, slug: str | None) -> list[_Tenant]:
        rows = await self._fetch(_TENANTS, slug)
        if slug is not None and not rows:
            raise NotFound(f"no tenant is called {slug!r}")
        return [_Tenant(records.uuid(row["id"]), row["slug"], row["retention_days"]) for row in rows]

    async def _fetch(self, statement: str, *arguments: object, patient: bool = False) -> list[Record]:
        with outages("retention"):
            try:
                return await self._connection.fetch(statement, *arguments, timeout=None if patient else ANSWER_S)
            except TimeoutError:
                self._connection.terminate()  # the server hangs, or the line is dead: the lock may be anybody's
                raise


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[RetentionBook]:
    """For reading only, whether or not another process is sweeping. Raises Unavailable."""
    with outages("retention"):
        connection = await connect(database)
    try:
        yield RetentionBook(connection)
    finally:
        # Whoever was cut off in the middle of a statement may not have a line to say goodbye on.
        with suppress(Exception):
            await connection.close(timeout=CLOSE_S)


@asynccontextmanager
async def leased(database: Database, *, wait: bool = False) -> AsyncIterator[RetentionBook | None]:
    """For the one process that sweeps. None: another one is, and ``wait`` is false. Raises Unavailable.

    The lock is the connection's: it ends with that, whatever becomes of the process.
    """
    async with opened(database) as book:
        (row,) = await book._fetch(_WAIT if wait else _TRY, patient=wait)  # noqa: SLF001  of this module
        if book.lost.is_set():
            raise Unavailable("retention: the connection was lost")
        yield book if row[0] else None


def _columns(places: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [store for store, _ in places], [key for _, key in places]
