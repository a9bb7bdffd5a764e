"""What is past its retention ends: its row stays, its object goes, the audit says so. What is held or kept longer stays."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from parts.labs import QUICK, DiskLab, Lab, S3Lab, store_of
from parts.retention import FUTURE, PAST, Ending, Killed, an_ending, nothing

from gateway.audit.segments import segments_of
from gateway.catalog import retention, statements
from gateway.catalog.retention import leased
from gateway.config import DiskStore
from gateway.errors import NotFound, OriginFailed, Unavailable
from gateway.lifecycle.places import alike
from gateway.lifecycle.retention import AT_ONCE, PATIENCE, Fate
from gateway.model import Lifetime, NewCall, Object, State
from gateway.stores.disk import Disk

NOW = datetime.now(UTC)
LEASES = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND datname = current_database()
"""
disk_only = pytest.mark.parametrize("ending", ["disk"], indirect=True)


@pytest.fixture(params=["disk", "s3"])
async def ending(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[Ending]:
    """Over each store in turn."""
    async with AsyncExitStack() as lifetimes:
        (tmp_path / "calls").mkdir()
        lab: Lab = DiskLab(tmp_path / "calls", lifetimes)
        if request.param == "s3":
            lab = S3Lab(request.getfixturevalue("s3"), lifetimes)
        yield await lifetimes.enter_async_context(
            an_ending(database, tmp_path / "journal", await store_of(lab), lab.put)
        )


async def gone(ending: Ending, call: UUID) -> bool:
    try:
        await ending.store.stat(ending.key(call))
    except NotFound:
        return True
    return False


async def hold(ending: Ending, call: UUID) -> None:
    await ending.fetch("UPDATE recordings SET hold = true WHERE call_id = $1", call)


# --- what ends, and what does not


async def test_what_is_over_ends_and_nothing_else_does(ending: Ending):
    over, held = await ending.call(expires_at=PAST), await ending.call(expires_at=PAST)
    later, for_ever = await ending.call(expires_at=FUTURE), await ending.call()
    await hold(ending, held)
    told = await ending.sweep()
    assert {call: done.fate for call, done in told.items()} == {over: Fate.DELETED}
    assert [await gone(ending, call) for call in (over, held, later, for_ever)] == [True, False, False, False]
    row = await ending.row(over)
    assert (row["state"], row["store"], row["key"]) == ("expired", "main", ending.key(over))
    assert row["object_deleted_at"] is not None
    assert await ending.events(over) == [("complete", 204, None)]
    for call in (held, later, for_ever):
        assert (await ending.row(call))["state"] == "ready"
        assert await ending.events(call) == []
    assert await ending.sweep() == {}
    assert ending.store.asked == {ending.key(over): 1}


@disk_only
async def test_a_changed_plan_is_that_of_all_that_have_not_ended(ending: Ending):
    begun = NOW - timedelta(days=20)
    call = await ending.call(started_at=begun)
    longer = await ending.call(started_at=begun, retention_days=40)
    given = await ending.call(started_at=begun, expires_at=FUTURE)
    assert (await ending.find(call)).recording.expires_at is None
    for days in (10, 30):
        await ending.fetch("UPDATE tenants SET retention_days = $1", days)
        ends = {c: (await ending.find(c)).recording.expires_at for c in (call, longer, given)}
        own = begun + timedelta(days=40)
        assert ends == {call: begun + timedelta(days=days), longer: own, given: FUTURE}
    await ending.fetch("UPDATE tenants SET retention_days = 10")
    assert (await ending.find(call)).state(NOW) is State.EXPIRED
    told = await ending.sweep()
    assert {call: done.fate for call, done in told.items()} == {call: Fate.DELETED}
    await ending.fetch("UPDATE tenants SET retention_days = NULL")
    assert (await ending.find(call)).state(NOW) is State.EXPIRED
    assert (await ending.find(longer)).recording.expires_at == own


@disk_only
async def test_what_never_was_ready_ends_without_an_object(ending: Ending):
    failed, pending, unplanned = [await ending.registry.create_call(ending.tenant, NewCall()) for _ in range(3)]
    ending.put("never/looked/at.wav", b"?")
    place = ("main", "never/looked/at.wav")
    for call in (failed, pending):
        await ending.registry.put_recording(ending.tenant, call, place=place, lifetime=Lifetime(expires_at=PAST))
    await ending.registry.put_recording(ending.tenant, unplanned, place=place)
    await ending.registry.mark_failed(ending.tenant, failed, "it is no audio")
    stat = await ending.store.stat(place[1])
    seen = "UPDATE recordings SET media_type = 'audio/wav', size = 1, etag = $1, version = $2, modified = now()"
    await ending.fetch(f"{seen} WHERE state = 'failed'", stat.etag, stat.version)
    await ending.fetch("UPDATE tenants SET retention_days = 1")
    told = await ending.sweep()
    assert {call: done.fate for call, done in told.items()} == {failed: Fate.EMPTY, pending: Fate.EMPTY}
    assert await ending.events(failed) == [("complete", 204, "no_object")]
    assert (await ending.row(unplanned))["state"] == "pending"
    await ending.store.stat("never/looked/at.wav")  # nobody ever saw that it was a recording
    assert await ending.sweep() == {}


@disk_only
async def test_what_was_said_ends_with_the_recording_unless_that_is_held(ending: Ending):
    over, held = await ending.call(expires_at=PAST), await ending.call(expires_at=PAST)
    await hold(ending, held)
    for call in (over, held):
        await ending.fetch(
            "INSERT INTO transcripts (tenant_id, call_id, status, text, segments) VALUES ($1, $2, 'ready', 'hello', '[]')",
            ending.tenant,
            call,
        )
    await ending.sweep()
    rows = await ending.fetch("SELECT call_id, text, segments FROM transcripts")
    assert {row["call_id"]: (row["text"], row["segments"]) for row in rows} == {
        over: (None, None),
        held: ("hello", "[]"),
    }


@disk_only
@pytest.mark.parametrize("limit", [None, 1, 6, 30])
async def test_pages_hold_each_recording_once(ending: Ending, limit: int | None):
    await ending.fetch("UPDATE tenants SET retention_days = 10")
    other = (await ending.registry.create_tenant("other", "Other", retention_days=10)).id
    calls = [await ending.call(started_at=PAST) for _ in range(15)]  # all of them at once
    calls += [await ending.call(started_at=NOW, expires_at=PAST) for _ in range(3)]
    due = set(calls[:15])
    theirs = {await ending.call(tenant=other, started_at=PAST) for _ in range(4)}
    async with leased(ending.database) as book:
        assert book is not None
        batches = [batch async for batch in book.due(None, 4)]
        listed = [one.call for batch in batches for one in batch]
        assert max(map(len, batches)) == 4
        assert Counter(listed) == Counter(due | theirs)
        told = {one.tenant_slug: (one.due, one.left, one.held) for one in await book.outlook()}
    assert told == {"acme": (15, 0, 0), "other": (4, 0, 0)}
    swept = await ending.sweep(batch=4, limit=limit)
    assert len(swept) == min(limit or 19, 19)


@disk_only
async def test_one_tenants_are_swept_alone(ending: Ending):
    other = (await ending.registry.create_tenant("other", "Other")).id
    mine, theirs = await ending.call(expires_at=PAST), await ending.call(tenant=other, expires_at=PAST)
    assert set(await ending.sweep(tenant="other")) == {theirs}
    assert not await gone(ending, mine)
    with pytest.raises(NotFound):
        await ending.sweep(tenant="nobody")


# --- what happens in the middle of it


@disk_only
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE recordings SET hold = true",
        "UPDATE recordings SET retention_days = 10000",
        "UPDATE tenants SET retention_days = 10000",
        "UPDATE recordings SET expires_at = now() + interval '1 day'",
    ],
)
async def test_what_is_held_or_prolonged_after_it_was_looked_up_stays(ending: Ending, change: str):
    call = await ending.call(started_at=PAST, expires_at=PAST)

    async def meanwhile() -> None:
        await ending.fetch(change)

    ending.told.after_intent = meanwhile
    told = await ending.sweep()
    assert told[call].fate is Fate.KEPT
    assert (await ending.row(call))["state"] == "ready"
    assert not await gone(ending, call)
    assert await ending.events(call) == [("refused", 409, "kept")]


