"""Legal holds, on recordings of one account at a time."""

from __future__ import annotations

from uuid import UUID

from asyncpg import Record

from ..asks.holds import Hold, LiftHold, PlaceHold, ShowHold
from ..config import Database
from ..errors import Absent, Contradicts
from ..postgres import Pool, borrow

_HELD = "hold, hold_reason, hold_since"
_THIS = f"WHERE tenant_id = $1 AND call_id = $2 RETURNING {_HELD}, state"

# The row of a recording that has expired comes back as it is: nothing is written, and it says why.
_PLACE = f"""
    UPDATE recordings SET
        hold = state <> 'expired',
        hold_reason = CASE WHEN state <> 'expired' THEN coalesce($3, hold_reason) END,
        hold_since = CASE WHEN state <> 'expired' THEN coalesce(hold_since, now()) END
    {_THIS}
"""  # noqa: S608  constants only
_LIFT = f"UPDATE recordings SET hold = false, hold_reason = NULL, hold_since = NULL {_THIS}"  # noqa: S608  constants only
_SHOW = f"SELECT {_HELD} FROM recordings WHERE tenant_id = $1 AND call_id = $2"  # noqa: S608  constants only


class Holds:
    """Every method raises Absent where the call has no recording, and Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def show(self, tenant: UUID, call: UUID, _ask: ShowHold) -> Hold:
        return _hold(await self._row(_SHOW, tenant, call))

    async def place(self, tenant: UUID, call: UUID, ask: PlaceHold) -> Hold:
        """Until it is lifted. Raises Contradicts: the recording has expired, and its object is gone."""
        row = await self._row(_PLACE, tenant, call, ask.reason)
        if not row["hold"]:
            raise Contradicts("recording_expired", "The recording has expired. It can no longer be held.")
        return _hold(row)

    async def lift(self, tenant: UUID, call: UUID, _ask: LiftHold) -> Hold:
        """Retention counts as if it had never been."""
        return _hold(await self._row(_LIFT, tenant, call))

    async def _row(self, statement: str, *arguments: object) -> Record:
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection:
            row = await connection.fetchrow(statement, *arguments)
        if row is None:
            raise Absent
        return row


def _hold(row: Record) -> Hold:
    return Hold(row["hold"], row["hold_reason"], row["hold_since"])
