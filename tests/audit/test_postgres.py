"""The sink against a real Postgres."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from parts.audit import intent, kept, outcome, settings, until
from parts.postgres import Databases, StoppablePostgres

from gateway.audit import Audit
from gateway.audit.courier import Courier
from gateway.audit.events import INDEXED, TEXT_KEPT, encode
from gateway.audit.frames import Kind
from gateway.audit.postgres import PostgresSink, keep_partitions
from gateway.audit.quarantine import Quarantine
from gateway.config import Database
from gateway.errors import Rejected, Unavailable
from gateway.event import Result
from gateway.postgres import Pool, open_pool


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


async def test_partitions_are_made_ahead(pool: Pool, database: str):
    connection = await asyncpg.connect(database)
    count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'access_events'::regclass"
    before = await connection.fetchval(count)
    task = asyncio.create_task(keep_partitions(pool, 17))
    async with asyncio.timeout(20):
        while await connection.fetchval(count) < 19:
            await connection.execute("SELECT pg_sleep(0.01)")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert before < await connection.fetchval(count) == 19  # the month before, this one, 17 ahead
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
        stats = audit.stats()
        assert stats.delivered == 2
        assert 1 <= stats.batches <= 2
        assert 1 <= stats.commits <= 2
        assert stats.committed_bytes > 700
        assert 0 < stats.commit_s < 5


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
        with pytest.raises(Unavailable, match="journal_bytes"):
            await audit.check()
        with pytest.raises(Unavailable, match="journal_bytes"):
            await audit.trail.intend(intent())


async def test_readiness_says_that_the_journal_cannot_be_written(pool: Pool, tmp_path: Path):
    (tmp_path / "journal").symlink_to(tmp_path / "not mounted")
    async with Audit(settings(tmp_path / "journal"), pool, flush_s=0.1) as audit:
        with pytest.raises(Unavailable, match="exists"):
            await audit.check()