@disk_only
@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("UPDATE recordings SET hold = true", "UPDATE recordings SET hold = false"),
        ("UPDATE tenants SET retention_days = 10000", "UPDATE tenants SET retention_days = NULL"),
    ],
)
async def test_a_change_under_way_while_a_row_would_expire_is_waited_for(
    ending: Ending, database: str, change: str, back: str
):
    call = await ending.call(started_at=PAST, expires_at=PAST)
    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            await other.execute(change)
            sweeping = asyncio.create_task(ending.sweep())
            async with asyncio.timeout(20):
                while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await other.execute("SELECT pg_sleep(0.01)")
        assert (await sweeping)[call].fate is Fate.KEPT
        await other.execute(back)
        assert (await ending.sweep())[call].fate is Fate.DELETED
        with pytest.raises(asyncpg.CheckViolationError):
            await other.execute("UPDATE recordings SET hold = true")
    finally:
        await other.close()


STEPS = [
    "after_intent",
    "before_expire",
    "after_expire",
    "before_delete",
    "after_delete",
    "before_settled",
    "before_deleted",
    "after_deleted",
]


@disk_only
@pytest.mark.parametrize("step", STEPS)
async def test_a_process_that_ends_at_any_step_leaves_nothing_half_done(ending: Ending, step: str):
    calls = [await ending.call(expires_at=PAST) for _ in range(3)]

    async def end() -> None:
        raise Killed

    if step == "after_intent":
        ending.told.after_intent = end
    elif step == "before_settled":
        ending.told.before_settled = end
    elif step.endswith("_delete"):
        setattr(ending.store, step, end)
    else:
        ending.steps[step] = end
    with pytest.raises(Killed):
        await ending.sweep()
    for call in calls:
        row = await ending.row(call)
        assert row["state"] == "expired" or not await gone(ending, call), "deleted, and said to be ready"
        assert not row["object_deleted_at"] or await gone(ending, call), "said to be deleted, and there"
        assert not await gone(ending, call) or await ending.events(call), "deleted, and no event"
    ending.told.after_intent = ending.told.before_settled = nothing
    ending.store.before_delete = ending.store.after_delete = nothing
    ending.steps.clear()
    await ending.sweep()
    for call in calls:
        assert await gone(ending, call)
        assert (await ending.row(call))["object_deleted_at"] is not None
        assert ("complete", 204, None) in await ending.events(call)
    assert await ending.sweep() == {}


