"""What the database itself refuses, whoever asks."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg.exceptions import (
    CheckViolationError,
    ForeignKeyViolationError,
    InsufficientPrivilegeError,
    ObjectNotInPrerequisiteStateError,
    RestrictViolationError,
    UniqueViolationError,
)
from parts.catalog import a_ready_call, an_object

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
    assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 1


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
    async with asyncio.timeout(20):
        while not await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await watcher.fetchval("SELECT pg_sleep(0.01)")
    await watcher.close()


# --- raw SQL, as the role that the service has -------------------------------------------------------------------------

DENIED, KEPT, BOUND = InsufficientPrivilegeError, RestrictViolationError, ForeignKeyViolationError
VIEW = ObjectNotInPrerequisiteStateError
# What is tried → by what it is refused: a right that the role lacks (DENIED); or, whoever tries, a rule of the table's own.
RAW = {
    # access records
    "DELETE FROM access_events": DENIED,
    "DELETE FROM access_outcomes": DENIED,
    "DELETE FROM accesses": VIEW,
    "UPDATE access_events SET actor_id = 'somebody else'": DENIED,
    "UPDATE accesses SET actor_id = 'somebody else'": VIEW,
    "WITH gone AS (DELETE FROM access_events RETURNING *) SELECT * FROM gone": DENIED,
    "MERGE INTO access_events e USING tenants t ON true WHEN MATCHED THEN DELETE": DENIED,
    "DELETE FROM {events_part}": DENIED,
    "UPDATE {outcomes_part} SET status = 404": DENIED,
    "TRUNCATE access_events, access_outcomes": DENIED,
    "TRUNCATE {events_part}": DENIED,
    "DROP TABLE {events_part}": DENIED,
    "ALTER TABLE access_events DETACH PARTITION {events_part}": DENIED,
    "ALTER TABLE access_events DISABLE TRIGGER ALL": DENIED,
    "ALTER TABLE access_events NO INHERIT access_outcomes": DENIED,
    "DROP TRIGGER access_events_keep ON access_events": DENIED,
    "CREATE RULE lost AS ON INSERT TO access_events DO INSTEAD NOTHING": DENIED,
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'": DENIED,
    "DROP FUNCTION refuse_change CASCADE": DENIED,
    "ALTER FUNCTION guard_recording SET search_path = pg_temp": DENIED,
    "SET session_replication_role = replica": DENIED,
    "GRANT DELETE ON access_events TO recording_gateway; DELETE FROM access_events": DENIED,
    "ALTER TABLE recordings OWNER TO recording_gateway": DENIED,
    # departments with recordings; a table of one's own stands before the real one where a function does not say which
    "DELETE FROM departments WHERE id = '{department}'": BOUND,
    "DELETE FROM departments": BOUND,
    "TRUNCATE departments CASCADE": DENIED,
    "UPDATE calls SET department_id = NULL": KEPT,
    "UPDATE calls SET department_id = '{quiet}' WHERE id = '{call}'": KEPT,
    "WITH moved AS (UPDATE calls SET department_id = NULL) DELETE FROM departments": BOUND,
    "UPDATE departments SET id = gen_random_uuid() WHERE id = '{department}'": DENIED,
    "UPDATE departments SET tenant_id = '{other}' WHERE id = '{department}'": DENIED,
    "CREATE TEMP TABLE recordings (LIKE public.recordings); DELETE FROM departments WHERE id = '{department}'": BOUND,
    "CREATE TEMP TABLE calls (LIKE public.calls); DELETE FROM departments WHERE id = '{department}'": BOUND,
    "CREATE TEMP TABLE recordings (LIKE public.recordings); UPDATE calls SET department_id = NULL": KEPT,
    # recordings, calls, tenants
    "DELETE FROM recordings": DENIED,
    "DELETE FROM recordings WHERE state = 'expired'": DENIED,
    "TRUNCATE recordings": DENIED,
    "TRUNCATE recordings, transcripts, calls CASCADE": DENIED,
    "DELETE FROM calls WHERE id = '{call}'": DENIED,
    "DELETE FROM call_aliases": DENIED,
    "UPDATE call_aliases SET external_id = 'another'": DENIED,
    "DELETE FROM tenants": DENIED,
    "UPDATE tenants SET id = gen_random_uuid()": DENIED,
    "DELETE FROM transcripts": DENIED,
    "DROP TABLE recordings CASCADE": DENIED,
    "ALTER TABLE recordings DROP COLUMN key": DENIED,
    "ALTER TABLE recordings DISABLE TRIGGER recordings_guard": DENIED,
    "DROP SCHEMA public CASCADE": DENIED,
    "UPDATE recordings SET call_id = '{bare}' WHERE call_id = '{call}'": KEPT,
    "UPDATE recordings SET tenant_id = '{other}', call_id = '{theirs}' WHERE call_id = '{call}'": KEPT,
    "UPDATE recordings SET id = gen_random_uuid()": KEPT,
    "UPDATE recordings SET created_at = '2000-01-01'": KEPT,
    "UPDATE calls SET tenant_id = '{other}' WHERE id = '{bare}'": KEPT,
    "UPDATE calls SET id = gen_random_uuid() WHERE id = '{call}'": KEPT,
    # retention and holds
    "UPDATE recordings SET state = 'expired' WHERE call_id = '{call}'": KEPT,
    "UPDATE recordings SET state = 'expired' WHERE call_id = '{held}'": KEPT,
    "UPDATE recordings SET state = 'expired', hold = false WHERE call_id = '{held}'": KEPT,
    "UPDATE recordings SET state = 'expired', expires_at = now() WHERE call_id = '{held}'": KEPT,
    "UPDATE recordings SET state = 'expired', expires_at = '2000-01-01' WHERE call_id = '{planned}'": KEPT,
    "UPDATE recordings SET state = 'expired', retention_days = 1 WHERE call_id = '{planned}'": KEPT,
    "UPDATE recordings SET key = 'another' WHERE call_id = '{held}'": KEPT,
    "UPDATE recordings SET state = 'pending', hold = false, store = NULL, key = NULL WHERE call_id = '{held}'": KEPT,
    "UPDATE recordings SET kept_from = '2000-01-01' WHERE call_id = '{planned}'": KEPT,
    "UPDATE recordings SET kept_from = NULL WHERE call_id = '{planned}'": KEPT,
    "UPDATE recordings SET object_deleted_at = now() WHERE call_id = '{call}'": KEPT,
    "CREATE TEMP TABLE tenants (LIKE public.tenants); UPDATE recordings SET state = 'expired', expires_at = '2000-01-01' WHERE call_id = '{planned}'": KEPT,
    "UPDATE recordings SET state = 'ready' WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET state = 'pending', key = 'another' WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET store = 'another' WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET expires_at = NULL WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET object_deleted_at = NULL WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET object_deleted_at = object_deleted_at + interval '1 day' WHERE call_id = '{ended}'": KEPT,
    "UPDATE recordings SET hold = true WHERE call_id = '{ended}'": CheckViolationError,
    "INSERT INTO recordings (id, tenant_id, call_id, state) SELECT id, tenant_id, call_id, 'pending' FROM recordings"
    " WHERE call_id = '{ended}' ON CONFLICT (tenant_id, call_id) DO UPDATE SET state = 'pending'": KEPT,
    "MERGE INTO recordings r USING tenants t ON r.call_id = '{ended}' AND r.tenant_id = t.id"
    " WHEN MATCHED THEN UPDATE SET state = 'ready'": KEPT,
    # keys
    "UPDATE api_keys SET revoked_at = NULL": KEPT,
    "UPDATE api_keys SET revoked_at = now() + interval '1 day'": KEPT,
    "UPDATE api_keys SET scopes = '{{audit:read}}'": DENIED,
    "UPDATE api_keys SET tenant_id = '{other}'": DENIED,
    "DELETE FROM api_keys": DENIED,
}  # fmt: skip


async def _world(owner: Connection, registry: Registry) -> dict[str, object]:
    """Recordings of each kind, and the ids that RAW names."""
    acme = (await registry.create_tenant("acme", "Acme")).id
    planned = (await registry.create_tenant("planned", "Planned", retention_days=30)).id
    other = (await registry.create_tenant("other", "Other")).id
    department, quiet = await _department(owner, acme), await _department(owner, acme)
    call = await registry.create_call(acme, NewCall(aliases={"yotel": "a"}, department=department))
    await registry.mark_ready(acme, call, an_object(), duration_ms=1, channels=1)
    held, ended = await a_ready_call(registry, acme), await a_ready_call(registry, acme)
    await owner.execute("UPDATE recordings SET hold = true, expires_at = now() WHERE call_id = $1", held)
    await owner.execute("UPDATE recordings SET state = 'expired', expires_at = now() WHERE call_id = $1", ended)
    await owner.execute("UPDATE recordings SET object_deleted_at = now() WHERE call_id = $1", ended)
    await owner.execute("INSERT INTO transcripts (tenant_id, call_id, status) VALUES ($1, $2, 'ready')", acme, call)
    await owner.execute(
        "INSERT INTO api_keys (tenant_id, name, hint, sha256, scopes, revoked_at) VALUES ($1, 'k', 'k', $2, '{}', now())",
        acme,
        bytes(32),
    )
    event = uuid4()
    await owner.execute(EVENT, event, NOW)
    await owner.execute(OUTCOME, event, NOW)
    return {
        "other": other,
        "department": department,
        "quiet": quiet,
        "call": call,
        "held": held,
        "ended": ended,
        "planned": await a_ready_call(registry, planned),
        "bare": await registry.create_call(acme, NewCall()),
        "theirs": await registry.create_call(other, NewCall()),
        "events_part": _month("access_events"),
        "outcomes_part": _month("access_outcomes"),
    }


TABLES = (
    "access_events",
    "access_outcomes",
    "departments",
    "calls",
    "call_aliases",
    "recordings",
    "transcripts",
    "tenants",
    "api_keys",
)


async def _all(owner: Connection) -> dict[str, list[object]]:
    return {table: await owner.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


async def _try(connection: Connection, statement: str) -> None:
    """In a transaction that is taken back if it comes so far."""
    async with connection.transaction():
        await connection.execute(statement)
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        pytest.fail(f"let through: {statement}")


async def test_raw_sql_breaks_no_promise(owner: Connection, service: Connection, registry: Registry):
    names = await _world(owner, registry)
    before = await _all(owner)
    assert await service.fetchval("SELECT current_user") == "recording_gateway"
    for statement, refused in RAW.items():
        for connection in (service,) if refused is DENIED else (service, owner):
            with pytest.raises(refused):
                await _try(connection, statement.format(**names))
        assert await _all(owner) == before, statement


async def test_what_runs_with_the_owners_rights_is_for_the_service_alone(owner: Connection):
    functions = await owner.fetch(
        "SELECT proname, has_function_privilege('public', oid, 'execute') AS everybodys FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    assert {"use_link", "forget_links", "prune_webhook_log"} <= {row["proname"] for row in functions}
    assert [row["proname"] for row in functions if row["everybodys"]] == []


async def test_what_retention_and_holds_are_for_is_let_through(
    owner: Connection, service: Connection, registry: Registry
):
    """Or the refusals would prove nothing."""
    names = await _world(owner, registry)
    for statement in (
        "DELETE FROM departments WHERE id = '{quiet}'",
        "UPDATE calls SET department_id = '{department}' WHERE id = '{bare}'",
        "UPDATE calls SET department_id = NULL WHERE id = '{bare}'",
        "UPDATE recordings SET hold = true WHERE call_id = '{call}'",
        "UPDATE recordings SET hold = false WHERE call_id = '{held}'",
        "UPDATE recordings SET state = 'expired' WHERE call_id = '{held}'",
        "UPDATE recordings SET object_deleted_at = now() WHERE call_id = '{held}'",
        "UPDATE tenants SET retention_days = 1",
        "UPDATE recordings SET expires_at = now() + interval '1 day' WHERE call_id = '{planned}'",
    ):
        assert (await service.execute(statement.format(**names))).split()[-1] != "0", statement


@pytest.mark.parametrize("first", ["hold", "words"])
async def test_a_hold_and_a_change_of_what_was_said_do_not_miss_each_other(
    owner: Connection, service: Connection, registry: Registry, acme: Tenant, database: str, first: str
):
    call = await a_ready_call(registry, acme.id)
    await owner.execute(
        "INSERT INTO transcripts (tenant_id, call_id, status, text) VALUES ($1, $2, 'ready', 'said')", acme.id, call
    )
    hold = ("UPDATE recordings SET hold = true WHERE call_id = $1", call)
    change = ("UPDATE transcripts SET text = 'unsaid' WHERE call_id = $1", call)
    early, late = (hold, change) if first == "hold" else (change, hold)
    async with owner.transaction():
        await owner.execute(*early)
        waiting = asyncio.create_task(service.execute(*late))
        await _is_waiting(database)
    if first == "hold":
        with pytest.raises(RestrictViolationError):
            await waiting
    else:
        await waiting
    assert await owner.fetchval("SELECT text FROM transcripts") == ("said" if first == "hold" else "unsaid")


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
        await owner.execute(f"UPDATE recordings SET {change}")
