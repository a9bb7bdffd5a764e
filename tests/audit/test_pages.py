"""An account's accesses, a page at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from parts.audit import CALL, RECORDING, TENANT, intent, outcome

from gateway.asks.audit import AccessPage, ListAccesses
from gateway.audit import pages
from gateway.audit.events import encode
from gateway.audit.pages import Pages
from gateway.audit.postgres import PostgresSink
from gateway.config import Database
from gateway.errors import Malformed
from gateway.event import Intent, Method, Outcome, Result
from gateway.postgres import Pool, Pooled

NOW = datetime.now(UTC)


@pytest.fixture
def read(pool: Pool, database: str) -> Pages:
    return Pages(pool, Database(url=database))


async def write(sink: PostgresSink, *given: Intent, outcomes: list[Outcome] | None = None) -> None:
    ended = [outcome(each) for each in given] if outcomes is None else outcomes
    await sink.write([encode(each) for each in given], [encode(each) for each in ended])


def ids(page: AccessPage) -> list[UUID]:
    return [UUID(str(access["event_id"])) for access in page.accesses]


async def walked(read: Pages, ask: ListAccesses, tenant: UUID = TENANT) -> tuple[list[UUID], list[int]]:
    """Every event on the way from the first page to the last, and how many each page held."""
    seen: list[UUID] = []
    sizes: list[int] = []
    page = await read.page(tenant, ask)
    while True:
        seen += ids(page)
        sizes.append(len(page.accesses))
        if page.cursor is None:
            return seen, sizes
        page = await read.page(tenant, replace(ask, cursor=page.cursor))


async def test_pages_hold_every_access_once_newest_first_across_months(sink: PostgresSink, read: Pages):
    same = NOW - timedelta(days=3)
    given = [intent(occurred_at=NOW - timedelta(days=4 * day)) for day in range(10)]
    given += [intent(occurred_at=same) for _ in range(7)]
    await write(sink, *given)
    ordered = sorted(given, key=lambda each: (each.occurred_at, each.event_id.bytes), reverse=True)
    wanted = [each.event_id for each in ordered]
    for limit in (1, 5, 17, 50):
        seen, sizes = await walked(read, ListAccesses(limit=limit))
        assert seen == wanted
        assert 0 < min(sizes) <= max(sizes) <= limit


async def test_each_filter_finds_its_own_and_of_its_own_account_alone(sink: PostgresSink, read: Pages):
    other, session = uuid4(), uuid4()
    plain = intent(occurred_at=NOW, call=None, recording=None, session=None)
    given = {
        "plain": plain,
        "call": replace(plain, event_id=uuid4(), call=CALL),
        "recording": replace(plain, event_id=uuid4(), recording=RECORDING),
        "actor": replace(plain, event_id=uuid4(), actor_id="user-7"),
        "credential": replace(plain, event_id=uuid4(), credential_id="key-7"),
        "method": replace(plain, event_id=uuid4(), method=Method.DELETION),
        "surface": replace(plain, event_id=uuid4(), surface="voki"),
        "session": replace(plain, event_id=uuid4(), session=session),
        "address": replace(plain, event_id=uuid4(), address="2001:db8::7"),
        "earlier": replace(plain, event_id=uuid4(), occurred_at=NOW - timedelta(days=9)),
        "status": replace(plain, event_id=uuid4()),
        "result": replace(plain, event_id=uuid4()),
        "open": replace(plain, event_id=uuid4()),
    }
    ended = [outcome(each) for name, each in given.items() if name not in {"status", "result", "open"}]
    ended.append(outcome(given["status"], status=502))
    ended.append(outcome(given["result"], result=Result.REFUSED, reason="forbidden"))
    await write(sink, *given.values(), outcomes=ended)
    foreign = [replace(each, event_id=uuid4(), tenant=other) for each in given.values()]
    await write(sink, *foreign, replace(plain, event_id=uuid4(), tenant=None))
    for ask, name in (
        (ListAccesses(call=CALL), "call"),
        (ListAccesses(recording=RECORDING), "recording"),
        (ListAccesses(actor="user-7"), "actor"),
        (ListAccesses(credential="key-7"), "credential"),
        (ListAccesses(method=Method.DELETION), "method"),
        (ListAccesses(surface="voki"), "surface"),
        (ListAccesses(session=session), "session"),
        (ListAccesses(address="2001:db8::7"), "address"),
        (ListAccesses(until=NOW), "earlier"),
        (ListAccesses(since=NOW - timedelta(days=9), until=NOW - timedelta(days=8)), "earlier"),
        (ListAccesses(status=502), "status"),
        (ListAccesses(result=Result.REFUSED), "result"),
        (ListAccesses(result=Result.REFUSED, status=502), None),
        (ListAccesses(until=NOW - timedelta(days=9)), None),
        (ListAccesses(call=CALL, method=Method.DELETION), None),
        (ListAccesses(actor="' OR true --"), None),
    ):
        seen, _ = await walked(read, ask)
        assert seen == ([] if name is None else [given[name].event_id]), ask
    everything, _ = await walked(read, ListAccesses())
    assert set(everything) == {each.event_id for each in given.values()}
    (gone_on,) = [access for access in (await read.page(TENANT, ListAccesses())).accesses if access["result"] is None]
    assert gone_on["event_id"] == str(given["open"].event_id)
    assert [gone_on[name] for name in ("completed_at", "status", "bytes_sent", "reason")] == [None] * 4


async def test_a_page_that_looked_through_much_says_where_to_go_on(
    sink: PostgresSink, read: Pages, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "LOOKED_THROUGH", 10)
    given = [intent(occurred_at=NOW - timedelta(minutes=n)) for n in range(45)]
    rare = [replace(given[n], address="2001:db8::7") for n in (3, 4, 5, 31, 44)]
    first = [replace(given[n], address="2001:db8::8") for n in (10, 20, 40)]  # that the page before did not look at
    await write(sink, *{each.event_id: each for each in (*given, *rare, *first)}.values())
    assert (await walked(read, ListAccesses(limit=2, address="2001:db8::8")))[0] == [each.event_id for each in first]
    seen, sizes = await walked(read, ListAccesses(limit=2, address="2001:db8::7"))
    assert seen == [each.event_id for each in rare]
    assert len(sizes) <= 7
    assert 0 in sizes
    assert (await walked(read, ListAccesses(status=599)))[1] == [0] * 5


async def test_what_arrives_while_a_page_is_made_shows_nothing_twice(
    sink: PostgresSink, read: Pages, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "LOOKED_THROUGH", 10)
    given = [intent(occurred_at=NOW - timedelta(minutes=n)) for n in range(25)]
    rare = replace(given[9], address="2001:db8::7")
    await write(sink, *{each.event_id: each for each in (*given, rare)}.values())
    looked = pages._last_looked_at

    async def late(connection: Pooled, question: pages._Question) -> pages.Place | None:
        await write(sink, intent(occurred_at=NOW + timedelta(seconds=1)))
        return await looked(connection, question)

    monkeypatch.setattr(pages, "_last_looked_at", late)
    seen, _ = await walked(read, ListAccesses(address="2001:db8::7"))
    assert seen == [rare.event_id]


async def test_a_cursor_is_good_for_its_account_and_filters_alone(sink: PostgresSink, read: Pages):
    await write(sink, *[intent() for _ in range(3)])
    asked = ListAccesses(limit=1, call=CALL)
    cursor = (await read.page(TENANT, asked)).cursor
    assert len((await read.page(TENANT, replace(asked, limit=9, cursor=cursor))).accesses) == 2
    for tenant, ask in (
        (uuid4(), replace(asked, cursor=cursor)),
        (TENANT, ListAccesses(cursor=cursor)),
        (TENANT, replace(asked, call=RECORDING, cursor=cursor)),
        (TENANT, replace(asked, cursor="A" * 40)),
    ):
        with pytest.raises(Malformed):
            await read.page(tenant, ask)


async def test_only_months_that_can_hold_it_are_looked_at(sink: PostgresSink, pool: Pool):
    await write(sink, intent(), intent(occurred_at=NOW - timedelta(days=95)))
    since, until = NOW - timedelta(days=2), NOW + timedelta(days=1)
    for ask, after in (
        (ListAccesses(since=since, until=until), None),
        (ListAccesses(since=since), (NOW, uuid4())),
    ):
        question = pages._Question(TENANT, ask, after)
        async with pool.acquire() as connection:
            plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + question.page(), *question.values))
        looked_at = {name for name in (f"access_events_{month:%Y_%m}" for month in _months()) if f"{name} " in plan}
        assert looked_at <= {f"access_events_{month:%Y_%m}" for month in (since, NOW, until)}, plan


def _months() -> list[datetime]:
    return [NOW - timedelta(days=15 * n) for n in range(-8, 10)]
