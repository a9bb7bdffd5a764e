"""Accounts' departments, one account at a time."""

from __future__ import annotations

from uuid import UUID

from asyncpg import Record
from asyncpg.exceptions import ForeignKeyViolationError

from ..asks.tenants import DeleteDepartment, Department, DepartmentPut, ListDepartments, PutDepartment, ShowDepartment
from ..config import Database
from ..errors import Contradicts, NotFound
from ..postgres import Pool, borrow
from . import records

_LIST = "SELECT id, name, created_at FROM departments WHERE tenant_id = $1 ORDER BY name, id"
_SHOW = "SELECT id, name, created_at FROM departments WHERE tenant_id = $1 AND id = $2"
_PUT = """
    INSERT INTO departments AS d (tenant_id, id, name) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE d.tenant_id = $1
    RETURNING id, name, created_at, xmax = 0 AS made
"""
_DELETE = "DELETE FROM departments WHERE tenant_id = $1 AND id = $2 RETURNING id"


class Departments:
    """Every method takes the id of the account whose they are, and raises Unavailable while Postgres is away."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    async def list(self, tenant: UUID, _ask: ListDepartments) -> list[Department]:
        """All of them, by name."""
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection:
            return [_department(row) for row in await connection.fetch(_LIST, tenant)]

    async def show(self, tenant: UUID, ask: ShowDepartment) -> Department:
        """Raises NotFound."""
        row = await self._row(_SHOW, tenant, ask.department)
        if row is None:
            raise NotFound("no such department of this tenant")
        return _department(row)

    async def put(self, tenant: UUID, ask: PutDepartment) -> DepartmentPut:
        """Raises Contradicts: the id is another tenant's department."""
        row = await self._row(_PUT, tenant, ask.department, ask.name)
        if row is None:
            raise Contradicts("id_taken", "This id cannot be used. Choose another.")
        return DepartmentPut(_department(row), row["made"])

    async def delete(self, tenant: UUID, ask: DeleteDepartment) -> None:
        """Its calls stay, and belong to no department. Raises NotFound, Contradicts: the database refuses."""
        try:
            row = await self._row(_DELETE, tenant, ask.department)
        except ForeignKeyViolationError:
            raise Contradicts("department_has_recordings", "The department has calls with recordings.") from None
        if row is None:
            raise NotFound("no such department of this tenant")

    async def _row(self, statement: str, *arguments: object) -> Record | None:
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection:
            row: Record | None = await connection.fetchrow(statement, *arguments)
            return row


def _department(row: Record) -> Department:
    return Department(records.uuid(row["id"]), row["name"], row["created_at"])