@disk_only
async def test_how_a_deletion_ended_is_durable_before_nobody_would_take_it_up_again(ending: Ending):
    """Else a process killed between the two leaves it ``interrupted`` in the audit for ever."""
    for _ in range(3):
        await ending.call(expires_at=PAST)
    journalled = []

    async def look() -> None:
        folder = ending.audit._journal.folder
        assert folder is not None
        journalled.append(sum(file.read_bytes().count(b'"complete"') for file in segments_of(folder.path)))

    ending.steps["before_deleted"] = look
    assert len(await ending.sweep()) == 3
    assert journalled == [3]


@disk_only
async def test_a_defect_met_at_one_object_keeps_no_other(ending: Ending):
    calls = [await ending.call(expires_at=PAST) for _ in range(3)]
    first = asyncio.Event()

    async def break_once() -> None:
        if not first.is_set():
            first.set()
            raise ZeroDivisionError

    ending.store.before_delete = break_once
    await ending.sweep(batch=1)
    outcomes = Counter(
        [((await ending.row(c))["object_deleted_at"] is not None, *await ending.events(c)) for c in calls]
    )
    assert outcomes == {(True, ("complete", 204, None)): 2, (False, ("origin_failed", 500, "internal")): 1}
    assert [done.fate for done in (await ending.sweep()).values()] == [Fate.DELETED]


@disk_only
async def test_a_question_that_postgres_leaves_open_ends_the_sweep(ending: Ending, monkeypatch: pytest.MonkeyPatch):
    call = await ending.call(expires_at=PAST)
    monkeypatch.setattr(retention, "ANSWER_S", 0.2)
    owner = await asyncpg.connect(ending.database.url.get_secret_value())
    async with owner.transaction():
        await owner.execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            await ending.sweep()
    # Postgres frees the lease once it has noticed that its holder left in the middle of a question.
    async with asyncio.timeout(20):
        while await owner.fetchval(LEASES):
            await owner.execute("SELECT pg_sleep(0.02)")
    await owner.close()
    assert (await ending.sweep())[call].fate is Fate.DELETED


# --- objects that are shared, replaced, or not to be had


