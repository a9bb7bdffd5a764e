"""Accounts' settings, departments and holds: each its own, kept apart by the database, and told of only when they change."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest
from asyncpg.exceptions import InsufficientPrivilegeError
from parts.catalog import a_ready_call

from gateway.asks.holds import LiftHold, PlaceHold, ShowHold
from gateway.asks.tenants import (
    ChangeTenant,
    DeleteDepartment,
    EnableRecording,
    ListDepartments,
    PutDepartment,
    ShowDepartment,
    ShowTenant,
)
from gateway.catalog.departments import Departments
from gateway.catalog.holds import Holds
from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.catalog.tenants import Tenants
from gateway.config import Database
from gateway.errors import Absent, Contradicts, NotFound
from gateway.model import CallRef, NewCall, Tenant
from gateway.postgres import Connection, Pool


@pytest.fixture
def tenants(pool: Pool, database: str) -> Tenants:
    return Tenants(pool, Database(url=database))


@pytest.fixture
def departments(pool: Pool, database: str) -> Departments:
    return Departments(pool, Database(url=database))


async def test_what_is_not_named_stays(tenants: Tenants, acme: Tenant):
    full = ChangeTenant("acme", "Acme Ltd", recording_enabled=True, transcription_enabled=True, retention_days=30)
    known = await tenants.change(acme.id, full)
    assert known == replace(
        acme, name="Acme Ltd", recording_enabled=True, transcription_enabled=True, retention_days=30
    )
    for change, expected in (
        (ChangeTenant("acme"), known),
        (ChangeTenant("acme", recording_enabled=False), replace(known, recording_enabled=False)),
        (ChangeTenant("acme", for_ever=True), replace(known, recording_enabled=False, retention_days=None)),
    ):
        assert await tenants.change(acme.id, change) == expected
    enabled = await tenants.enable_recording(acme.id, EnableRecording())
    assert enabled == replace(known, retention_days=None)
    assert await tenants.enable_recording(acme.id, EnableRecording()) == enabled
    assert await tenants.show(acme.id, ShowTenant("acme")) == enabled


async def test_nobody_reaches_another_account(tenants: Tenants, acme: Tenant, other: Tenant):
    for slug in ("other", "nobody", ""):
        with pytest.raises(NotFound):
            await tenants.show(acme.id, ShowTenant(slug))
        with pytest.raises(NotFound):
            await tenants.change(acme.id, ChangeTenant(slug, "Ours"))
    await tenants.enable_recording(acme.id, EnableRecording())
    assert await tenants.show(other.id, ShowTenant("other")) == other


async def test_departments_are_the_accounts_own(departments: Departments, acme: Tenant, other: Tenant):
    one, two = uuid4(), uuid4()
    made = await departments.put(acme.id, PutDepartment(one, "Sales"))
    again = await departments.put(acme.id, PutDepartment(one, "Support"))
    assert (made.made, again.made, again.department) == (True, False, replace(made.department, name="Support"))
    theirs = (await departments.put(other.id, PutDepartment(two, "Theirs"))).department
    assert await departments.list(acme.id, ListDepartments()) == [again.department]
    for refused, asked in (
        (NotFound, departments.show(acme.id, ShowDepartment(two))),
        (NotFound, departments.delete(acme.id, DeleteDepartment(two))),
        (Contradicts, departments.put(acme.id, PutDepartment(two, "Ours"))),
    ):
        with pytest.raises(refused):
            await asked
    assert await departments.show(other.id, ShowDepartment(two)) == theirs


async def test_a_hold_is_the_accounts_own(pool: Pool, registry: Registry, acme: Tenant, other: Tenant, database: str):
    holds = Holds(pool, Database(url=database))
    call = await a_ready_call(registry, acme.id)
    placed = await holds.place(acme.id, call, PlaceHold("Case 12"))
    for asked in (
        holds.show(other.id, call, ShowHold()),
        holds.place(other.id, call, PlaceHold("Ours")),
        holds.lift(other.id, call, LiftHold()),
    ):
        with pytest.raises(Absent):
            await asked
    assert await holds.show(acme.id, call, ShowHold()) == placed
    assert (placed.held, placed.reason) == (True, "Case 12")


async def test_a_department_goes_only_without_recordings(
    departments: Departments, registry: Registry, catalog: PostgresCatalog, acme: Tenant
):
    department = (await departments.put(acme.id, PutDepartment(uuid4(), "Sales"))).department.id
    silent = await registry.create_call(acme.id, NewCall(department=department))
    await departments.delete(acme.id, DeleteDepartment(department))
    assert (await catalog.find(acme.id, CallRef(None, str(silent)))).call.department is None
    await departments.put(acme.id, PutDepartment(department, "Sales"))
    recorded = await registry.create_call(acme.id, NewCall(department=department))
    await registry.put_recording(acme.id, recorded)
    with pytest.raises(Contradicts) as refused:
        await departments.delete(acme.id, DeleteDepartment(department))
    assert refused.value.code == "department_has_recordings"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants SET slug = 'mine'",
        "UPDATE tenants SET id = gen_random_uuid()",
        "DELETE FROM tenants",
        "UPDATE departments SET tenant_id = gen_random_uuid()",
        "UPDATE departments SET id = gen_random_uuid()",
    ],
)
async def test_whose_things_are_is_not_the_services_to_change(service: Connection, statement: str):
    with pytest.raises(InsufficientPrivilegeError):
        await service.execute(statement)


async def test_what_changes_is_told_once_and_what_changes_nothing_to_nobody(
    tenants: Tenants, registry: Registry, acme: Tenant, database: str, service: Connection
):
    call = await registry.create_call(acme.id, NewCall(direction="inbound"))
    told: list[str] = []
    last = asyncio.Event()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        told.append(str(payload))
        if payload == "last":
            last.set()

    ear = await asyncpg.connect(database)
    await ear.add_listener("recording_gateway", hear)
    await tenants.change(acme.id, ChangeTenant("acme", acme.name))
    await registry.create_call(acme.id, NewCall(id=call, direction="inbound"))
    await tenants.change(acme.id, ChangeTenant("acme", retention_days=7))
    await registry.create_call(acme.id, NewCall(id=call, direction="outbound"))
    await registry.create_call(acme.id, NewCall(id=call, aliases={"yotel": "yt-1"}))
    await service.execute(
        "INSERT INTO transcripts (tenant_id, call_id, status) VALUES ($1, $2, 'pending')", acme.id, call
    )
    await registry.put_recording(acme.id, call)
    await service.execute("SELECT pg_notify('recording_gateway', 'last')")
    async with asyncio.timeout(20):
        await last.wait()
    await ear.close()
    assert told == [f"tenant:{acme.id}", *[f"call:{call}"] * 4, "last"]
