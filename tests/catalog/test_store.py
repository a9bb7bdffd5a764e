"""Finding and listing, straight from Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.catalog import a_ready_call, an_object, by_id

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.config import Database
from gateway.errors import Malformed, NotFound, Unavailable
from gateway.model import CallRef, Key, Lifetime, Listing, NewCall, State, Tenant
from gateway.postgres import Connection, Pool, connect, open_pool


async def test_a_call_is_found_with_all_that_is_known(catalog: PostgresCatalog, registry: Registry, acme: Tenant):
    facts = NewCall(
        aliases={"yotel": "yt-1", "callsid": "call_9"},
        direction="inbound",
        from_number="+15550100",
        to_number="+15550101",
        voice_agent=True,
        started_at=datetime(2026, 11, 1, 8, tzinfo=UTC),
    )
    call = await registry.create_call(acme.id, facts)
    ready = await registry.mark_ready(acme.id, call, an_object(), duration_ms=1234, channels=2)
    entry = await catalog.find(acme.id, by_id(call))
    assert entry.call.aliases == {"yotel": "yt-1", "callsid": "call_9"}
    assert (entry.call.direction, entry.call.to_number, entry.call.voice_agent) == ("inbound", "+15550101", True)
    assert entry.call.started_at == facts.started_at
    assert entry.recording == ready
    assert ready.object == an_object()
    assert (ready.state, ready.duration_ms, ready.channels) == (State.READY, 1234, 2)


async def test_every_name_of_a_call_leads_to_it(catalog: PostgresCatalog, registry: Registry, acme: Tenant):
    call = await a_ready_call(registry, acme.id, yotel="yt-1")
    for ref in (by_id(call), CallRef(None, str(call).upper()), CallRef("yotel", "yt-1")):
        assert (await catalog.find(acme.id, ref)).call.id == call


@pytest.mark.parametrize(
    ("surface", "id_"),
    [
        ("yotel", "YT-1"),
        ("yotel", "yt-1 "),
        ("yotel", "yt-"),
        ("yotel", "yt-%"),
        ("yotel", "yt-1\0"),
        ("yotel", "yt-1\udcff"),
        ("yotel", "' OR true --"),
        ("yotel", "y" * 10_000),
        ("callsid", "yt-1"),
        ("native", "yt-1"),
        (None, "yt-1"),
        (None, ""),
        (None, "00000000-0000-0000-0000-000000000000"),
    ],
)
async def test_ids_are_compared_exactly(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, surface: str | None, id_: str
):
    await a_ready_call(registry, acme.id, yotel="yt-1")
    with pytest.raises(NotFound):
        await catalog.find(acme.id, CallRef(surface, id_))


async def test_a_foreign_call_is_not_found(catalog: PostgresCatalog, registry: Registry, acme: Tenant, other: Tenant):
    call = await a_ready_call(registry, acme.id, yotel="yt-1")
    for ref in (by_id(call), CallRef("yotel", "yt-1")):
        with pytest.raises(NotFound):
            await catalog.find(other.id, ref)
    assert (await catalog.list(other.id, Listing())).entries == []


async def test_two_tenants_may_use_the_same_id(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, other: Tenant
):
    mine, theirs = [await a_ready_call(registry, tenant.id, yotel="same") for tenant in (acme, other)]
    assert (await catalog.find(acme.id, CallRef("yotel", "same"))).call.id == mine
    assert (await catalog.find(other.id, CallRef("yotel", "same"))).call.id == theirs


async def test_the_id_that_was_asked_by_stands_for_its_surface(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant
):
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "first"}))
    await registry.create_call(acme.id, NewCall(id=call, aliases={"yotel": "second"}))
    assert (await catalog.find(acme.id, by_id(call))).call.aliases == {"yotel": "first"}
    assert (await catalog.find(acme.id, CallRef("yotel", "second"))).call.aliases == {"yotel": "second"}


async def test_a_call_that_was_never_recorded_is_found_without_a_recording(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant
):
    call = await registry.create_call(acme.id, NewCall())
    entry = await catalog.find(acme.id, by_id(call))
    assert entry.recording is None
    assert entry.state(datetime.now(UTC)) is State.ABSENT


async def test_pages_hold_every_recording_once_and_newest_first(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, database: str
):
    made = [await a_ready_call(registry, acme.id) for _ in range(11)]
    owner = await asyncpg.connect(database)
    # Half of them at the very same instant: the id must decide. Nothing but the owner's own hand can make it so.
    await owner.execute("""
        ALTER TABLE recordings DISABLE TRIGGER USER;
        UPDATE recordings SET created_at = '2026-01-01' WHERE get_byte(uuid_send(id), 15) < 128;
        ALTER TABLE recordings ENABLE TRIGGER USER;
    """)
    await owner.close()
    seen: list[UUID] = []
    times: list[datetime] = []
    cursor = None
    for _ in range(10):
        page = await catalog.list(acme.id, Listing(limit=3, cursor=cursor))
        seen += [entry.call.id for entry in page.entries]
        times += [
            entry.recording.created_at for entry in page.entries if entry.recording and entry.recording.created_at
        ]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == len(made)
    assert set(seen) == set(made)
    assert times == sorted(times, reverse=True)


async def test_a_listing_is_narrowed_by_state_and_time(catalog: PostgresCatalog, registry: Registry, acme: Tenant):
    now = datetime.now(UTC)
    ready, pending, failed, over = [await registry.create_call(acme.id, NewCall()) for _ in range(4)]
    await registry.mark_ready(acme.id, ready, an_object())
    await registry.put_recording(acme.id, pending)
    await registry.mark_failed(acme.id, failed, "no audio")
    await registry.mark_ready(acme.id, over, an_object(), lifetime=Lifetime(expires_at=now - timedelta(days=1)))
    table = [
        (Listing(state=State.READY), {ready}),
        (Listing(state=State.PENDING), {pending}),
        (Listing(state=State.FAILED), {failed}),
        (Listing(state=State.EXPIRED), {over}),
        (Listing(), {ready, pending, failed, over}),
        (Listing(since=now - timedelta(hours=1)), {ready, pending, failed, over}),
        (Listing(since=now + timedelta(hours=1)), set()),
        (Listing(until=now - timedelta(hours=1)), set()),
    ]
    for asked, wanted in table:
        page = await catalog.list(acme.id, asked)
        assert {entry.call.id for entry in page.entries} == wanted, asked
        assert all(asked.state is None or entry.state(now) is asked.state for entry in page.entries)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Listing(limit=0), "limit"),
        (Listing(limit=201), "limit"),
        (Listing(state=State.ABSENT), "state"),
        (Listing(cursor="nonsense"), "cursor"),
    ],
)
async def test_a_malformed_listing_says_what_is_wrong(
    catalog: PostgresCatalog, acme: Tenant, asked: Listing, field: str
):
    with pytest.raises(Malformed) as caught:
        await catalog.list(acme.id, asked)
    assert caught.value.field == ("query", field)


async def test_a_key_is_found_by_its_digest_alone(catalog: PostgresCatalog, registry: Registry, acme: Tenant):
    key = Key(
        id=uuid4(),
        tenant=acme.id,
        tenant_slug="acme",
        name="laptop",
        hint="rg_live_…abcd",
        scopes=frozenset({"calls:read"}),
        role="manager",
        created_at=datetime.now(UTC),
    )
    await registry.create_key(key, b"k" * 32)
    assert await catalog.key(b"k" * 32) == key
    assert await catalog.key(b"x" * 32) is None
    await registry.revoke_key(key.id)
    found = await catalog.key(b"k" * 32)
    assert found is not None
    assert found.revoked_at is not None


async def test_a_tenant_is_found_by_slug(catalog: PostgresCatalog, acme: Tenant):
    assert await catalog.tenant("acme") == acme
    assert await catalog.tenant("ACME") is None
    assert await catalog.tenant("ac\0me") is None


async def test_service_connections_take_on_the_role(pool: Pool):
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT current_user") == "recording_gateway"
        await connection.execute("RESET ROLE")
        assert await connection.fetchval("SELECT current_user") == "recording_gateway"


async def test_a_caller_that_leaves_neither_stops_its_question_nor_costs_a_connection(database: str):
    place = Database(url=database, pool_min=1, pool_max=1)
    pool = await open_pool(place)
    catalog = PostgresCatalog(pool, place)
    owner = await asyncpg.connect(database)
    async with owner.transaction():
        await owner.execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        caller = asyncio.create_task(catalog.tenant("acme"))
        await _until(owner, waiting=1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await _until(owner, waiting=1)
    await catalog.close()
    assert await catalog.tenant("acme") is None
    assert (pool.get_size(), pool.get_idle_size()) == (1, 1)
    await pool.close()
    await owner.close()


async def _until(owner: Connection, *, waiting: int) -> None:
    """So many others are waiting for a lock, and still are a moment later."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while await owner.fetchval(others) != waiting:
            await owner.fetchval("SELECT pg_sleep(0.02)")
        await owner.fetchval("SELECT pg_sleep(0.1)")
        assert await owner.fetchval(others) == waiting


