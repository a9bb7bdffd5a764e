"""What is remembered, for how long, and what makes it forgotten. Outages are in test_outage.py."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.catalog import Replica, a_ready_call, an_object, by_id, replica
from structlog.testing import capture_logs

from gateway.config import Catalog as Settings
from gateway.errors import NotFound, Unavailable
from gateway.model import CallRef, Entry, Key, Lifetime, Listing, NewCall, State, Tenant

SHA256 = b"k" * 32


async def a_key(one: Replica, tenant: Tenant) -> Key:
    key = Key(
        id=uuid4(),
        tenant=tenant.id,
        tenant_slug=tenant.slug,
        name="laptop",
        hint="rg_live_…abcd",
        scopes=frozenset({"calls:read"}),
        role=None,
        created_at=datetime.now(UTC),
    )
    await one.registry.create_key(key, SHA256)
    return key


async def test_what_is_remembered_asks_nothing(one: Replica, acme: Tenant):
    call = await a_ready_call(one.registry, acme.id, yotel="yt-1")
    await a_key(one, acme)
    await one.settle()
    for _ in range(5):
        for ref in (by_id(call), CallRef("yotel", "yt-1")):
            assert (await one.cached.find(acme.id, ref)).call.id == call
        assert await one.cached.key(SHA256) is not None
        assert await one.cached.tenant("acme") == acme
    assert one.watched.asked == {"find": 2, "key": 1, "tenant": 1}


async def test_a_call_is_held_once_by_however_many_of_its_ids_it_is_asked(one: Replica, acme: Tenant):
    """It comes with all of them: a thousand ids, each with an answer of its own, took 400 MB."""
    call = await a_ready_call(one.registry, acme.id, yotel="yt-1", voki="v-1")
    await one.settle()
    refs = by_id(call), CallRef("yotel", "yt-1"), CallRef("voki", "v-1")
    first, *others = [await one.cached.find(acme.id, ref) for ref in refs]
    assert first.call.aliases == {"yotel": "yt-1", "voki": "v-1"}
    assert [await one.cached.find(acme.id, ref) is first for ref in refs] == [True] * 3
    assert len(others) == 2
    assert one.watched.asked == {"find": 3}


async def test_what_is_unknown_is_asked_each_time(one: Replica, acme: Tenant):
    for _ in range(3):
        with pytest.raises(NotFound):
            await one.cached.find(acme.id, CallRef("yotel", "yt-1"))
        assert await one.cached.key(SHA256) is None
        assert await one.cached.tenant("nobody") is None
    assert one.watched.asked == {"find": 3, "key": 3, "tenant": 3}


async def test_a_foreign_tenant_is_not_served_from_memory(one: Replica, acme: Tenant, other: Tenant):
    call = await a_ready_call(one.registry, acme.id, yotel="yt-1")
    for ref in (by_id(call), CallRef("yotel", "yt-1")):
        await one.cached.find(acme.id, ref)
        with pytest.raises(NotFound):
            await one.cached.find(other.id, ref)


async def test_an_answer_is_believed_for_its_time_only(database: str):
    async with replica(database, settings=Settings(cache_ttl_s=60)) as one:
        await one.registry.create_tenant("acme", "Acme")
        for now, asked in ((1000, 1), (1059, 1), (1060, 2), (1119, 2), (1120, 3)):
            one.clock.now = now
            await one.cached.tenant("acme")
            assert one.watched.asked["tenant"] == asked


async def test_memory_is_bounded(database: str):
    async with replica(database, settings=Settings(cache_entries=2)) as one:
        acme = await one.registry.create_tenant("acme", "Acme")
        calls = [await a_ready_call(one.registry, acme.id) for _ in range(3)]
        await one.settle()
        # The last is asked for last: 0 has gone when 2 came, and comes back in place of 1.
        for call, asked in ((0, 1), (1, 2), (2, 3), (2, 3), (1, 3), (0, 4), (1, 4), (2, 5)):
            await one.cached.find(acme.id, by_id(calls[call]))
            assert one.watched.asked["find"] == asked


async def test_callers_at_once_share_one_question(one: Replica, acme: Tenant):
    call = await a_ready_call(one.registry, acme.id)
    await one.settle()
    entries = await asyncio.gather(*(one.cached.find(acme.id, by_id(call)) for _ in range(100)))
    assert one.watched.asked["find"] == 1
    assert all(entry is entries[0] for entry in entries)


async def test_one_that_leaves_does_not_take_the_others_answer_along(one: Replica, acme: Tenant):
    call = await a_ready_call(one.registry, acme.id)
    await one.settle()
    one.watched.answers.clear()
    first, second = [asyncio.create_task(one.cached.find(acme.id, by_id(call))) for _ in range(2)]
    await one.watched.waiting.wait()
    first.cancel()
    one.watched.answers.set()
    assert (await second).call.id == call
    with pytest.raises(asyncio.CancelledError):
        await first
    assert one.watched.asked["find"] == 1


async def left_unanswered(one: Replica, acme: Tenant) -> tuple[UUID, asyncio.Task[Entry]]:
    """A call that was asked for, and whoever asked, who is leaving: Postgres has no answer yet."""
    call = await a_ready_call(one.registry, acme.id)
    await one.settle()
    one.watched.answers.clear()
    leaving = asyncio.create_task(one.cached.find(acme.id, by_id(call)))
    await one.watched.waiting.wait()
    leaving.cancel()
    return call, leaving


async def test_a_question_that_all_have_left_is_remembered_all_the_same(one: Replica, acme: Tenant):
    call, _ = await left_unanswered(one, acme)
    one.watched.answers.set()
    await one.cached.close()
    await one.cached.find(acme.id, by_id(call))
    assert one.watched.asked["find"] == 1


async def test_who_closes_it_waits_for_the_questions_under_way(one: Replica, acme: Tenant):
    _, leaving = await left_unanswered(one, acme)
    closing = asyncio.create_task(one.cached.close())
    assert await asyncio.wait([leaving, closing], timeout=0.1) == ({leaving}, {closing})
    one.watched.answers.set()
    await closing


async def test_listings_are_asked_each_time(one: Replica, acme: Tenant):
    for _ in range(2):
        await one.cached.list(acme.id, Listing())
    assert one.watched.asked == {"list": 2}


async def make_searches_by_number_long(database: str) -> None:
    owner = await asyncpg.connect(database)
    await owner.execute(
        "CREATE OR REPLACE FUNCTION number_key(number text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN PERFORM pg_sleep(60); RETURN number; END'"
    )
    await owner.close()


async def test_a_search_that_takes_too_long_is_no_outage_to_anybody_else(database: str):
    async with replica(database, query_s=1.5) as one:
        acme, other = [await one.registry.create_tenant(slug, slug) for slug in ("acme", "other")]
        call = await a_ready_call(one.registry, other.id)
        await make_searches_by_number_long(database)
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"TimeoutError|QueryCanceledError"):
                await one.cached.list(acme.id, Listing(number="100"))
            assert (await one.cached.find(other.id, by_id(call))).call.id == call
            assert await one.cached.key(SHA256) is None
            assert (await one.cached.list(other.id, Listing())).entries


async def test_any_number_of_long_searches_leaves_connections_for_everybody_else(database: str):
    async with replica(database, query_s=4, connect_s=1, pool_max=4) as one:
        acme, other = [await one.registry.create_tenant(slug, slug) for slug in ("acme", "other")]
        call = await a_ready_call(one.registry, other.id)
        await make_searches_by_number_long(database)
        searches = [asyncio.create_task(one.cached.list(acme.id, Listing(number="100"))) for _ in range(8)]
        await asyncio.wait(searches, return_when=asyncio.FIRST_COMPLETED)
        assert (await one.cached.find(other.id, by_id(call))).call.id == call
        assert await one.cached.key(SHA256) is None
        ended = await asyncio.gather(*searches, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in ended)


# --- changes, made by one replica and heard by another ----------------------------------------------------------------


async def test_each_change_is_seen_by_the_other_replica_within_a_second(database: str):
    async with replica(database) as here, replica(database) as there:
        acme = await here.registry.create_tenant("acme", "Acme")
        call = await here.registry.create_call(acme.id, NewCall(aliases={"yotel": "yt-1"}))
        await there.settle()

        async def state() -> State:
            return (await there.cached.find(acme.id, CallRef("yotel", "yt-1"))).state(datetime.now(UTC))

        assert await state() is State.ABSENT
        for change, wanted in (
            (here.registry.put_recording(acme.id, call), State.PENDING),
            (here.registry.put_recording(acme.id, call, state=State.PROCESSING), State.PROCESSING),
            (here.registry.mark_ready(acme.id, call, an_object()), State.READY),
            (
                here.registry.mark_ready(
                    acme.id, call, an_object(), lifetime=Lifetime(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
                ),
                State.EXPIRED,
            ),
        ):
            there.ear.forget()
            await change
            await there.ear.hears(f"call:{call}", within=1)
            assert await state() is wanted


async def test_a_revoked_key_is_seen_by_the_other_replica_within_a_second(database: str):
    async with replica(database) as here, replica(database) as there:
        acme = await here.registry.create_tenant("acme", "Acme")
        key = await a_key(here, acme)
        found = await there.cached.key(SHA256)
        assert found is not None
        assert found.revoked_at is None
        await here.registry.revoke_key(key.id)
        await there.ear.hears(f"key:{SHA256.hex()}", within=1)
        found = await there.cached.key(SHA256)
        assert found is not None
        assert found.revoked_at is not None


async def test_a_renamed_tenant_is_seen_in_its_keys_too(database: str):
    async with replica(database) as one:
        acme = await one.registry.create_tenant("acme", "Acme")
        await a_key(one, acme)
        assert await one.cached.key(SHA256) is not None
        owner = await asyncpg.connect(database)
        await owner.execute("UPDATE tenants SET slug = 'zenith' WHERE slug = 'acme'")
        await owner.close()
        await one.ear.hears(f"tenant:{acme.id}")
        key = await one.cached.key(SHA256)
        assert key is not None
        assert key.tenant_slug == "zenith"


async def test_a_change_drops_what_it_concerns_and_nothing_else(one: Replica, acme: Tenant):
    changed, kept = [await a_ready_call(one.registry, acme.id) for _ in range(2)]
    await one.settle()
    for call in (changed, kept):
        await one.cached.find(acme.id, by_id(call))
    await one.registry.mark_ready(acme.id, changed, an_object(version="v2"))
    await one.ear.hears(f"call:{changed}")
    entry = await one.cached.find(acme.id, by_id(changed))
    await one.cached.find(acme.id, by_id(kept))
    assert one.watched.asked["find"] == 3
    assert entry.recording is not None
    assert entry.recording.object == an_object(version="v2")


async def test_an_answer_overtaken_by_a_change_is_not_remembered(one: Replica, acme: Tenant):
    """The change is heard while the answer, read before it, is still on its way."""
    key = await a_key(one, acme)
    one.watched.answers.clear()
    before = asyncio.create_task(one.cached.key(SHA256))
    await one.watched.waiting.wait()
    await one.registry.revoke_key(key.id)
    await one.ear.hears(f"key:{SHA256.hex()}")
    # Who asks now must not be handed the answer from before.
    after = asyncio.create_task(one.cached.key(SHA256))
    one.watched.answers.set()
    late, early = await after, await before
    assert early is not None
    assert early.revoked_at is None
    assert late is not None
    assert late.revoked_at is not None
    again = await one.cached.key(SHA256)
    assert again is not None
    assert again.revoked_at is not None


async def test_a_change_of_something_else_does_not_void_an_answer(one: Replica, acme: Tenant, other: Tenant):
    await a_key(one, acme)
    await one.settle()
    one.watched.answers.clear()
    asked = asyncio.create_task(one.cached.key(SHA256))
    await one.watched.waiting.wait()
    await one.registry.create_tenant("other", "Renamed")
    await one.ear.hears(f"tenant:{other.id}")
    one.watched.answers.set()
    await asked
    await one.cached.key(SHA256)
    assert one.watched.asked["key"] == 1


# --- the listener ------------------------------------------------------------------------------------------------------

LISTENERS = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query NOT LIKE '%pg_stat_activity%'
    AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')
"""


