"""Links on record: counted alike by every replica, dead from the moment they are taken back, kept by the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from asyncpg.exceptions import InsufficientPrivilegeError, RestrictViolationError
from parts.catalog import Replica, a_ready_call, replica
from parts.clock import Clock
from parts.postgres import Databases, StoppablePostgres

from gateway.asks.links import ListLinks, RevokeLink
from gateway.catalog import links
from gateway.catalog.links import TIDIED_S, LinkBook
from gateway.catalog.registry import Registry
from gateway.config import Database
from gateway.errors import LinkUsedUp, NotFound, Unavailable
from gateway.model import BY_LINK, CallRef, IssuedLink, LinkUse, Tenant
from gateway.postgres import Connection, Pool, connect, open_pool

IDLE_S = 300.0
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@asynccontextmanager
async def books(url: str, count: int = 1) -> AsyncIterator[list[LinkBook]]:
    """Of so many replicas, each with a pool of its own."""
    place = Database(url=url)
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            pool = await open_pool(place)
            stack.push_async_callback(pool.close)
            made.append(LinkBook(pool, place, idle_s=IDLE_S, clock=Clock()))
            stack.push_async_callback(made[-1].close)
        yield made


@pytest.fixture
async def book(database: str) -> AsyncIterator[LinkBook]:
    async with books(database) as (made,):
        yield made


@pytest.fixture
async def call(registry: Registry, acme: Tenant) -> UUID:
    return await a_ready_call(registry, acme.id)


def a_link(acme: Tenant, call: UUID, *, ends: timedelta = timedelta(hours=1), **row: Any) -> IssuedLink:
    now = datetime.now(UTC)
    return IssuedLink(uuid4(), acme.id, call, now, "a key", now + ends, **row)


async def test_a_link_is_found_as_it_was_written(book: LinkBook, one: Replica, acme: Tenant, call: UUID):
    for row in ({}, {"max_uses": 2}, {"network": ip_network("10.0.0.0/8")}, {"network": ip_network("2001:db8::/32")}):
        link = a_link(acme, call, **row)
        await book.add(link)
        assert await one.cached.link(link.id) == link
    assert await one.cached.link(uuid4()) is None


# --- uses ---------------------------------------------------------------------------------------------------------------


async def test_replicas_that_count_at_once_let_exactly_so_many_play(
    database: str, owner: Connection, acme: Tenant, call: UUID
):
    """All of them have looked, or wait to, before the first may count."""
    link = a_link(acme, call, max_uses=3)
    async with books(database, 2) as both:
        await both[0].add(link)

        async def play(book: LinkBook) -> bool:
            try:
                await book.use(LinkUse(link.id, uuid4(), uuid4()))
            except LinkUsedUp:
                return False
            return True

        async with owner.transaction(), asyncio.timeout(20):
            await owner.execute("SELECT FROM links WHERE id = $1 FOR UPDATE", link.id)
            playing = [asyncio.create_task(play(both[number % 2])) for number in range(14)]
            while await owner.fetchval(WAITING) < len(playing):
                pass  # Postgres tells nobody who waits
        assert sum(await asyncio.gather(*playing)) == 3


async def test_requests_of_one_playback_are_one_use_on_every_replica(database: str, acme: Tenant, call: UUID):
    """Whether the replicas call the playback alike or not: they know its listener."""
    link, listener = a_link(acme, call, max_uses=1), uuid4()
    async with books(database, 2) as (here, there):
        await here.add(link)
        session = await here.use(LinkUse(link.id, uuid4(), listener))
        named = [session, uuid4(), uuid4()]
        told = await asyncio.gather(
            *(each.use(LinkUse(link.id, name, listener)) for name in named for each in (here, there))
        )
        assert set(told) == {session}
        with pytest.raises(LinkUsedUp):
            await there.use(LinkUse(link.id, uuid4(), uuid4()))


async def test_so_many_playbacks_are_remembered_and_those_not_heard_of_for_longest_are_forgotten(
    book: LinkBook, acme: Tenant, call: UUID, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(links, "KEPT", 2)
    link = a_link(acme, call, max_uses=3)
    await book.add(link)
    first, second, third = [LinkUse(link.id, uuid4(), uuid4()) for _ in range(3)]
    for use in (first, second, first, third):
        assert await book.use(use) == use.session
    assert list(book._playing) == [first[:2], third[:2]]


async def test_a_listener_who_comes_back_after_a_while_plays_once_more(
    database: str, owner: Connection, acme: Tenant, call: UUID
):
    link, listener = a_link(acme, call, max_uses=2), uuid4()
    async with books(database, 3) as (here, there, elsewhere):
        await here.add(link)
        first = await here.use(LinkUse(link.id, uuid4(), listener))
        for ago, again in ((IDLE_S - 30, True), (IDLE_S + 1, False)):
            await owner.execute("UPDATE link_uses SET seen_at = now() - $1::interval", timedelta(seconds=ago))
            assert (await there.use(LinkUse(link.id, uuid4(), listener)) == first) == again
        assert await owner.fetchval("SELECT count(*) FROM link_uses") == 2
        for spent in (here.use, there.known):
            with pytest.raises(LinkUsedUp):
                await spent(LinkUse(link.id, uuid4(), uuid4()))
        for book in (elsewhere, here):
            assert await book.known(LinkUse(link.id, first, listener)) == first, "what was counted stays so"
            assert await book.use(LinkUse(link.id, first, listener)) == first


async def test_a_playback_once_counted_goes_on_without_the_database(database: str, acme: Tenant, call: UUID):
    place, clock, link, listener = Database(url=database), Clock(), a_link(acme, call, max_uses=2), uuid4()
    pool = await open_pool(place)
    book = LinkBook(pool, place, idle_s=IDLE_S, clock=clock)
    await book.add(link)
    session = await book.use(LinkUse(link.id, uuid4(), listener))
    await pool.close()
    for _ in range(3):
        assert await book.use(LinkUse(link.id, session, listener)) == session
        clock.now += IDLE_S / 2
    with pytest.raises(Unavailable):
        await book.use(LinkUse(link.id, uuid4(), uuid4()))
    await book.close()


async def test_a_playback_that_goes_on_is_told_of(database: str, owner: Connection, acme: Tenant, call: UUID):
    """So that other replicas know the listener still, however long it takes: by its own name, whatever it is called here."""
    place, clock, link, listener = Database(url=database), Clock(), a_link(acme, call, max_uses=1), uuid4()
    pool = await open_pool(place)
    book = LinkBook(pool, place, idle_s=IDLE_S, clock=clock)
    await book.add(link)
    session, named = await book.use(LinkUse(link.id, uuid4(), listener)), LinkUse(link.id, uuid4(), listener)
    assert await book.use(named) == session
    for passed, told in ((IDLE_S / 4, False), (IDLE_S / 4, True), (IDLE_S / 4, False)):
        await owner.execute("UPDATE link_uses SET seen_at = '2020-01-01'")
        clock.now += passed
        assert await book.use(named) == session
        await book.close()
        assert (await owner.fetchval("SELECT seen_at > '2021-01-01' FROM link_uses")) == told
    await pool.close()


async def test_a_body_on_its_way_keeps_its_playback_up_and_no_longer(monkeypatch: pytest.MonkeyPatch):
    told, clock, listener = 0, Clock(), uuid4()
    book = LinkBook(cast(Pool, None), Database(), idle_s=IDLE_S, clock=clock)
    timers: list[tuple[Callable[[], None], Mock]] = []

    async def tell(_statement: str, use: LinkUse) -> UUID:
        nonlocal told
        told += 1
        return use.session

    def call_later(_delay: float, callback: Callable[[], None]) -> Mock:
        timers.append((callback, Mock()))
        return timers[-1][1]

    monkeypatch.setattr(book, "_told", tell)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    link = uuid4()
    session = await book.use(LinkUse(link, uuid4(), listener))
    over = book.playing(LinkUse(link, session, listener))
    for times in (1, 2, 3):
        assert len(timers) == times
        clock.now += IDLE_S
        timers[-1][0]()
        await book.close()
        assert told == 1 + times
    clock.now += IDLE_S
    over()
    await book.close()
    assert told == 5, "its end counts as well"
    assert len(timers) == 4
    timers[-1][1].cancel.assert_called_once_with()


# --- taken back ---------------------------------------------------------------------------------------------------------


async def test_a_link_taken_back_is_so_whatever_is_remembered_of_it(
    database: str, book: LinkBook, acme: Tenant, call: UUID
):
    """Neither does it matter that the change was not heard yet, nor that somebody asks at the same time."""
    link = a_link(acme, call)
    await book.add(link)
    async with replica(database) as one:
        one.cached.changed = lambda _tag: None  # it hears nothing in time
        for _ in range(3):
            assert await one.cached.link(link.id) == link
        assert one.watched.asked["link"] == 3
        one.watched.answers.clear()
        before = asyncio.create_task(one.cached.link(link.id))
        await one.watched.waiting.wait()
        await book.revoke(acme.id, RevokeLink(link.id))
        one.watched.answers.set()
        after = await one.cached.link(link.id)
        assert after is not None
        assert after.revoked_at is not None
        assert await before == link, "it was read before"


async def test_a_link_remembered_is_good_while_the_database_is_away(stoppable_postgres: StoppablePostgres):
    url = await Databases(stoppable_postgres.url()).create()
    async with replica(url) as one, books(url) as (book,):
        acme = await one.registry.create_tenant("acme", "Acme")
        links = [a_link(acme, await a_ready_call(one.registry, acme.id)) for _ in range(2)]
        for link in links:
            await book.add(link)
        assert await one.cached.link(links[0].id) == links[0]
        stoppable_postgres.stop()
        assert await one.cached.link(links[0].id) == links[0]
        with pytest.raises(Unavailable):
            await one.cached.link(links[1].id)
        with pytest.raises(Unavailable):
            await book.add(a_link(acme, links[0].call))
        one.clock.now += 601
        with pytest.raises(Unavailable):
            await one.cached.link(links[0].id)


async def test_taking_back_is_for_the_own_tenant_and_once_for_all(
    book: LinkBook, one: Replica, acme: Tenant, other: Tenant, call: UUID
):
    link = a_link(acme, call)
    await book.add(link)
    for tenant, asked in ((other.id, link.id), (acme.id, uuid4())):
        with pytest.raises(NotFound):
            await book.revoke(tenant, RevokeLink(asked))
        with pytest.raises(NotFound):
            await one.cached.find(tenant, CallRef(BY_LINK, str(asked)))
    await book.revoke(acme.id, RevokeLink(link.id))
    await one.ear.hears(f"link:{link.id}")
    first = await one.cached.link(link.id)
    await book.revoke(acme.id, RevokeLink(link.id))
    assert await one.cached.link(link.id) == first
    assert (await one.cached.find(acme.id, CallRef(BY_LINK, str(link.id)))).call.id == call


async def test_live_links_are_listed_newest_first(
    book: LinkBook, registry: Registry, acme: Tenant, other: Tenant, call: UUID
):
    links = [a_link(acme, call, max_uses=uses) for uses in (None, 5, None, None)]
    links.append(a_link(acme, call, ends=timedelta(seconds=-1)))
    for link in (*links, a_link(acme, await a_ready_call(registry, acme.id))):
        await book.add(link)
    await book.revoke(acme.id, RevokeLink(links[0].id))
    for _ in range(2):
        await book.use(LinkUse(links[1].id, uuid4(), uuid4()))
    listed = await book.live(acme.id, call, ListLinks(10))
    assert [(each.link, each.uses) for each in listed] == [(links[3], 0), (links[2], 0), (links[1], 2)]
    assert [each.link for each in await book.live(acme.id, call, ListLinks(1))] == [links[3]]
    assert await book.live(other.id, call, ListLinks(10)) == []


async def test_what_is_long_over_is_forgotten_with_its_uses(database: str, owner: Connection, acme: Tenant, call: UUID):
    place, clock = Database(url=database), Clock()
    pool = await open_pool(place)
    book = LinkBook(pool, place, idle_s=IDLE_S, clock=clock)
    old, kept = (a_link(acme, call, ends=-timedelta(days=days), max_uses=1) for days in (31, 29))
    for link in (kept, old):
        await book.add(link)
        await book.close()
        await owner.execute("INSERT INTO link_uses (link_id, session, listener) VALUES ($1, $1, $1)", link.id)
    for passed, left in ((TIDIED_S - 1, 2), (1, 1)):
        clock.now += passed
        await book.add(a_link(acme, call))
        await book.close()
        assert await owner.fetchval("SELECT count(*) FROM link_uses") == left
    assert await owner.fetchval("SELECT count(*) FROM links WHERE id = ANY($1)", [old.id, kept.id]) == 1
    await pool.close()


# --- what the database refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM links",
        "TRUNCATE links CASCADE",
        "UPDATE links SET max_uses = NULL",
        "UPDATE links SET expires_at = now() + interval '1 year'",
        "UPDATE links SET ip_cidr = NULL",
        "DELETE FROM link_uses",
        "UPDATE link_uses SET link_id = gen_random_uuid()",
        "INSERT INTO link_uses (link_id, session, listener) SELECT id, id, id FROM links",
    ],
)
async def test_the_service_itself_can_lengthen_no_link(
    database: str, book: LinkBook, acme: Tenant, call: UUID, statement: str
):
    link = a_link(acme, call, max_uses=1, network=ip_network("10.0.0.0/8"))
    await book.add(link)
    await book.use(LinkUse(link.id, uuid4(), uuid4()))
    service = await connect(Database(url=database))
    with pytest.raises(InsufficientPrivilegeError):
        await service.execute(statement)
    await service.close()


async def test_nobody_takes_a_revocation_back(
    database: str, owner: Connection, book: LinkBook, acme: Tenant, call: UUID
):
    link = a_link(acme, call)
    await book.add(link)
    await book.revoke(acme.id, RevokeLink(link.id))
    service = await connect(Database(url=database))
    for connection in (service, owner):
        for value in ("NULL", "now() + interval '1 day'"):
            with pytest.raises(RestrictViolationError):
                await connection.execute(f"UPDATE links SET revoked_at = {value}")
    await service.close()
