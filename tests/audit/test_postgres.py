"""The sink against a real Postgres."""

import asyncio
import secrets
import threading
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from parts.audit import intent, kept, outcome, settings, until
from parts.postgres import Databases, StoppablePostgres
from structlog.testing import capture_logs

from gateway.audit import Audit
from gateway.audit.adopt import Adopter
from gateway.audit.courier import Courier
from gateway.audit.events import INDEXED, TEXT_KEPT, encode
from gateway.audit.frames import Kind
from gateway.audit.postgres import PostgresSink, keep_partitions
from gateway.audit.quarantine import Quarantine
from gateway.audit.segments import Damage
from gateway.config import Database
from gateway.errors import Rejected, Unavailable
from gateway.event import Result
from gateway.postgres import Pool, Pooled, borrow, open_pool

PARTITIONS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'access_events'::regclass"


async def test_a_record_stands_in_its_columns_as_it_was(sink: PostgresSink, database: str):
    given = intent(user_agent='müde "\U0001f600" \\u0000', role="admin", trace_id="t", scopes=('a"b', "c,d", "{e}"))
    ended = outcome(given, bytes_sent=2**40, reason="r")
    await sink.write([encode(given)], [encode(ended)])
    connection = await asyncpg.connect(database)
    row = await connection.fetchrow("SELECT * FROM accesses")
    await connection.close()
    assert row is not None
    for record in (given, ended):
        for name in record.__dataclass_fields__:
            value = getattr(record, name)
            column = "range_asked" if name == "range" else name
            assert row[column] == (list(value) if isinstance(value, tuple) else value), name


async def test_the_least_a_record_can_hold_is_taken(sink: PostgresSink, database: str):
    nothing = dict.fromkeys(
        (
            "tenant",
            "actor_id",
            "credential_id",
            "auth_method",
            "user_agent",
            "call",
            "recording",
            "etag",
            "range",
            "session",
        )
    )
    given = intent(**nothing, actor_kind="anonymous", scopes=())
    await sink.write([encode(given)], [encode(outcome(given, bytes_sent=None, result=Result.INTERRUPTED))])
    assert (await kept(database)).outcomes == {given.event_id: "interrupted"}


@pytest.mark.parametrize("length", [INDEXED, INDEXED + 1, 3000, 3300, 5000])
async def test_an_actor_of_whatever_length_is_on_record(sink: PostgresSink, database: str, length: int):
    """A token's subject may fill the token; Postgres looks actors up in an index, which has no room for that."""
    name = secrets.token_urlsafe(length)[:length]  # nothing that could be compressed
    given = intent(actor_id=name)
    await sink.write([encode(given)], [encode(outcome(given))])
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT actor_id FROM access_events") == (
        name if length <= INDEXED else name[:TEXT_KEPT]
    )
    await connection.close()


async def test_writing_twice_leaves_one_and_the_first_outcome(sink: PostgresSink, database: str):
    given = [intent() for _ in range(20)]
    intents = [encode(each) for each in given]
    await sink.write(intents, [encode(outcome(each)) for each in given[:10]])
    await sink.write(intents, [encode(outcome(each, result=Result.INTERRUPTED)) for each in given])
    found = await kept(database)
    assert sorted(found.events) == sorted(each.event_id for each in given)
    assert found.outcome_rows == 20
    assert [found.outcomes[each.event_id] for each in given] == ["complete"] * 10 + ["interrupted"] * 10


async def test_a_record_that_comes_twice_in_one_batch_is_one(sink: PostgresSink, database: str):
    given = intent()
    await sink.write([encode(given)] * 3, [encode(outcome(given))] * 3)
    found = await kept(database)
    assert (len(found.events), found.outcome_rows) == (1, 1)


async def test_nothing_is_written_where_one_record_is_refused(sink: PostgresSink, database: str):
    given = intent()
    for spoilt in (
        encode(intent()).replace(b"Mozilla", b"\\u0000"),
        encode(intent()).replace(b'"surface":"native"', b'"surface":null'),
        encode(intent()).replace(b'"event_id":"', b'"event_id":"x'),
        encode(intent()).replace(b'"actor_id":"', b'"actor_id":"' + secrets.token_urlsafe(3000).encode()),
        b"no json",
    ):
        with pytest.raises(Rejected):
            await sink.write([encode(given), spoilt], [encode(outcome(given))])
    assert await kept(database) == await kept(database)
    assert not (await kept(database)).events


@pytest.mark.parametrize("away", [timedelta(days=-800), timedelta(days=400)])
async def test_a_record_of_a_month_without_partition_gets_one(sink: PostgresSink, database: str, away: timedelta):
    given = intent(occurred_at=datetime.now(UTC) + away)
    await sink.write([encode(intent()), encode(given)], [encode(outcome(given))])
    found = await kept(database)
    assert len(found.events) == 2
    assert found.outcomes == {given.event_id: "complete"}


