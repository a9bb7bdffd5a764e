"""What the database itself refuses, whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg.exceptions import (
    CheckViolationError,
    ForeignKeyViolationError,
    InsufficientPrivilegeError,
    RestrictViolationError,
    UniqueViolationError,
)
from parts.catalog import a_ready_call

from gateway.catalog.registry import Registry
from gateway.config import Database
from gateway.model import NewCall, Tenant
from gateway.postgres import Connection, connect

NOW = datetime.now(UTC)
EVENT = """
    INSERT INTO access_events (event_id, occurred_at, surface, method, actor_kind, scopes, address, peer, request_id)
    VALUES ($1, $2, 'native', 'stream', 'api_key', '{}', '', '', 'r')
"""
OUTCOME = """
    INSERT INTO access_outcomes (event_id, occurred_at, completed_at, status, bytes_sent, result)
    VALUES ($1, $2, $2, 200, 1, 'complete')
"""


@pytest.fixture
async def owner(database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def service(database: str) -> AsyncIterator[Connection]:
    connection = await connect(Database(url=database))
    yield connection
    await connection.close()


# --- the audit ---------------------------------------------------------------------------------------------------------


def _month(table: str) -> str:
    return f"{table}_{NOW:%Y_%m}"


@pytest.mark.parametrize("table", ["access_events", "access_outcomes"])
@pytest.mark.parametrize("of", [str, _month], ids=["whole", "partition"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET occurred_at = occurred_at",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "TRUNCATE {} CASCADE",
        "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (event_id, occurred_at) DO UPDATE SET occurred_at = now()",
    ],
)
async def test_access_records_are_only_ever_added(
    owner: Connection, service: Connection, table: str, of: Callable[[str], str], statement: str
):
    event = uuid4()
    await service.execute(EVENT, event, NOW)
    await service.execute(OUTCOME, event, NOW)
    text = statement.format(of(table))
    with pytest.raises(InsufficientPrivilegeError):
        await service.execute(text)
    with pytest.raises(RestrictViolationError):
        await owner.execute(text)
    assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 1  # noqa: S608


async def test_an_access_is_read_with_its_outcome_or_without(service: Connection):
    done, open_ = uuid4(), uuid4()
    for event in (done, open_):
        await service.execute(EVENT, event, NOW)
    await service.execute(OUTCOME, done, NOW)
    rows = await service.fetch("SELECT event_id, result FROM accesses")
    assert {row["event_id"]: row["result"] for row in rows} == {done: "complete", open_: None}


@pytest.mark.parametrize("months", [-12, -2, 7, 120])
async def test_a_record_of_any_time_finds_room_once_asked_for(service: Connection, months: int):
    when = NOW + timedelta(days=30.4 * months)
    with pytest.raises(CheckViolationError):
        await service.execute(EVENT, uuid4(), when)
    await service.execute("SELECT ensure_access_partitions(0, $1)", when)
    await service.execute(EVENT, uuid4(), when)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
async def test_months_are_of_utc_whatever_the_session_thinks(service: Connection, zone: str):
    await service.execute(f"SET timezone = '{zone}'")
    edge = datetime(2031, 3, 1, tzinfo=UTC)
    await service.execute("SELECT ensure_access_partitions(0, $1)", edge)
    for when, part in ((edge, "2031_03"), (edge - timedelta(microseconds=1), "2031_02")):
        event = uuid4()
        await service.execute(EVENT, event, when)
        where = await service.fetchval("SELECT tableoid::regclass::text FROM access_events WHERE event_id = $1", event)
        assert where == f"access_events_{part}"


async def test_partitions_are_made_once_however_many_ask(database: str):
    connections = [await connect(Database(url=database)) for _ in range(8)]
    made = await asyncio.gather(*(c.fetchval("SELECT ensure_access_partitions(12)") for c in connections))
    # 3 months ahead are there; 9 more, of two tables.
    assert sorted(made) == [0] * 7 + [18]
    assert await connections[0].fetchval("SELECT ensure_access_partitions(12)") == 0
    for connection in connections:
        await connection.close()


async def test_making_partitions_keeps_no_writer_waiting(service: Connection, database: str):
    maker = await connect(Database(url=database))
    async with maker.transaction():
        await maker.execute("SELECT ensure_access_partitions(6)")
        await service.execute(EVENT, uuid4(), NOW, timeout=2)
    async with service.transaction():
        await service.execute(EVENT, uuid4(), NOW)
        await maker.execute("SELECT ensure_access_partitions(9)", timeout=2)
    await maker.close()


async def test_the_service_reaches_no_partition_but_through_the_whole(service: Connection):
    with pytest.raises(InsufficientPrivilegeError):
        await service.execute(f"SELECT FROM {_month('access_events')}")
    with pytest.raises(InsufficientPrivilegeError):
        await service.execute("CREATE TABLE mine ()")


# --- recordings and departments ----------------------------------------------------------------------------------------


async def test_recordings_are_not_deleted(owner: Connection, service: Connection, registry: Registry, acme: Tenant):
    await a_ready_call(registry, acme.id)
    for statement in ("DELETE FROM recordings", "TRUNCATE recordings", "TRUNCATE tenants CASCADE"):
        with pytest.raises(InsufficientPrivilegeError):
            await service.execute(statement)
        with pytest.raises(RestrictViolationError):
            await owner.execute(statement)
    with pytest.raises(ForeignKeyViolationError):
        await owner.execute("DELETE FROM calls")


async def _department(owner: Connection, tenant: UUID) -> UUID:
    id_: UUID = await owner.fetchval(
        "INSERT INTO departments (tenant_id, name) VALUES ($1, 'Sales') RETURNING id", tenant
    )
    return id_


async def test_a_department_goes_only_while_none_of_its_calls_has_a_recording(
    owner: Connection, service: Connection, registry: Registry, acme: Tenant
):
    department = await _department(owner, acme.id)
    call = await registry.create_call(acme.id, NewCall(department=department))
    await registry.put_recording(acme.id, call)
    for connection in (service, owner):
        with pytest.raises(ForeignKeyViolationError):
            await connection.execute("DELETE FROM departments WHERE id = $1", department)
    quiet = await _department(owner, acme.id)
    kept = await registry.create_call(acme.id, NewCall(department=quiet))
    await service.execute("DELETE FROM departments WHERE id = $1", quiet)
    assert await owner.fetchrow("SELECT tenant_id, department_id FROM calls WHERE id = $1", kept) == (acme.id, None)


@pytest.mark.parametrize("first", ["recording", "deletion"])
async def test_a_recording_and_its_departments_deletion_do_not_miss_each_other(
    owner: Connection, service: Connection, registry: Registry, acme: Tenant, database: str, first: str
):
    department = await _department(owner, acme.id)
    call = await registry.create_call(acme.id, NewCall(department=department))
    delete = ("DELETE FROM departments WHERE id = $1", department)
    insert = ("INSERT INTO recordings (tenant_id, call_id, state) VALUES ($1, $2, 'pending')", acme.id, call)
    early, late = (insert, delete) if first == "recording" else (delete, insert)
    async with owner.transaction():
        await owner.execute(*early)
        waiting = asyncio.create_task(service.execute(*late))
        await _is_waiting(database)
    if first == "recording":
        with pytest.raises(ForeignKeyViolationError):
            await waiting
    else:
        await waiting
    left = await owner.fetchrow(
        "SELECT (SELECT count(*) FROM departments), (SELECT count(*) FROM recordings), department_id FROM calls"
    )
    assert left == ((1, 1, department) if first == "recording" else (0, 1, None))


async def _is_waiting(database: str) -> None:
    watcher = await asyncpg.connect(database)
    async with asyncio.timeout(5):
        while not await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await watcher.fetchval("SELECT pg_sleep(0.01)")
    await watcher.close()


# --- tenants kept apart ------------------------------------------------------------------------------------------------


async def test_no_row_points_into_another_tenant(owner: Connection, registry: Registry, acme: Tenant, other: Tenant):
    theirs = await registry.create_call(other.id, NewCall())
    department = await _department(owner, other.id)
    for statement, *arguments in (
        ("INSERT INTO recordings (tenant_id, call_id, state) VALUES ($1, $2, 'pending')", theirs),
        ("INSERT INTO call_aliases (tenant_id, surface, external_id, call_id) VALUES ($1, 'yotel', 'x', $2)", theirs),
        ("INSERT INTO transcripts (tenant_id, call_id, status) VALUES ($1, $2, 'pending')", theirs),
        ("INSERT INTO calls (tenant_id, department_id) VALUES ($1, $2)", department),
    ):
        with pytest.raises(ForeignKeyViolationError):
            await owner.execute(statement, acme.id, *arguments)
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "y"}))
    with pytest.raises(RestrictViolationError):
        await owner.execute("UPDATE calls SET tenant_id = $2 WHERE id = $1", call, other.id)


async def test_a_public_id_is_one_calls_alone_across_tenants(
    owner: Connection, registry: Registry, acme: Tenant, other: Tenant
):
    statement = "INSERT INTO call_aliases (tenant_id, surface, external_id, call_id) VALUES ($1, $2, 'same', $3)"
    for surface in ("yotel", "agentphone"):
        await owner.execute(statement, acme.id, surface, await registry.create_call(acme.id, NewCall()))
    theirs = await registry.create_call(other.id, NewCall())
    await owner.execute(statement, other.id, "yotel", theirs)
    with pytest.raises(UniqueViolationError):
        await owner.execute(statement, other.id, "agentphone", theirs)


@pytest.mark.parametrize(
    "change",
    [
        "store = NULL",
        "key = NULL",
        "store = NULL, key = NULL",
        "size = NULL",
        "size = -1",
        "etag = NULL",
        "etag = 'unquoted'",
        "etag = 'W/\"weak\"'",
        "version = NULL",
        "modified = NULL",
        "media_type = NULL",
        "size = NULL, etag = NULL, version = NULL, modified = NULL, media_type = NULL",
        "ready_at = NULL",
        "state = 'absent'",
        "state = 'failed'",
        "channels = 0",
        "duration_ms = -1",
    ],
)
async def test_ready_means_that_all_is_known(owner: Connection, registry: Registry, acme: Tenant, change: str):
    await a_ready_call(registry, acme.id)
    with pytest.raises(CheckViolationError):
        await owner.execute(f"UPDATE recordings SET {change}")  # noqa: S608
