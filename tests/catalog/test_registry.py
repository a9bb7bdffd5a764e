"""Writing: idempotent, tenant by tenant, announced once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.catalog import a_ready_call, an_object, by_id

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.errors import Conflict, NotFound
from gateway.model import CallRef, Key, Lifetime, Listing, NewCall, State, Tenant
from gateway.postgres import Pool

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _outbox(pool: Pool) -> list[dict[str, object]]:
    return [json.loads(row["payload"]) for row in await pool.fetch("SELECT payload FROM webhook_outbox ORDER BY id")]


# --- tenants


async def test_a_tenant_made_twice_is_one(registry: Registry, pool: Pool):
    first = await registry.create_tenant("acme", "Acme", retention_days=30, recording_enabled=False)
    second = await registry.create_tenant("acme", "Acme & Co")
    assert second.id == first.id
    assert second.name == "Acme & Co"
    assert await registry.tenants() == [second]
    assert await pool.fetchrow("SELECT retention_days, recording_enabled FROM tenants") == (30, False)


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "-a", "a" * 64, "é", "a\n", "a\0"])
async def test_what_is_no_slug_is_refused(registry: Registry, slug: str):
    with pytest.raises(Conflict):
        await registry.create_tenant(slug, "x")


# --- calls


async def test_a_call_registered_twice_is_one_and_learns(registry: Registry, catalog: PostgresCatalog, acme: Tenant):
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "yt-1"}, direction="inbound"))
    again = await registry.create_call(
        acme.id, NewCall(aliases={"yotel": "yt-1", "callsid": "call_1"}, to_number="+15550101", voice_agent=True)
    )
    by_its_id = await registry.create_call(acme.id, NewCall(id=call, ended_at=START))
    assert call == again == by_its_id
    entry = await catalog.find(acme.id, CallRef("callsid", "call_1"))
    assert entry.call.id == call
    assert (entry.call.direction, entry.call.to_number, entry.call.voice_agent) == ("inbound", "+15550101", True)
    assert entry.call.ended_at == START


async def test_what_is_not_told_again_of_a_call_stays(registry: Registry, acme: Tenant, pool: Pool):
    told = {
        "direction": "outbound",
        "from_number": "+15550100",
        "to_number": "+15550101",
        "voice_agent": True,
        "started_at": START,
        "answered_at": START + timedelta(seconds=5),
        "ended_at": START + timedelta(seconds=65),
    }
    call = await registry.create_call(acme.id, NewCall(**told))
    await registry.create_call(acme.id, NewCall(id=call, aliases={"yotel": "yt-1"}))
    kept = await pool.fetchrow(f"SELECT {', '.join(told)} FROM calls WHERE id = $1", call)
    assert dict(kept or {}) == told


async def test_who_registers_a_call_is_told_whether_it_is_new(registry: Registry, acme: Tenant):
    new = NewCall(aliases={"yotel": "yt-1"})
    first, again = await registry.put_call(acme.id, new), await registry.put_call(acme.id, new)
    assert (first[1], again) == (True, (first[0], False))


async def test_the_same_call_registered_by_many_at_once_is_one(registry: Registry, acme: Tenant):
    new = NewCall(aliases={"yotel": "yt-1", "callsid": "call_1"})
    assert len(set(await asyncio.gather(*(registry.create_call(acme.id, new) for _ in range(8))))) == 1


async def test_ids_of_different_calls_are_a_conflict(registry: Registry, acme: Tenant, other: Tenant):
    first = await registry.create_call(acme.id, NewCall(aliases={"yotel": "one", "agentphone": "public"}))
    second = await registry.create_call(acme.id, NewCall(aliases={"yotel": "two"}))
    for tenant, new in (
        (acme, NewCall(aliases={"yotel": "one", "callsid": "x"}, id=second)),
        (acme, NewCall(aliases={"yotel": "one"}, id=uuid4())),
        (other, NewCall(id=first)),
        (other, NewCall(aliases={"agentphone": "public"})),
    ):
        with pytest.raises(Conflict):
            await registry.create_call(tenant.id, new)
    # Nothing of what was refused has stayed.
    assert await registry.create_call(acme.id, NewCall(aliases={"callsid": "x"})) not in {first, second}


@pytest.mark.parametrize(
    "new",
    [
        NewCall(aliases={"Yotel!": "x"}),
        NewCall(aliases={"yotel": ""}),
        NewCall(aliases={"yotel": "x" * 256}),
        NewCall(aliases={"yotel": "a\0"}),
        NewCall(aliases={"yotel": "a\udc80"}),
        NewCall(direction="sideways"),
    ],
)
async def test_what_no_call_can_be_is_a_conflict(registry: Registry, acme: Tenant, new: NewCall):
    with pytest.raises(Conflict):
        await registry.create_call(acme.id, new)


async def test_an_unknown_tenant_or_department_is_not_found(
    registry: Registry, acme: Tenant, other: Tenant, pool: Pool
):
    theirs = await pool.fetchval(
        "INSERT INTO departments (tenant_id, name) VALUES ($1, 'Sales') RETURNING id", other.id
    )
    for tenant, new in (
        (uuid4(), NewCall()),
        (acme.id, NewCall(department=uuid4())),
        (acme.id, NewCall(department=theirs)),
    ):
        with pytest.raises(NotFound):
            await registry.create_call(tenant, new)


# --- recordings


async def test_becoming_ready_is_announced_once_and_in_the_same_transaction(
    registry: Registry, acme: Tenant, pool: Pool
):
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "yt-1"}))
    await registry.put_recording(acme.id, call)
    assert await _outbox(pool) == []
    for _ in range(2):
        await registry.mark_ready(acme.id, call, an_object())
    (event,) = await _outbox(pool)
    assert event["type"] == "call.recording_ready"
    assert event["data"] == {"call_id": str(call), "aliases": {"yotel": "yt-1"}}
    assert str(event["timestamp"]).endswith("Z")
    same = await pool.fetchval("SELECT r.ready_at = w.created_at FROM recordings r, webhook_outbox w")
    assert same is True


async def test_what_comes_past_its_end_is_announced_to_nobody_unless_it_is_held(
    registry: Registry, acme: Tenant, pool: Pool
):
    over, held = [await registry.create_call(acme.id, NewCall()) for _ in range(2)]
    await registry.put_recording(acme.id, held)
    await pool.execute("UPDATE recordings SET hold = true")
    for call in (over, held):
        await registry.mark_ready(
            acme.id, call, an_object(), lifetime=Lifetime(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
    assert [event["data"]["call_id"] for event in await _outbox(pool)] == [str(held)]


async def test_what_came_past_its_end_is_announced_no_later_whatever_makes_it_fetchable(
    registry: Registry, catalog: PostgresCatalog, acme: Tenant, pool: Pool
):
    """docs/webhooks.md, "An event"."""
    over = datetime(2020, 1, 1, tzinfo=UTC)

    async def keep_for_long() -> None:
        await registry.create_tenant("acme", "Acme", retention_days=36500)

    async def hold() -> None:
        await pool.execute("UPDATE recordings SET hold = true")

    async def give_another_end() -> None:
        await registry.mark_ready(
            acme.id, call, an_object(), lifetime=Lifetime(expires_at=datetime(2120, 1, 1, tzinfo=UTC))
        )

    for revive in (give_another_end, hold, keep_for_long):
        call = await registry.create_call(acme.id, NewCall())
        await registry.mark_ready(acme.id, call, an_object(), lifetime=Lifetime(started_at=over, expires_at=over))
        assert (await catalog.find(acme.id, by_id(call))).state(datetime.now(UTC)) is State.EXPIRED
        await revive()
        assert (await catalog.find(acme.id, by_id(call))).state(datetime.now(UTC)) is State.READY
    assert await _outbox(pool) == []


async def test_an_id_that_is_a_credential_is_announced_to_nobody(registry: Registry, acme: Tenant, pool: Pool):
    """Whoever knows it may download the recording, for as long as there is one."""
    public = f"call_{uuid4()}"
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "yt-1", "agentphone": public}))
    await registry.mark_ready(acme.id, call, an_object())
    (event,) = await _outbox(pool)
    assert event["data"] == {"call_id": str(call), "aliases": {"yotel": "yt-1"}}


async def test_many_who_make_it_ready_at_once_announce_it_once(registry: Registry, acme: Tenant, pool: Pool):
    call = await registry.create_call(acme.id, NewCall())
    await registry.put_recording(acme.id, call)
    await asyncio.gather(*(registry.mark_ready(acme.id, call, an_object()) for _ in range(8)))
    assert len(await _outbox(pool)) == 1


async def test_an_announcement_that_cannot_be_written_leaves_it_unready(
    registry: Registry, catalog: PostgresCatalog, acme: Tenant, database: str
):
    call = await registry.create_call(acme.id, NewCall())
    owner = await asyncpg.connect(database)
    await owner.execute("REVOKE INSERT ON webhook_outbox FROM recording_gateway")
    await owner.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await registry.mark_ready(acme.id, call, an_object())
    assert (await catalog.find(acme.id, by_id(call))).recording is None


async def test_a_ready_recording_stays_so_until_it_lies_elsewhere(registry: Registry, acme: Tenant, pool: Pool):
    call = await registry.create_call(acme.id, NewCall())
    ready = await registry.mark_ready(acme.id, call, an_object("a.wav"), duration_ms=1, channels=1, seekable=True)
    assert await registry.put_recording(acme.id, call) == ready
    assert await registry.put_recording(acme.id, call, place=("main", "a.wav"), state=State.PROCESSING) == ready
    moved = await registry.put_recording(acme.id, call, place=("main", "b.wav"), state=State.PROCESSING)
    assert (moved.id, moved.state, moved.object) == (ready.id, State.PROCESSING, None)
    assert (moved.duration_ms, moved.channels, moved.seekable) == (None, None, None)
    await registry.mark_ready(acme.id, call, an_object("b.wav"))
    assert len(await _outbox(pool)) == 2


async def test_an_object_may_be_known_before_it_is_ready(registry: Registry, acme: Tenant):
    call, known = await registry.create_call(acme.id, NewCall()), an_object("a.wav")
    seen = await registry.put_recording(acme.id, call, state=State.PROCESSING, object_=known)
    assert (seen.state, seen.object) == (State.PROCESSING, known)
    # It is known until something else is told of it.
    assert (await registry.put_recording(acme.id, call)).object == known
    gone = await registry.put_recording(acme.id, call, state=State.PENDING, place=("main", "a.wav"))
    assert (gone.state, gone.object) == (State.PENDING, None)
    ready = await registry.mark_ready(acme.id, call, known, duration_ms=1)
    another = an_object("a.wav", version="v2")
    assert await registry.put_recording(acme.id, call, state=State.PROCESSING, object_=another) == ready


async def test_without_a_state_a_recording_stays_what_it_is(registry: Registry, acme: Tenant):
    call = await registry.create_call(acme.id, NewCall())
    assert (await registry.put_recording(acme.id, call)).state is State.PENDING
    await registry.put_recording(acme.id, call, state=State.PROCESSING)
    assert (await registry.put_recording(acme.id, call)).state is State.PROCESSING
    failed = await registry.mark_failed(acme.id, call, "no such object")
    assert await registry.put_recording(acme.id, call) == failed
    ready = await registry.mark_ready(acme.id, call, an_object())
    assert await registry.put_recording(acme.id, call) == ready


async def test_calls_are_found_by_where_their_recordings_lie(registry: Registry, acme: Tenant, other: Tenant):
    mine, theirs = await registry.create_call(acme.id, NewCall()), await registry.create_call(other.id, NewCall())
    await registry.put_recording(acme.id, mine, place=("main", "a.wav"))
    await registry.mark_ready(other.id, theirs, an_object("a.wav"))
    assert await registry.calls_at(acme.id, "main", "a.wav") == [mine]
    assert await registry.calls_at(other.id, "main", "a.wav") == [theirs]
    for store, key in (("main", "b.wav"), ("tape", "a.wav")):
        assert await registry.calls_at(acme.id, store, key) == []


async def test_a_failed_recording_can_be_tried_again(registry: Registry, acme: Tenant):
    call = await registry.create_call(acme.id, NewCall())
    failed = await registry.mark_failed(acme.id, call, "no such object")
    assert (failed.state, failed.failure) == (State.FAILED, "no such object")
    again = await registry.put_recording(acme.id, call, state=State.PROCESSING)
    assert (again.state, again.failure) == (State.PROCESSING, None)
    await registry.mark_failed(acme.id, call, "no such object")
    ready = await registry.mark_ready(acme.id, call, an_object())
    assert (ready.state, ready.failure) == (State.READY, None)
    with pytest.raises(Conflict):
        await registry.mark_failed(acme.id, call, "too late")


async def test_an_expired_recording_does_not_come_back(registry: Registry, acme: Tenant, pool: Pool):
    call = await registry.create_call(acme.id, NewCall())
    await registry.mark_ready(acme.id, call, an_object())
    await pool.execute("UPDATE recordings SET expires_at = now(), state = 'expired'")
    for writing in (
        registry.put_recording(acme.id, call),
        registry.mark_ready(acme.id, call, an_object()),
        registry.mark_failed(acme.id, call, "x"),
    ):
        with pytest.raises(Conflict):
            await writing


Write = Callable[[Registry, UUID, UUID], Awaitable[object]]


@pytest.mark.parametrize(
    "write",
    [
        lambda registry, tenant, call: registry.put_recording(tenant, call),
        lambda registry, tenant, call: registry.mark_ready(tenant, call, an_object()),
        lambda registry, tenant, call: registry.mark_failed(tenant, call, "x"),
    ],
    ids=["put", "ready", "failed"],
)
async def test_a_foreign_calls_recording_cannot_be_written(
    registry: Registry, acme: Tenant, other: Tenant, pool: Pool, write: Write
):
    theirs = await registry.create_call(other.id, NewCall())
    recorded = await registry.create_call(other.id, NewCall())
    await registry.put_recording(other.id, recorded)
    for call in (theirs, recorded, uuid4()):
        with pytest.raises(NotFound):
            await write(registry, acme.id, call)
    assert await pool.fetch("SELECT state FROM recordings") == [("pending",)]


@pytest.mark.parametrize(
    ("tenants_days", "own_days", "given", "before", "wanted"),
    [
        (None, None, None, None, None),
        (30, None, None, None, START + timedelta(days=30)),
        (30, 7, None, None, START + timedelta(days=30)),
        (7, 30, None, None, START + timedelta(days=30)),
        (None, 7, None, None, START + timedelta(days=7)),
        (None, 2**31 - 1, None, None, START + timedelta(days=365_000)),
        (None, 7, START + timedelta(days=1), None, START + timedelta(days=7)),
        (None, None, START - timedelta(days=1), None, START - timedelta(days=1)),
        (30, 7, START + timedelta(days=1), None, START + timedelta(days=30)),
        (30, 7, START + timedelta(days=31), None, START + timedelta(days=31)),
        (30, 7, None, START + timedelta(days=32), START + timedelta(days=32)),
    ],
)
async def test_the_longest_of_all_that_is_said_counts_from_when_the_recording_started(
    registry: Registry,
    tenants_days: int | None,
    own_days: int | None,
    given: datetime | None,
    before: datetime | None,
    wanted: datetime | None,
):
    acme = await registry.create_tenant("acme", "Acme", retention_days=tenants_days)
    call = await registry.create_call(acme.id, NewCall(started_at=START - timedelta(hours=1)))
    await registry.put_recording(
        acme.id, call, lifetime=Lifetime(started_at=START, retention_days=own_days, expires_at=before)
    )
    ready = await registry.mark_ready(acme.id, call, an_object(), lifetime=Lifetime(expires_at=given))
    assert ready.expires_at == wanted


LAST = datetime.max.replace(tzinfo=UTC)
"""What others write for "never"; to the driver it is Postgres' infinity."""