async def test_an_outcome_that_comes_alone_gets_its_month_s_partition_too(sink: PostgresSink, database: str):
    """Its event was delivered, and the file it was in deleted, by a process that died later."""
    given = intent(occurred_at=datetime.now(UTC) - timedelta(days=800))
    await sink.write([], [encode(outcome(given))])
    assert (await kept(database)).outcomes == {given.event_id: "complete"}


async def test_partitions_are_made_day_by_day_whatever_was_in_the_way(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    failures = [Unavailable("away"), asyncpg.UndefinedFunctionError("before the migrations")]
    made = 0

    def borrowed(*_: object, **__: object) -> AbstractAsyncContextManager[Pooled]:
        nonlocal made
        if failures:
            raise failures.pop(0)
        made += 1
        return borrow(pool, "audit", wait_s=5)

    monkeypatch.setattr("gateway.audit.postgres.borrow", borrowed)
    monkeypatch.setattr("gateway.audit.postgres.RETRY_S", 0.01)
    for day_s, times in ((60, 1), (0.01, 3)):
        monkeypatch.setattr("gateway.audit.postgres.DAY_S", day_s)
        task = asyncio.create_task(keep_partitions(pool, 1))
        await until(lambda: made >= times)  # noqa: B023  asked at once
        task.cancel()
        await asyncio.wait([task])


async def test_partitions_are_made_ahead(pool: Pool, database: str):
    connection = await asyncpg.connect(database)
    before = await connection.fetchval(PARTITIONS)
    task = asyncio.create_task(keep_partitions(pool, 17))
    async with asyncio.timeout(20):
        while await connection.fetchval(PARTITIONS) < 19:
            await connection.execute("SELECT pg_sleep(0.01)")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert before < await connection.fetchval(PARTITIONS) == 19  # the month before, this one, 17 ahead
    await connection.close()


async def test_a_schema_that_is_not_there_is_waited_for(databases: Databases):
    url = databases.url(await databases.empty())
    pool = await open_pool(Database(url=url, role=None))
    with pytest.raises(Unavailable, match="access_events"):
        await PostgresSink(pool).write([encode(intent())], [])
    await pool.close()
    await databases.drop(url)


async def test_a_right_that_is_not_there_is_waited_for(database: str, sink: PostgresSink):
    connection = await asyncpg.connect(database)
    await connection.execute("REVOKE INSERT ON access_events FROM recording_gateway")
    with pytest.raises(Unavailable, match="permission"):
        await sink.write([encode(intent())], [])
    await connection.close()


async def test_postgres_away_is_unavailable_and_back_again_it_takes(stoppable_postgres: StoppablePostgres):
    databases = Databases(stoppable_postgres.url())
    url = await databases.create()
    pool = await open_pool(Database(url=url, query_s=2, connect_s=2))
    sink, given = PostgresSink(pool), intent()
    await sink.write([encode(given)], [])
    for stop, start in (
        (stoppable_postgres.stop, stoppable_postgres.start),
        (stoppable_postgres.pause, stoppable_postgres.resume),
    ):
        await asyncio.to_thread(stop)
        with pytest.raises(Unavailable):
            await sink.write([encode(intent())], [])
        await asyncio.to_thread(start)
        await sink.write([encode(given)], [])
    assert (await kept(url)).events.count(given.event_id) == 1
    await pool.close()
    await databases.close()


async def test_a_poisoned_record_is_set_aside_by_name(sink: PostgresSink, database: str, tmp_path: Path):
    quarantine = Quarantine(tmp_path)
    courier = Courier(sink, quarantine, retry_max_s=1)
    given = [intent() for _ in range(64)]
    records = [(int(Kind.INTENT), encode(each)) for each in given]
    records[9] = (Kind.INTENT, records[9][1].replace(b'"surface":"native"', b'"surface":null'))
    records[40] = (Kind.INTENT, b"no json")
    await courier.deliver(records)
    assert len((await kept(database)).events) == 62
    lines = (tmp_path / "quarantine" / "refused.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert str(given[9].event_id) in lines[0]
    assert "NotNullViolation" in lines[0]


# --- the whole of it ------------------------------------------------------------------------------------------------


async def test_an_access_is_in_postgres_soon_after(pool: Pool, database: str, tmp_path: Path):
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=5) as audit:
        given = intent()
        await audit.trail.intend(given)
        audit.trail.conclude(outcome(given))
        await until(lambda: not audit.stats().waiting_records)
        assert (await kept(database)).outcomes == {given.event_id: "complete"}
        assert audit.stats().admits
        await audit.check()
        assert audit.stats().delivered == 2


async def test_leaving_brings_all_to_postgres_and_leaves_no_folder(pool: Pool, database: str, tmp_path: Path):
    async with Audit(settings(tmp_path / "journal", ship_interval_ms=60_000), pool, flush_s=5) as audit:
        given = [intent() for _ in range(500)]
        await asyncio.gather(*(audit.trail.intend(each) for each in given))
        for each in given[:-1]:
            audit.trail.conclude(outcome(each))
    found = await kept(database)
    assert len(found.events) == found.outcome_rows == 500
    assert found.outcomes[given[-1].event_id] == "interrupted"
    assert list((tmp_path / "journal").iterdir()) == []


async def test_leaving_amidst_an_access_brings_its_end_to_postgres_at_once(pool: Pool, database: str, tmp_path: Path):
    given = intent()
    async with AsyncExitStack() as stack:
        audit = await stack.enter_async_context(Audit(settings(tmp_path / "journal"), pool, flush_s=60))
        await audit.trail.intend(given)
        await until(lambda: not audit.stats().waiting_records)
        async with asyncio.timeout(20):
            await stack.aclose()
    assert (await kept(database)).outcomes == {given.event_id: "interrupted"}
    assert list((tmp_path / "journal").iterdir()) == []
    assert not {thread.name for thread in threading.enumerate()} & {"audit-journal"}


async def test_a_task_that_dies_of_a_defect_is_told_of(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def dies(_: Adopter) -> None:
        raise KeyError("defect")

    monkeypatch.setattr(Adopter, "run", dies)
    with capture_logs() as logs:
        async with Audit(settings(tmp_path / "journal"), pool, flush_s=5):
            await until(lambda: logs)
    assert ("audit_task_died", "audit-adopter") in [(line["event"], line.get("task")) for line in logs]


async def test_partitions_are_made_as_far_ahead_as_is_configured(pool: Pool, database: str, tmp_path: Path):
    connection = await asyncpg.connect(database)
    async with Audit(settings(tmp_path / "journal", partitions_ahead=7), pool, flush_s=5), asyncio.timeout(20):
        while await connection.fetchval(PARTITIONS) < 9:
            await connection.execute("SELECT pg_sleep(0.01)")
    await connection.close()


async def test_what_cannot_be_flushed_in_time_is_adopted_later(stoppable_postgres: StoppablePostgres, tmp_path: Path):
    databases = Databases(stoppable_postgres.url())
    url = await databases.create()
    database = Database(url=url, query_s=0.5, connect_s=0.5)
    pool = await open_pool(database)
    given = [intent() for _ in range(50)]
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=0.3) as audit:
        await asyncio.to_thread(stoppable_postgres.pause)
        for each in given:
            await audit.trail.intend(each)
            audit.trail.conclude(outcome(each))
        await until(lambda: audit.stats().shipping_problem)
    pool.terminate()
    await asyncio.to_thread(stoppable_postgres.resume)
    pool = await open_pool(database)
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=5) as audit:
        await until(lambda: audit.stats().delivered >= 100)
        await until(lambda: not audit.stats().waiting_bytes)
    found = await kept(url)
    assert found.outcomes == {each.event_id: "complete" for each in given}
    assert len(found.events) == found.outcome_rows == 50
    assert list((tmp_path / "journal").iterdir()) == []
    await pool.close()
    await databases.close()


