"""Legal holds, on recordings of one account at a time."""

from __future__ import annotations

from uuid import UUID

from asyncpg import Record

from ..asks.holds import Hold, LiftHold, PlaceHold, ShowHold
from ..config import Database
from ..errors import Absent, Contradicts
from ..postgres import Pool, borrow

_SHOW = "SELECT hold, hold_reason, hold_since FROM recordings WHERE tenant_id = $1 AND call_id = $2"
_PLACE = """
    UPDATE recordings SET
        hold = true, hold_reason = coalesce($3, hold_reason), hold_since = coalesce(hold_since, now())
    WHERE tenant_id = $1 AND call_id = $2 AND state <> 'expired'
    RETURNING hold, hold_reason, hold_since
"""
_LIFT = """
    UPDATE recordings SET hold = false, hold_reason = NULL, hold_since = NULL
    WHERE tenant_id = $1 AND call_id = $2
    RETURNING hold, hold_reason, hold_since
"""


class Holds:
    """Every method raises Absent where the call has no recording, and Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def show(self, tenant: UUID, call: UUID, _ask: ShowHold) -> Hold:
        return _hold(await self._row(_SHOW, tenant, call))

    async def place(self, tenant: UUID, call: UUID, ask: PlaceHold) -> Hold:
        """Until it is lifted. Raises Contradicts: the recording has expired, and its object goes or is gone."""
        row = await self._row(_PLACE, tenant, call, ask.reason)
        if row is None and await self._row(_SHOW, tenant, call) is not None:
            raise Contradicts("recording_expired", "The recording has expired. It can no longer be held.")
        return _hold(row)

    async def lift(self, tenant: UUID, call: UUID, _ask: LiftHold) -> Hold:
        """Retention counts as if it had never been."""
        return _hold(await self._row(_LIFT, tenant, call))

    async def _row(self, statement: str, *arguments: object) -> Record | None:
        async with borrow(self._pool, "holds", wait_s=self._wait_s) as connection:
            row: Record | None = await connection.fetchrow(statement, *arguments)
            return row


def _hold(row: Record | None) -> Hold:
    if row is None:
        raise Absent
    return Hold(row["hold"], row["hold_reason"], row["hold_since"])