@disk_only
async def test_an_object_of_two_recordings_goes_with_the_last_of_them(ending: Ending):
    first = await ending.call(expires_at=PAST)
    second = await ending.call(key=ending.key(first))
    assert (await ending.sweep())[first].fate is Fate.SHARED
    assert not await gone(ending, first)
    assert await ending.sweep() == {}
    await ending.fetch("UPDATE recordings SET expires_at = now() WHERE call_id = $1", second)
    told = await ending.sweep()
    assert {call: done.fate for call, done in told.items()} == {second: Fate.DELETED}
    assert await gone(ending, first)
    assert ending.store.asked == {ending.key(first): 1}
    assert (await ending.row(first))["object_deleted_at"] == (await ending.row(second))["object_deleted_at"] is not None
    assert await ending.events(first) == [("complete", 204, "object_shared")]


@disk_only
async def test_an_object_that_another_needs_by_another_name_of_its_store_stays(ending: Ending, tmp_path: Path):
    ending.stores["also"] = ending.store
    same = {name: DiskStore(kind="disk", root=tmp_path / way) for name, way in (("main", "."), ("also", "x/.."))}
    ending.alike = alike({**same, "other": DiskStore(kind="disk", root=tmp_path / "other")})
    first = await ending.call(expires_at=PAST)
    second = await ending.call(key=ending.key(first))
    await ending.fetch("UPDATE recordings SET store = 'also' WHERE call_id = $1", second)
    assert (await ending.sweep())[first].fate is Fate.SHARED
    assert not await gone(ending, first)
    assert await ending.sweep() == {}
    await ending.fetch("UPDATE recordings SET expires_at = now() WHERE call_id = $1", second)
    for call in (second, first):
        assert {each: done.fate for each, done in (await ending.sweep()).items()} == {call: Fate.DELETED}
    assert await gone(ending, first)
    assert await ending.sweep() == {}


@disk_only
@pytest.mark.parametrize("held_in", ["outer", "inner"])
async def test_an_object_that_another_needs_by_a_folder_around_its_stores_or_within_stays(
    ending: Ending, tmp_path: Path, held_in: str
):
    around, within = tmp_path / "calls", tmp_path / "calls" / ending.folder
    kinds = {name: DiskStore(kind="disk", root=root) for name, root in (("main", around), ("inner", within))}
    ending.alike = alike(kinds)
    ending.stores["inner"] = Disk("inner", kinds["inner"], QUICK)
    first = await ending.call(expires_at=PAST)
    second = await ending.call(key=ending.key(first))
    places = {"outer": ("main", ending.key(first)), "inner": ("inner", f"{first}.wav")}
    held, (over,) = places.pop(held_in), places.values()
    await ending.fetch("UPDATE recordings SET store = $2, key = $3 WHERE call_id = $1", first, *over)
    await ending.fetch("UPDATE recordings SET store = $2, key = $3, hold = true WHERE call_id = $1", second, *held)
    assert (await ending.sweep())[first].fate is Fate.SHARED
    assert not await gone(ending, first)
    assert await ending.sweep() == {}
    await ending.stores["inner"].close()


@disk_only
@pytest.mark.parametrize(("step", "name"), [("put_recording", "main"), ("mark_ready", "main"), ("mark_ready", "also")])
async def test_an_object_that_is_being_deleted_becomes_nobodys_recording(ending: Ending, step: str, name: str):
    """By whatever name of its store."""
    first = await ending.call(expires_at=PAST)
    ending.alike = lambda place: {place, ("also", place[1])}
    key, tenant = ending.key(first), ending.tenant
    stat = await ending.store.stat(key)
    second = await ending.registry.create_call(tenant, NewCall())

    async def register() -> None:
        if step == "put_recording":
            await ending.registry.put_recording(tenant, second, state=State.PROCESSING, place=(name, key))
        await ending.registry.mark_ready(tenant, second, Object(name, key, stat, "audio/wav"))

    async def register_too_late() -> None:
        with pytest.raises(Unavailable, match="is being deleted"):
            await register()

    ending.store.before_delete = register_too_late
    assert (await ending.sweep())[first].fate is Fate.DELETED
    assert (await ending.find(second)).recording is None
    await register()  # whoever asks again finds out what is there by then