async def test_a_schema_that_is_behind_is_unavailable_and_says_so(catalog: PostgresCatalog, database: str):
    await catalog.check()
    owner = await asyncpg.connect(database)
    await owner.execute("DELETE FROM schema_migrations WHERE version = '0002'")
    await owner.close()
    with pytest.raises(Unavailable, match=r"0002_accesses\.sql"):
        await catalog.check()


async def test_an_exhausted_pool_is_unavailable(database: str):
    place = Database(url=database, pool_min=1, pool_max=1, connect_s=1)
    pool = await open_pool(place)
    async with pool.acquire():
        with pytest.raises(Unavailable):
            await PostgresCatalog(pool, place).tenant("acme")
    await pool.close()


async def test_a_query_that_takes_too_long_is_unavailable_and_stops_on_the_server(database: str, registry: Registry):
    await registry.create_tenant("acme", "Acme")
    owner = await asyncpg.connect(database)
    place = Database(url=database, query_s=1)
    pool = await open_pool(place)
    async with owner.transaction():
        await owner.execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            await PostgresCatalog(pool, place).tenant("acme")
        await _until(owner, waiting=0)
    assert await PostgresCatalog(pool, place).tenant("acme") is not None
    await pool.close()
    await owner.close()


async def test_a_defect_is_not_an_outage(catalog: PostgresCatalog, database: str):
    owner = await asyncpg.connect(database)
    await owner.execute("REVOKE ALL ON tenants FROM recording_gateway")
    await owner.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await catalog.tenant("acme")


@pytest.mark.parametrize(
    "url", ["postgresql://nobody:wrong@127.0.0.1:1/none", "postgresql://postgres@/none?host=/nonexistent"]
)
async def test_nobody_there_is_unavailable(url: str):
    place = Database(url=url)
    pool = await open_pool(place)
    with pytest.raises(Unavailable) as caught:
        await PostgresCatalog(pool, place).find(uuid4(), by_id(uuid4()))
    assert caught.value.retry_after is not None
    assert "wrong" not in caught.value.detail
    await pool.close()


async def test_a_connection_of_ones_own_takes_on_the_role_too(database: str):
    connection = await connect(Database(url=database))
    assert await connection.fetchval("SELECT current_user") == "recording_gateway"
    await connection.close()