@pytest.mark.parametrize(
    ("given", "days", "told"),
    [
        (LAST, None, None),
        (None, 7, None),
        (LAST - timedelta(microseconds=1), None, LAST - timedelta(microseconds=1)),
    ],
)
async def test_an_end_beyond_all_dates_is_told_as_none(
    registry: Registry,
    catalog: PostgresCatalog,
    acme: Tenant,
    given: datetime | None,
    days: int | None,
    told: datetime | None,
):
    call = await registry.create_call(acme.id, NewCall(started_at=LAST - timedelta(days=1)))
    await registry.mark_ready(acme.id, call, an_object(), lifetime=Lifetime(expires_at=given))
    await registry.create_tenant("acme", "Acme", retention_days=days)
    found = await catalog.find(acme.id, CallRef(None, str(call)))
    (listed,) = (await catalog.list(acme.id, Listing())).entries
    for entry in (found, listed):
        assert entry.recording is not None
        assert entry.recording.expires_at == told
        assert entry.state(datetime.now(UTC)) is State.READY


# --- keys


def _key(tenant: Tenant, **changes: object) -> Key:
    facts: dict[str, object] = {
        "id": uuid4(),
        "tenant": tenant.id,
        "tenant_slug": tenant.slug,
        "name": "laptop",
        "hint": "rg_live_…abcd",
        "scopes": frozenset({"calls:read", "recordings:download"}),
        "role": None,
        "created_at": START,
        "expires_at": START + timedelta(days=1),
    }
    return Key(**(facts | changes))


