"""Until when a recording is kept, and which are due: as Postgres reckons it, against the rule in a few lines of Python."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.catalog import a_ready_call, an_object
from parts.postgres import Databases

from gateway.catalog import queries, retention, schema
from gateway.catalog.registry import Registry
from gateway.catalog.retention import RetentionBook, leased, opened
from gateway.catalog.store import PostgresCatalog
from gateway.config import Database
from gateway.model import CallRef, Listing, NewCall, State, Tenant
from gateway.postgres import Connection

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = [None, None, 1, 5, 10, 30]
PLACE = "'main', gen_random_uuid()::text, 'audio/wav', 10, '\"v\"', 'v', now(), CASE WHEN $4 = 'ready' THEN now() END"
INSERT = f"""
    WITH call AS (INSERT INTO calls (id, tenant_id, started_at) VALUES ($1, $2, $3) RETURNING id)
    INSERT INTO recordings (
        tenant_id, call_id, state, started_at, expires_at, retention_days, hold, failure,
        store, key, media_type, size, etag, version, modified, ready_at
    ) SELECT $2, id, $4, $5, $6, $7, $8, 'none', {PLACE} FROM call
"""


def some_time(chance: random.Random) -> datetime | None:
    """Never at this moment, on which clocks differ."""
    return chance.choice([None, NOW - timedelta(days=chance.randrange(40), hours=1), NOW + timedelta(days=3)])


def kept_until(row: dict[str, Any], plan: int | None) -> datetime | None:
    """The longest of all that is said. What never was ready has begun no days."""
    ends = [] if row["expires_at"] is None else [row["expires_at"]]
    if row["state"] == "ready":
        begun = row["started_at"] or row["call_started_at"] or NOW
        ends += [begun + timedelta(days=days) for days in (row["retention_days"], plan) if days is not None]
    return max(ends, default=None)


def is_over(row: dict[str, Any], plan: int | None) -> bool:
    end = kept_until(row, plan)
    return end is not None and end <= NOW


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_due_is_what_the_rule_says(database: str, catalog: PostgresCatalog, seed: int):
    chance = random.Random(seed)
    settings = Database.model_validate({"url": database})
    plans: dict[UUID, int | None] = {uuid4(): days for days in [None, 1, 10, 30]}
    rows: dict[UUID, dict[str, Any]] = {}
    owner = await asyncpg.connect(database)
    for tenant, plan in plans.items():
        await owner.execute(
            "INSERT INTO tenants (id, slug, name, retention_days) VALUES ($1, $2, '', $3)", tenant, tenant.hex, plan
        )
    for _ in range(300):
        row = {
            "tenant": chance.choice(list(plans)),
            "state": chance.choice(["ready", "ready", "ready", "pending", "failed"]),
            "call_started_at": some_time(chance),
            "started_at": some_time(chance),
            "expires_at": some_time(chance),
            "retention_days": chance.choice(DAYS),
            "hold": chance.random() < 0.2,
        }
        rows[call := uuid4()] = row
        names = ("tenant", "call_started_at", "state", "started_at", "expires_at", "retention_days", "hold")
        await owner.execute(INSERT, call, *(row[name] for name in names))
    # A plan that changes later counts for what is there already.
    changed = chance.choice(list(plans))
    plans[changed] = chance.choice(DAYS)
    await owner.execute("UPDATE tenants SET retention_days = $2 WHERE id = $1", changed, plans[changed])
    await owner.close()

    over = {call for call, row in rows.items() if is_over(row, plans[row["tenant"]])}
    due = {call for call in over if not rows[call]["hold"]}
    async with leased(settings) as book:
        assert book is not None
        found = [one async for batch in book.due(None, 7) for one in batch]
        outlook = {look.tenant: look for look in await book.outlook()}
    assert len(due) > 50
    assert sorted(one.call for one in found) == sorted(due)
    for tenant in plans:
        mine = {call for call in over if rows[call]["tenant"] == tenant}
        look = outlook[tenant]
        assert (look.due, look.held, look.left) == (len(mine & due), len(mine - due), 0)
        assert look.bytes == 10 * sum(rows[call]["state"] == "ready" for call in mine & due)
        page = await catalog.list(tenant, Listing(limit=200, state=State.EXPIRED))
        assert {entry.call.id for entry in page.entries} == mine & due
    for call, row in chance.sample(sorted(rows.items()), 40):
        entry = await catalog.find(row["tenant"], CallRef(None, str(call)))
        assert entry.recording is not None
        told, wanted = entry.recording.expires_at, kept_until(row, plans[row["tenant"]])
        if wanted is None or told is None:
            assert told is wanted
        else:
            assert abs(told - wanted) < timedelta(minutes=50)  # what began with its row began at Postgres' own time
        assert (entry.state(NOW) is State.EXPIRED) == (call in due)


async def test_what_is_left_is_what_lies_where_nothing_is_needed(
    registry: Registry, acme: Tenant, other: Tenant, owner: Connection
):
    async def a_call(tenant: Tenant, store: str, key: str) -> UUID:
        call = await registry.create_call(tenant.id, NewCall())
        await registry.mark_ready(tenant.id, call, replace(an_object(key, size=10), store=store))
        return call

    left, far, theirs = [
        await a_call(tenant, store, "a.wav") for tenant, store in ((acme, "main"), (acme, "far"), (other, "theirs"))
    ]
    shared, needed = [await a_call(tenant, "main", "shared.wav") for tenant in (acme, other)]
    twin, live = [await a_call(acme, store, "twin.wav") for store in ("main", "far")]
    awaited, coming = await a_call(acme, "main", "new.wav"), await registry.create_call(other.id, NewCall())
    await registry.put_recording(other.id, coming, state=State.PROCESSING, place=("main", "new.wav"))
    unready = await registry.create_call(acme.id, NewCall())
    await registry.put_recording(acme.id, unready, place=("main", "unready.wav"))
    await registry.mark_failed(acme.id, unready, "it is no audio")
    over = [left, far, theirs, shared, twin, awaited, unready]
    for change in ("expires_at = '2020-01-01'", "state = 'expired'"):
        await owner.execute(f"UPDATE recordings SET {change} WHERE call_id = ANY($1)", over)
    book = RetentionBook(owner)

    async def due(slug: str | None) -> set[tuple[str, UUID]]:
        return {(one.tenant_slug, one.call) async for batch in book.due(slug, 2) for one in batch}

    mine = {("acme", call) for call in (left, far, twin)}
    assert (await due("acme"), await due("other")) == (mine, {("other", theirs)})
    assert await due(None) == mine | {("other", theirs)}
    outlook = [(look.tenant_slug, look.due, look.left, look.held, look.bytes) for look in await book.outlook()]
    assert outlook == [("acme", 0, 3, 0, 30), ("other", 0, 1, 0, 10)]
    places = [("main", "a.wav"), ("main", "shared.wav"), ("main", "twin.wav"), ("far", "twin.wav")]
    needed_still = {("main", "shared.wav"), ("far", "twin.wav"), ("main", "new.wav")}
    assert await book.shared([*places, ("main", "new.wav")]) == needed_still
    gone = "SELECT call_id, object_deleted_at FROM recordings WHERE object_deleted_at IS NOT NULL ORDER BY 1"
    await book.deleted(places)
    rows = await owner.fetch(gone)
    assert {row["call_id"] for row in rows} == {left, shared, twin}
    await book.deleted(places)
    assert await owner.fetch(gone) == rows
    assert await due("acme") == {("acme", far)}
    assert not {needed, live} & {call for _, call in await due(None)}


async def test_one_has_the_book_and_others_may_look(database: str):
    settings = Database.model_validate({"url": database})
    async with leased(settings) as first:
        assert first is not None
        async with leased(settings) as second:
            assert second is None
        async with opened(settings) as looked:
            assert await looked.outlook() == []
    async with leased(settings, wait=True) as after:
        assert after is not None


async def test_whoever_waits_for_the_book_does_so_for_as_long_as_it_takes(
    database: str, owner: Connection, monkeypatch: pytest.MonkeyPatch
):
    settings = Database.model_validate({"url": database})

    async def wait() -> bool:
        async with leased(settings, wait=True) as book:
            return book is not None

    async with leased(settings):
        monkeypatch.setattr(retention, "ANSWER_S", 0.05)
        waiting = asyncio.create_task(wait())
        async with asyncio.timeout(20):
            while not waiting.done() and not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass  # Postgres tells nobody of who waits
        await asyncio.wait({waiting}, timeout=3 * retention.ANSWER_S)
        assert not waiting.done()
    assert await waiting


async def test_places_are_locked_no_longer_than_one_is_alone_with_them(database: str, owner: Connection):
    locked = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    async with opened(Database.model_validate({"url": database})) as book:
        async with book.alone([("main", "a.wav"), ("main", "b.wav")]):
            assert await owner.fetchval(locked) == 2
        assert await owner.fetchval(locked) == 0


async def test_one_that_the_table_refuses_to_end_keeps_no_other(registry: Registry, acme: Tenant, owner: Connection):
    """As where a plan grows longer again and again while its recordings are looked at."""
    calls = [await a_ready_call(registry, acme.id) for _ in range(3)]
    await owner.execute("UPDATE recordings SET expires_at = now() - interval '1 day'")
    ids = {row["call_id"]: row["id"] for row in await owner.fetch("SELECT id, call_id FROM recordings")}
    await owner.execute(
        "CREATE TRIGGER refused BEFORE UPDATE ON recordings"
        f" FOR EACH ROW WHEN (NEW.id = '{ids[calls[1]]}') EXECUTE FUNCTION refuse_change()"
    )
    recordings = [ids[call] for call in calls]
    assert await RetentionBook(owner).expire(recordings) == {recordings[0], recordings[2]}
    assert await RetentionBook(owner).expire(recordings) == set()


async def test_what_was_registered_before_is_brought_along(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Ends that were reckoned from days follow the days from now on; those that were given stay."""
    for path in schema.MIGRATIONS.glob("*.sql"):
        if path.name < "0009":
            (tmp_path / path.name).write_text(path.read_text())
    url = databases.url(await databases.empty())
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", tmp_path)
        await schema.migrate(Database.model_validate({"url": url}))
    owner = await asyncpg.connect(url)
    tenant, start = uuid4(), NOW - timedelta(days=3)
    await owner.execute("INSERT INTO tenants (id, slug, name, retention_days) VALUES ($1, 'acme', '', 30)", tenant)
    was = {
        # state, started_at, retention_days, expires_at → the end from now on
        ("ready", start, None, start + timedelta(days=30)): start + timedelta(days=60),
        ("ready", start, 7, start + timedelta(days=7)): start + timedelta(days=60),
        ("ready", start, 90, start + timedelta(days=90)): start + timedelta(days=90),
        ("ready", start, None, start + timedelta(days=100)): start + timedelta(days=100),
        ("ready", start, None, start + timedelta(days=2)): start + timedelta(days=60),
        ("ready", start, None, None): start + timedelta(days=60),
        ("pending", start, None, start): start,
        ("pending", start, None, None): None,
    }
    for place, (state, started_at, days, end) in enumerate(was):
        call = UUID(int=place)
        await owner.execute(INSERT, call, tenant, None, state, started_at, end, days, False)
    await schema.migrate(Database.model_validate({"url": url}))
    await owner.execute("UPDATE tenants SET retention_days = 60")
    rows = await owner.fetch(f"SELECT {queries.KEPT_UNTIL} AS ends FROM recordings r ORDER BY call_id")
    assert [row["ends"] for row in rows] == list(was.values())
    await owner.close()
    await databases.drop(url)
