"""Reading the audit back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import orjson
import pytest
from parts.audit import CALL, intent, outcome

from gateway.audit.events import encode
from gateway.audit.postgres import PostgresSink
from gateway.audit.reader import Access, Wanted, follow, horizon, list_accesses
from gateway.config import Database
from gateway.errors import NotFound
from gateway.event import Intent, Result
from gateway.postgres import Connection, connect


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    connection = await connect(Database(url=database))
    yield connection
    await connection.close()


async def write(sink: PostgresSink, *given: Intent, concluded: bool = True) -> None:
    await sink.write([encode(each) for each in given], [encode(outcome(each)) for each in given] if concluded else [])


def ids(rows: list[Access]) -> list[str]:
    return [row["event_id"] for row in rows]


async def test_accesses_are_listed_newest_first_a_page_at_a_time(sink: PostgresSink, connection: Connection):
    given = [intent() for _ in range(25)]
    await write(sink, *given)
    found: list[Access] = []
    while page := await list_accesses(connection, Wanted(), limit=10, before=found[-1]["event_id"] if found else None):
        assert len(page) <= 10
        found += page
    assert ids(found) == [str(each.event_id) for each in reversed(given)]


async def test_a_row_is_fit_for_json(sink: PostgresSink, connection: Connection):
    moment = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    given = intent(occurred_at=moment)
    await write(sink, given)
    (row,) = await list_accesses(connection, Wanted())
    assert orjson.loads(orjson.dumps(row)) == row
    assert row["occurred_at"] == "2026-01-02T03:04:05.678900Z"
    assert row["range"] == given.range
    assert row["scopes"] == list(given.scopes)
    assert (row["status"], row["bytes_sent"], row["result"], row["tenant_slug"]) == (206, 65536, "complete", None)


async def test_an_open_access_is_listed_without_its_end(sink: PostgresSink, connection: Connection):
    await write(sink, intent(), concluded=False)
    (row,) = await list_accesses(connection, Wanted())
    assert [row[name] for name in ("completed_at", "status", "bytes_sent", "result", "reason")] == [None] * 5


async def test_each_filter_finds_its_own(sink: PostgresSink, connection: Connection, database: str):
    owner = await asyncpg.connect(database)
    tenant = await owner.fetchval("INSERT INTO tenants (slug, name) VALUES ('acme', 'Acme') RETURNING id")
    await owner.close()
    now = datetime.now(UTC)
    of_tenant, of_call, of_actor, earlier, other = (
        intent(tenant=tenant, call=None),
        intent(),
        intent(actor_id="user-7", call=None),
        intent(occurred_at=now - timedelta(days=20), call=None),
        intent(call=None),
    )
    await write(sink, of_tenant, of_call, of_actor, earlier, other)
    for wanted, found in (
        (Wanted(tenant="acme"), [of_tenant]),
        (Wanted(call=CALL), [of_call]),
        (Wanted(actor="user-7"), [of_actor]),
        (Wanted(until=now - timedelta(days=1)), [earlier]),
        (Wanted(since=now - timedelta(days=1)), [other, of_actor, of_call, of_tenant]),
        (Wanted(tenant="acme", call=CALL), []),
        (Wanted(since=earlier.occurred_at, until=earlier.occurred_at), []),
        (Wanted(since=earlier.occurred_at, until=earlier.occurred_at + timedelta(microseconds=1)), [earlier]),
    ):
        assert ids(await list_accesses(connection, wanted)) == [str(each.event_id) for each in found], wanted
    assert (await list_accesses(connection, Wanted(tenant="acme")))[0]["tenant_slug"] == "acme"


async def test_a_tenant_nobody_knows_is_said_to_be_unknown(connection: Connection):
    with pytest.raises(NotFound, match="nobody"):
        await list_accesses(connection, Wanted(tenant="nobody"))


async def take(rows: AsyncIterator[Access], count: int) -> list[tuple[str, str | None]]:
    async with asyncio.timeout(20):
        return [(row["event_id"], row["result"]) for row in [await anext(rows) for _ in range(count)]]


async def test_following_begins_now_and_shows_each_access_once(sink: PostgresSink, connection: Connection):
    await write(sink, intent())
    rows = follow(connection, Wanted(), after=await horizon(connection), poll_s=0.01)
    given = [intent() for _ in range(3)]
    await write(sink, *given)
    assert await take(rows, 3) == [(str(each.event_id), "complete") for each in given]
    late = intent()
    await write(sink, late)
    assert await take(rows, 1) == [(str(late.event_id), "complete")]
    await rows.aclose()


async def test_an_access_that_ends_later_is_shown_again_when_it_does(sink: PostgresSink, connection: Connection):
    rows = follow(connection, Wanted(), after=await horizon(connection), poll_s=0.01)
    given = intent()
    await write(sink, given, concluded=False)
    assert await take(rows, 1) == [(str(given.event_id), None)]
    await sink.write([], [encode(outcome(given, result=Result.CLIENT_GONE))])
    assert await take(rows, 1) == [(str(given.event_id), "client_gone")]
    await rows.aclose()


async def test_following_misses_nothing_that_comes_late_or_is_written_slowly(
    sink: PostgresSink, connection: Connection, database: str
):
    """A row's time and the moment it becomes visible are two things: one waited in a journal, one in a transaction."""
    rows = follow(connection, Wanted(), after=await horizon(connection), poll_s=0.01)
    first = asyncio.create_task(take(rows, 3))
    slow = await asyncpg.connect(database)
    transaction = slow.transaction()
    await transaction.start()
    held = intent()
    await slow.execute(
        "INSERT INTO access_events (event_id, occurred_at, surface, method, actor_kind, scopes, address, peer, request_id)"
        " VALUES ($1, $2, 'native', 'stream', 'user', '{}', '', '', '')",
        held.event_id,
        held.occurred_at,
    )
    quick, old = intent(), intent(occurred_at=datetime.now(UTC) - timedelta(days=20))
    await write(sink, quick)
    await write(sink, old)
    assert await asyncio.wait([first], timeout=0.1) == (set(), {first})
    await transaction.commit()
    await slow.close()
    assert {event for event, _ in await first} == {str(each.event_id) for each in (held, quick, old)}
    await rows.aclose()


async def test_following_shows_only_what_is_wanted(sink: PostgresSink, connection: Connection):
    rows = follow(connection, Wanted(actor="user-7"), after=await horizon(connection), poll_s=0.01)
    given = intent(actor_id="user-7")
    await write(sink, intent(), given, intent())
    assert await take(rows, 1) == [(str(given.event_id), "complete")]
    await rows.aclose()
