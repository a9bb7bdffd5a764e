"""An account's own accesses, a page at a time, from Postgres."""

from __future__ import annotations

from dataclasses import astuple, replace
from datetime import datetime
from uuid import UUID

from .. import cursor
from ..asks.audit import AccessPage, ListAccesses
from ..config import Database
from ..postgres import Pool, Pooled, borrow, planned_anew
from .reader import plain

LOOKED_THROUGH = 20_000
"""Accesses that are looked at for one page, at most, by filters that no index knows."""

_COLUMNS = """
    e.event_id, e.occurred_at, o.completed_at, e.surface, e.method, e.tenant, e.actor_kind, e.actor_id, e.credential_id,
    e.auth_method, e.scopes, e.role, e.address, e.peer, e.user_agent, e.request_id, e.trace_id, e.call, e.recording,
    e.etag, e.range_asked AS range, o.bytes_sent, o.status, o.result, o.reason, e.session
"""
_ORDER = "ORDER BY occurred_at DESC, event_id DESC"

Place = tuple[datetime, UUID]


class Pages:
    """Raises Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def page(self, tenant: UUID, ask: ListAccesses) -> AccessPage:
        """Newest first, what ``ask`` asks for of ``tenant``'s. Raises Malformed (cursor)."""
        of = cursor.listing(tenant, "accesses", *astuple(replace(ask, limit=0, cursor=None)))
        after = None if ask.cursor is None else cursor.decode(of, ask.cursor)
        question = _Question(tenant, ask, after)
        async with borrow(self._pool, "audit", wait_s=self._wait_s) as connection, planned_anew(connection):
            rows = await connection.fetch(question.page(), *question.values)
            place = None
            if len(rows) > ask.limit:
                place = (rows[ask.limit - 1]["occurred_at"], rows[ask.limit - 1]["event_id"])
            elif question.narrowed:
                place = await _last_looked_at(connection, question)
        accesses = [{name: plain(value) for name, value in row.items()} for row in rows[: ask.limit]]
        return AccessPage(accesses, None if place is None else cursor.encode(of, *place))


async def _last_looked_at(connection: Pooled, question: _Question) -> Place | None:
    """Where the next page goes on, if this one was cut short of looking at everything."""
    row = await connection.fetchrow(question.last(), *question.values[: question.indexed])
    return None if row is None else (row["occurred_at"], row["event_id"])


class _Question:
    """``found``: what indexes lead to, by the first ``indexed`` values. ``narrowed``: what is then looked at, row by row."""

    def __init__(self, tenant: UUID, ask: ListAccesses, after: Place | None) -> None:
        self.values: list[object] = []
        self._limit = ask.limit
        self.found = self._terms(
            ("tenant =", tenant),
            ("call =", ask.call),
            ("recording =", ask.recording),
            ("actor_id =", ask.actor),
            ("session =", ask.session),
            ("occurred_at >=", ask.since),
            ("occurred_at <", ask.until),
            # The row's comparison alone would not tell which months need no look.
            ("occurred_at <=", after and after[0]),
        )
        if after is not None:
            self.found.append(f"(occurred_at, event_id) < ({self._value(after[0])}, {self._value(after[1])})")
        self.indexed = len(self.values)
        self.narrowed = self._terms(
            ("e.credential_id =", ask.credential),
            ("e.method =", ask.method),
            ("e.surface =", ask.surface),
            ("e.address =", ask.address),
            ("o.result =", ask.result),
            ("o.status =", ask.status),
        )

    def page(self) -> str:
        """One row more than a page."""
        looked_at = LOOKED_THROUGH if self.narrowed else self._limit + 1
        return f"""
            SELECT {_COLUMNS} FROM (
                SELECT * FROM access_events WHERE {" AND ".join(self.found)} {_ORDER} LIMIT {looked_at}
            ) e LEFT JOIN access_outcomes o USING (event_id, occurred_at)
            WHERE {" AND ".join(self.narrowed or ["true"])} {_ORDER} LIMIT {self._limit + 1}
        """  # noqa: S608  constants, placeholders and numbers only

    def last(self) -> str:
        """The last row that ``page`` looked at, if it looked at as many as it may."""
        return f"""
            SELECT occurred_at, event_id FROM access_events WHERE {" AND ".join(self.found)}
            {_ORDER} OFFSET {LOOKED_THROUGH - 1} LIMIT 1
        """  # noqa: S608  constants and placeholders only

    def _terms(self, *terms: tuple[str, object]) -> list[str]:
        return [f"{left} {self._value(value)}" for left, value in terms if value is not None]

    def _value(self, value: object) -> str:
        self.values.append(str(value) if isinstance(value, str) else value)
        return f"${len(self.values)}"
