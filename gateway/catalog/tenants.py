"""Accounts' settings, one account at a time. A change is told to every replica as it is committed."""

from __future__ import annotations

from uuid import UUID

from ..asks.tenants import ChangeTenant, EnableRecording, ShowTenant
from ..config import Database
from ..errors import NotFound
from ..model import Tenant
from ..postgres import Pool, borrow
from . import queries, records

_SHOW = f"SELECT {queries.TENANT} FROM tenants WHERE id = $1 AND slug = $2"  # noqa: S608  constants only
_CHANGE = f"""
    UPDATE tenants SET
        name = coalesce($3, name),
        recording_enabled = coalesce($4, recording_enabled),
        transcription_enabled = coalesce($5, transcription_enabled),
        retention_days = CASE WHEN $7 THEN NULL ELSE coalesce($6, retention_days) END
    WHERE id = $1 AND slug = $2 RETURNING {queries.TENANT}
"""  # noqa: S608  constants only
_ENABLE_RECORDING = f"""
    UPDATE tenants SET recording_enabled = true WHERE id = $1 RETURNING {queries.TENANT}
"""  # noqa: S608  constants only


class Tenants:
    """Every method takes the id of the one account it is about, and raises Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def show(self, tenant: UUID, ask: ShowTenant) -> Tenant:
        """Raises NotFound: the slug is another's, or nobody's."""
        return await self._one(_SHOW, tenant, ask.slug)

    async def change(self, tenant: UUID, ask: ChangeTenant) -> Tenant:
        """Raises NotFound: the slug is another's, or nobody's."""
        return await self._one(
            _CHANGE,
            tenant,
            ask.slug,
            ask.name,
            ask.recording_enabled,
            ask.transcription_enabled,
            ask.retention_days,
            ask.for_ever,
        )

    async def enable_recording(self, tenant: UUID, _ask: EnableRecording) -> Tenant:
        return await self._one(_ENABLE_RECORDING, tenant)

    async def _one(self, statement: str, *arguments: object) -> Tenant:
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection:
            row = await connection.fetchrow(statement, *arguments)
        if row is None:
            raise NotFound("no such tenant, or not the caller's own")
        return records.tenant(row)