@disk_only
async def test_an_object_that_is_being_registered_is_waited_for(ending: Ending):
    first, second = await ending.call(expires_at=PAST), await ending.call()
    async with ending.pool.acquire() as connection, connection.transaction():
        assert await connection.fetchval(statements.NAME_PLACE, "main", ending.key(first))
        await connection.execute("UPDATE recordings SET key = $2 WHERE call_id = $1", second, ending.key(first))
        sweeping = asyncio.create_task(ending.sweep())
        while not await ending.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not sweeping.done()
            await asyncio.sleep(0.01)
    assert (await sweeping)[first].fate is Fate.SHARED
    assert not await gone(ending, first)


@disk_only
async def test_two_that_end_together_have_their_object_deleted_once(ending: Ending):
    first = await ending.call(expires_at=PAST)
    second = await ending.call(key=ending.key(first), expires_at=PAST)
    swept = await ending.sweeper(batch=10).sweep()
    assert swept is not None
    assert (swept.fates, swept.bytes) == ({Fate.DELETED: 2}, len(first.bytes))
    assert ending.store.asked == {ending.key(first): 1}
    assert await ending.events(first) == await ending.events(second) == [("complete", 204, None)]


async def test_an_object_that_was_replaced_ends_too_and_the_audit_tells_which_it_was(ending: Ending):
    call = await ending.call(expires_at=PAST)
    ending.put(ending.key(call), b"another version, longer")
    etag = (await ending.store.stat(ending.key(call))).etag
    assert (await ending.sweep())[call].fate is Fate.DELETED
    assert await gone(ending, call)
    assert await ending.events(call) == [("refused", 412, "object_changed"), ("complete", 204, None)]
    etags = await ending.fetch("SELECT etag FROM access_events ORDER BY event_id")
    assert [row["etag"] for row in etags] == [(await ending.row(call))["etag"], etag]


async def test_an_object_that_is_gone_already_is_as_good_as_deleted(ending: Ending):
    call = await ending.call(expires_at=PAST)
    await ending.store.delete(ending.key(call), (await ending.row(call))["version"])
    assert (await ending.sweep())[call].fate is Fate.DELETED
    assert (await ending.row(call))["object_deleted_at"] is not None


@disk_only
async def test_what_a_store_does_not_delete_is_tried_again_by_the_next_sweep(ending: Ending):
    call = await ending.call(expires_at=PAST)

    async def refuse() -> None:
        raise OriginFailed("store main: answered 403; give it the right to delete")

    ending.store.before_delete = refuse
    done = (await ending.sweep())[call]
    assert (done.fate, done.reason) == (Fate.FAILED, "store main: answered 403; give it the right to delete")
    row = await ending.row(call)
    assert (row["state"], row["object_deleted_at"]) == ("expired", None)
    ending.store.before_delete = nothing
    assert (await ending.sweep())[call].fate is Fate.DELETED
    assert await ending.events(call) == [("origin_failed", 502, "origin_failed"), ("complete", 204, None)]


@disk_only
async def test_a_store_that_is_away_is_not_asked_for_ever(ending: Ending):
    calls = [await ending.call(expires_at=PAST) for _ in range(3 * PATIENCE)]

    async def away() -> None:
        raise Unavailable("store main: cannot connect")

    ending.store.before_delete = away
    told = await ending.sweep(batch=1)
    assert Counter(done.fate for done in told.values()) == {Fate.FAILED: PATIENCE, Fate.PUT_OFF: 2 * PATIENCE}
    for call, done in told.items():
        state = "ready" if done.fate is Fate.PUT_OFF else "expired"
        assert (await ending.row(call))["state"] == state
        assert bool(await ending.events(call)) == (done.fate is Fate.FAILED)
    ending.store.before_delete = nothing
    assert set(await ending.sweep()) == set(calls)


@disk_only
async def test_a_store_that_goes_away_amid_a_batch_is_not_asked_for_the_rest_of_it(ending: Ending):
    """Each question may last as long as the store's own bound, and nobody else sweeps meanwhile."""
    calls = [await ending.call(expires_at=PAST) for _ in range(3 * PATIENCE)]

    async def away() -> None:
        raise Unavailable("store main: cannot connect")

    ending.store.before_delete = away
    told = await ending.sweep(batch=len(calls))
    assert Counter(done.fate for done in told.values()) == {Fate.FAILED: len(calls)}
    assert PATIENCE <= ending.store.asked.total() < PATIENCE + AT_ONCE < len(calls)
    reasons = Counter(done.reason for done in told.values())
    asked_no_more = f"store main: failed {PATIENCE} times running, and is asked no more for now"
    assert reasons == {
        "store main: cannot connect": ending.store.asked.total(),
        asked_no_more: len(calls) - ending.store.asked.total(),
    }
    ending.store.before_delete = nothing
    assert Counter(done.fate for done in (await ending.sweep()).values()) == {Fate.DELETED: len(calls)}