async def test_keys_are_listed_by_tenant_or_all(registry: Registry, acme: Tenant, other: Tenant):
    mine, theirs = _key(acme), _key(other)
    await registry.create_key(mine, b"a" * 32)
    await registry.create_key(theirs, b"b" * 32)
    assert await registry.list_keys(acme.id) == [mine]
    assert await registry.list_keys() == [mine, theirs]
    with pytest.raises(NotFound):
        await registry.create_key(_key(Tenant(uuid4(), "none", "None")), b"c" * 32)


async def test_a_key_is_revoked_once_and_for_all(registry: Registry, acme: Tenant):
    key = _key(acme)
    await registry.create_key(key, b"a" * 32)
    revoked = await registry.revoke_key(key.id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert await registry.revoke_key(key.id) == revoked
    assert await registry.revoke_key(uuid4()) is None


async def test_ids_that_come_back_are_plain_uuids(registry: Registry, catalog: PostgresCatalog, acme: Tenant):
    """asyncpg's own class passes for one everywhere but in orjson."""
    call = await registry.create_call(acme.id, NewCall(aliases={"yotel": "x"}))
    recording = await registry.mark_ready(acme.id, call, an_object())
    entry = await catalog.find(acme.id, by_id(call))
    await registry.create_key(_key(acme), b"a" * 32)
    (key,) = await registry.list_keys()
    for id_ in (acme.id, call, recording.id, entry.call.id, entry.call.tenant, key.id, key.tenant):
        assert type(id_) is UUID


async def test_a_held_recording_stays_where_it_lies(registry: Registry, acme: Tenant, pool: Pool):
    call = await a_ready_call(registry, acme.id)
    await pool.execute("UPDATE recordings SET hold = true")
    with pytest.raises(Conflict, match="held"):
        await registry.put_recording(acme.id, call, place=("main", "elsewhere"))
    with pytest.raises(Conflict, match="held"):
        await registry.mark_ready(acme.id, call, an_object("elsewhere"))
    again = await registry.mark_ready(acme.id, call, an_object(version="v2"))
    assert again.object is not None
    assert again.object.stat.version == "v2"


async def test_a_recording_that_is_held_before_it_is_ready_becomes_so_wherever_it_lies(
    registry: Registry, acme: Tenant, pool: Pool
):
    call = await registry.create_call(acme.id, NewCall())
    await registry.put_recording(acme.id, call)
    await pool.execute("UPDATE recordings SET hold = true")
    for key in ("here", "there"):
        await registry.put_recording(acme.id, call, place=("main", key))
    ready = await registry.mark_ready(acme.id, call, an_object("elsewhere"))
    assert (ready.state, ready.hold) == (State.READY, True)


async def test_a_call_with_a_recording_stays_in_its_department(registry: Registry, acme: Tenant, pool: Pool):
    made = "INSERT INTO departments (tenant_id, name) VALUES ($1, $2) RETURNING id"
    sales, other = [await pool.fetchval(made, acme.id, name) for name in ("Sales", "Other")]
    call = await registry.create_call(acme.id, NewCall(department=sales))
    await registry.create_call(acme.id, NewCall(id=call, department=other))
    await registry.put_recording(acme.id, call)
    await registry.create_call(acme.id, NewCall(id=call, department=other, direction="inbound"))
    with pytest.raises(Conflict, match="department"):
        await registry.create_call(acme.id, NewCall(id=call, department=sales))
    nobodys = await registry.create_call(acme.id, NewCall())
    await registry.put_recording(acme.id, nobodys)
    await registry.create_call(acme.id, NewCall(id=nobodys, department=sales))
    assert await pool.fetchval("SELECT department_id FROM calls WHERE id = $1", nobodys) == sales