async def test_readiness_says_that_the_journal_is_full(pool: Pool, tmp_path: Path):
    small = settings(tmp_path / "journal", journal_bytes=20_000, segment_bytes=4096)
    async with Audit(small, pool, flush_s=0.1) as audit:
        await audit.check()
        audit._inherit(20_001)
        assert audit.stats().waiting_bytes == 20_001
        for problem, told in ((None, ""), ("it is away", r" \(it is away\)")):
            audit._shipper.problem = problem
            with pytest.raises(Unavailable, match=f"audit.journal_bytes: 20001 bytes wait for Postgres{told}$"):
                await audit.check()
        with pytest.raises(Unavailable, match="journal_bytes"):
            await audit.trail.intend(intent())


async def test_readiness_says_that_the_journal_cannot_be_written(pool: Pool, tmp_path: Path):
    (tmp_path / "journal").symlink_to(tmp_path / "not mounted")
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=0.1) as audit:
        with pytest.raises(Unavailable, match="exists"):
            await audit.check()


async def test_what_was_set_aside_and_what_cannot_be_read_is_told(pool: Pool, tmp_path: Path):
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=5) as audit:
        audit._quarantine.keep_damage(Path("0.seg"), [Damage(0, b"", torn=False)] * 2)
        audit._quarantine.keep_record(Kind.INTENT, b"{}", "poison")
        audit._shipper.problem = "unreadable"
        stats = audit.stats()
        assert (stats.quarantined, stats.shipping_problem) == (3, "unreadable")