@disk_only
async def test_a_sweep_that_is_told_to_stop_ends_with_the_batch_under_way(ending: Ending):
    calls = {await ending.call(expires_at=PAST) for _ in range(3)}
    stop = asyncio.Event()

    async def stopped() -> None:
        stop.set()

    ending.store.before_delete = stopped
    assert len(await ending.sweep(batch=2, stop=stop)) == 2
    assert len(await ending.sweep()) == len(calls) - 2


@disk_only
async def test_a_sweep_forgets_links_that_were_over_long_ago(ending: Ending):
    call = await ending.call()
    for days in (31, 29, -1):
        await ending.fetch(
            "INSERT INTO links (id, tenant_id, call_id, created_by, expires_at)"
            " VALUES (gen_random_uuid(), $1, $2, $3::int::text, now() - interval '1 day' * $3)",
            *(ending.tenant, call, days),
        )
    await ending.sweep()
    left = await ending.fetch("SELECT created_by FROM links ORDER BY expires_at")
    assert [row["created_by"] for row in left] == ["29", "-1"]


@disk_only
async def test_a_store_that_fails_now_and_then_is_asked_on(ending: Ending):
    calls = [await ending.call(expires_at=PAST) for _ in range(2 * PATIENCE)]
    asked = 0

    async def mostly_away() -> None:
        nonlocal asked
        asked += 1
        if asked != PATIENCE - 1:
            raise Unavailable("store main: cannot connect")

    ending.store.before_delete = mostly_away
    told = await ending.sweep(batch=1)
    assert Counter(done.fate for done in told.values()) == {
        Fate.DELETED: 1,
        Fate.FAILED: len(calls) - 2,
        Fate.PUT_OFF: 1,
    }


@disk_only
async def test_a_store_that_is_configured_no_more_fails_and_says_so(ending: Ending):
    call = await ending.call(expires_at=PAST)
    stores, ending.stores = ending.stores, {}
    done = (await ending.sweep())[call]
    assert (done.fate, done.reason) == (Fate.FAILED, "stores.main: not configured, and an expired recording lies there")
    ending.stores = stores
    assert (await ending.sweep())[call].fate is Fate.DELETED


async def test_without_room_in_the_journal_nothing_ends(database: str, tmp_path: Path):
    async with AsyncExitStack() as lifetimes:
        lab = DiskLab(tmp_path, lifetimes)
        store = await store_of(lab)
        bound = {"journal_bytes": 3000, "segment_bytes": 3000}
        async with an_ending(database, tmp_path / "journal", store, lab.put, **bound) as ending:
            calls = [await ending.call(expires_at=PAST) for _ in range(9)]
            with pytest.raises(Unavailable, match="journal_bytes"):
                await ending.sweep()
            for call in calls:
                assert (await ending.row(call))["state"] == "ready"
            assert not ending.store.asked


# --- one at a time


@disk_only
async def test_of_two_sweeps_one_does_the_work_and_the_other_says_so(ending: Ending):
    call = await ending.call(expires_at=PAST)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go_on.wait()

    ending.store.before_delete = wait
    sweeping = asyncio.create_task(ending.sweep())
    await asyncio.wait_for(begun.wait(), 10)
    assert await ending.sweeper().sweep() is None
    go_on.set()
    assert (await sweeping)[call].fate is Fate.DELETED
    assert await ending.sweep() == {}
    assert ending.store.asked == {ending.key(call): 1}


@disk_only
async def test_whose_connection_is_lost_stops_at_once_and_another_goes_on(ending: Ending):
    call = await ending.call(expires_at=PAST)
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    ending.store.before_delete = wait
    sweeping = asyncio.create_task(ending.sweep())
    await asyncio.wait_for(begun.wait(), 10)
    await ending.fetch("""
        SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """)
    with pytest.raises(Unavailable, match="lost"):
        await asyncio.wait_for(sweeping, 5)
    ending.store.before_delete = nothing
    assert (await ending.sweep())[call].fate is Fate.DELETED
    assert await ending.events(call) == [("interrupted", 0, "sweep_ended"), ("complete", 204, None)]