async def test_a_lost_listener_empties_the_memory(one: Replica, database: str):
    await one.registry.create_tenant("acme", "Acme")
    await one.cached.tenant("acme")
    owner = await asyncpg.connect(database)
    await owner.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS l")
    await one.ear.hears("lost")
    # Between loss and return Postgres is asked each time; this change nobody hears of.
    await owner.execute("ALTER TABLE tenants DISABLE TRIGGER tenants_tell")
    await owner.execute("UPDATE tenants SET name = 'Changed unheard'")
    await owner.close()
    for _ in range(2):
        tenant = await one.cached.tenant("acme")
        assert tenant is not None
        assert tenant.name == "Changed unheard"
    await one.ear.hears("restored")
    before = one.watched.asked["tenant"]
    for _ in range(2):
        tenant = await one.cached.tenant("acme")
        assert tenant is not None
        assert tenant.name == "Changed unheard"
    assert one.watched.asked["tenant"] == before + 1


async def test_each_loss_of_the_listener_is_told(one: Replica, database: str):
    owner = await asyncpg.connect(database)
    with capture_logs() as logs:
        for _ in range(2):
            one.ear.forget()
            await owner.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS l")
            await one.ear.hears("restored")
    await owner.close()
    assert [entry["event"] for entry in logs] == ["catalog.listener_lost", "catalog.listening"] * 2


async def test_without_a_listener_nothing_is_served_from_memory(database: str):
    async with replica(database, listens=False) as one:
        await one.registry.create_tenant("acme", "Acme")
        for asked in (1, 2, 3):
            assert await one.cached.tenant("acme") is not None
            assert one.watched.asked["tenant"] == asked


async def test_an_answer_from_before_the_return_is_not_remembered(database: str):
    """Asked while changes went unheard, answered when they are heard again: a change in between would be missed."""
    async with replica(database, listens=False) as one:
        acme = await one.registry.create_tenant("acme", "Acme")
        await a_key(one, acme)
        one.watched.answers.clear()
        asked = asyncio.create_task(one.cached.key(SHA256))
        await one.watched.waiting.wait()
        one.ear.restored()
        one.watched.answers.set()
        await asked
        await one.cached.key(SHA256)
        assert one.watched.asked["key"] == 2
