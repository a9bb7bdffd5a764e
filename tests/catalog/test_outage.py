"""Postgres gone, frozen, and back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self, cast
from uuid import UUID, uuid4

import pytest
from parts.catalog import Replica, a_ready_call, an_object, by_id, replica
from parts.clock import Clock
from parts.postgres import Databases, StoppablePostgres

from gateway.catalog.cache import CachedCatalog
from gateway.catalog.listener import Listener
from gateway.config import Catalog as Settings
from gateway.config import Database
from gateway.errors import NotFound, Unavailable
from gateway.model import CallRef, Catalog, Entry, Listing, Page, Tenant, Transcript
from gateway.postgres import Connection, connect

STALE_S = 600
QUERY_S = 2.5


Away = tuple[Replica, Tenant, UUID]


@asynccontextmanager
async def remembering(server: StoppablePostgres, **impatience: Any) -> AsyncIterator[Away]:
    """A replica that remembers a call and its tenant, on a server that can be taken away."""
    url = await Databases(server.url()).create()
    settings = Settings(stale_s=STALE_S)
    async with replica(url, settings=settings, **impatience) as one:
        acme = await one.registry.create_tenant("acme", "Acme")
        call = await a_ready_call(one.registry, acme.id, yotel="yt-1")
        await one.settle()
        await one.cached.find(acme.id, by_id(call))
        await one.cached.tenant("acme")
        one.watched.asked.clear()
        yield one, acme, call


@pytest.fixture
async def away(stoppable_postgres: StoppablePostgres) -> AsyncIterator[Away]:
    async with remembering(stoppable_postgres) as made:
        yield made


async def is_unavailable(one: Replica, tenant: UUID) -> bool:
    """Of an id that nothing is remembered of."""
    with pytest.raises(Unavailable) as caught:
        await one.cached.find(tenant, by_id(uuid4()))
    return caught.value.retry_after is not None


@pytest.mark.parametrize(("mode", "heard_s"), [("immediate", 0), ("fast", 10 * STALE_S)])
async def test_while_postgres_is_stopped_what_is_remembered_is_served_for_its_time(
    away: Away, stoppable_postgres: StoppablePostgres, mode: str, heard_s: float
):
    """Which counts from when it was last known to be true: after ``heard_s`` in which no change of it was heard."""
    one, acme, call = away
    begun = one.clock.now = one.clock.now + heard_s
    await asyncio.to_thread(stoppable_postgres.stop, mode)
    await one.ear.hears("lost")
    for passed in (0, STALE_S - 1, STALE_S):
        one.clock.now = begun + passed
        assert (await one.cached.find(acme.id, by_id(call))).call.id == call
        assert await one.cached.tenant("acme") == acme
        assert await is_unavailable(one, acme.id)
        with pytest.raises(Unavailable):
            await one.cached.list(acme.id, Listing())
        # Remembered under one name is not remembered under all.
        with pytest.raises(Unavailable):
            await one.cached.find(acme.id, CallRef("yotel", "yt-1"))
    one.clock.now = begun + STALE_S + 1
    for _ in range(2):
        with pytest.raises(Unavailable):
            await one.cached.find(acme.id, by_id(call))
        with pytest.raises(Unavailable):
            await one.cached.tenant("acme")


async def test_when_postgres_is_back_so_is_everything(away: Away, stoppable_postgres: StoppablePostgres):
    one, acme, call = away
    await asyncio.to_thread(stoppable_postgres.stop)
    await one.ear.hears("lost")
    assert await is_unavailable(one, acme.id)
    await asyncio.to_thread(stoppable_postgres.start)
    await one.ear.hears("restored")
    one.watched.asked.clear()
    with pytest.raises(NotFound):
        await one.cached.find(acme.id, by_id(uuid4()))
    for _ in range(3):
        await one.cached.find(acme.id, by_id(call))
    assert one.watched.asked["find"] == 2
    one.ear.forget()
    await one.registry.mark_ready(acme.id, call, an_object(version="v2"))
    await one.ear.hears(f"call:{call}")
    entry = await one.cached.find(acme.id, by_id(call))
    assert entry.recording is not None
    assert entry.recording.object == an_object(version="v2")


async def test_after_a_failure_one_goes_ahead_and_the_others_are_told_at_once(
    away: Away, stoppable_postgres: StoppablePostgres
):
    one, acme, call = away
    await asyncio.to_thread(stoppable_postgres.stop)
    await one.ear.hears("lost")
    assert await is_unavailable(one, acme.id)
    for second in range(1, 4):
        one.watched.asked.clear()
        one.clock.now = 1000 + second
        answers = await asyncio.gather(*(is_unavailable(one, acme.id) for _ in range(100)))
        assert all(answers)
        assert one.watched.asked["find"] == 1
        assert (await one.cached.find(acme.id, by_id(call))).call.id == call
        assert one.watched.asked["find"] == 1


async def test_a_frozen_postgres_is_noticed_and_holds_nobody_up_for_long(stoppable_postgres: StoppablePostgres):
    impatience = {"clock": time.monotonic, "probe_s": 0.3, "connect_s": 0.5, "query_s": QUERY_S}
    async with remembering(stoppable_postgres, **impatience) as (one, acme, call):
        with stoppable_postgres.frozen():
            # Its connections stay open: only the probe that isn't answered tells.
            await one.ear.hears("lost")
            began = time.monotonic()
            for _ in range(5):
                assert (await one.cached.find(acme.id, by_id(call))).call.id == call
                assert await one.cached.tenant("acme") == acme
            # The first of them waited for a moment, and not for the query's whole time.
            assert time.monotonic() - began < QUERY_S
            assert all(await asyncio.gather(*(is_unavailable(one, acme.id) for _ in range(50))))
            assert time.monotonic() - began < 3 * QUERY_S
        await one.ear.hears("restored")
        await one.cached.find(acme.id, by_id(call))
        assert await one.cached.tenant("acme") == acme


async def test_a_line_that_falls_silent_before_it_listens_is_given_up_for_another(
    stoppable_postgres: StoppablePostgres,
):
    place = Database(url=await Databases(stoppable_postgres.url()).create(), connect_s=0.5)
    given_up = asyncio.Event()

    async def connecting() -> Connection:
        connection = await connect(place)
        if not given_up.is_set():
            connection.add_termination_listener(lambda _: given_up.set())
            stoppable_postgres.pause()
        return connection

    url = place.url.get_secret_value()
    async with replica(url, listens=False) as one, Listener(connecting, one.ear, probe_s=0.3):
        try:
            await asyncio.wait_for(given_up.wait(), 20)
        finally:
            stoppable_postgres.resume()
        await one.ear.hears("restored")


class Firewall:
    """Before ``port`` on loopback. What it forgets stays open and carries nothing any more; new connections pass."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._passing: set[asyncio.StreamWriter] = set()
        self._all: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._all:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._all), return_exceptions=True)

    def forget(self) -> None:
        self._passing.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._all |= {writer, up_writer}
        self._passing |= {writer, up_writer}
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                if writer in self._passing:
                    writer.write(piece)
        if writer in self._passing:
            writer.close()


async def test_connections_that_a_firewall_forgot_cost_no_question_once_changes_are_heard_again(
    stoppable_postgres: StoppablePostgres,
):
    url = await Databases(stoppable_postgres.url()).create()
    async with Firewall(stoppable_postgres.port) as firewall:
        url = url.replace(f":{stoppable_postgres.port}/", f":{firewall.port}/")
        async with replica(url, probe_s=0.3, connect_s=5, query_s=5, pool_max=4) as one:
            async with AsyncExitStack() as held:
                for _ in range(4):
                    await held.enter_async_context(one.pool.acquire())
            assert one.pool.get_idle_size() == 4
            firewall.forget()
            await one.ear.hears("restored")
            for _ in range(4):
                with pytest.raises(NotFound):
                    await one.cached.find(uuid4(), by_id(uuid4()))


async def test_a_gateway_that_starts_while_postgres_is_away_recovers_by_itself(stoppable_postgres: StoppablePostgres):
    url = await Databases(stoppable_postgres.url()).create()
    stoppable_postgres.stop()
    async with replica(url, listens=False) as one:
        with pytest.raises(Unavailable):
            await one.cached.tenant("acme")
        await asyncio.to_thread(stoppable_postgres.start)
        one.clock.now += 1
        assert await one.cached.tenant("acme") is None


async def test_answers_are_counted_by_where_they_came_from(away: Away, stoppable_postgres: StoppablePostgres):
    one, acme, call = away
    calls = one.cached.shelves["calls"]
    hits, misses = calls.hits, calls.misses
    for _ in range(3):
        await one.cached.find(acme.id, by_id(call))
    with pytest.raises(NotFound):
        await one.cached.find(acme.id, by_id(uuid4()))
    assert (calls.hits - hits, calls.stale, calls.misses - misses, len(calls)) == (3, 0, 1, 1)
    await asyncio.to_thread(stoppable_postgres.stop)
    await one.ear.hears("lost")
    for _ in range(2):
        await one.cached.find(acme.id, by_id(call))
    assert await is_unavailable(one, acme.id)
    assert (calls.hits - hits, calls.stale, calls.misses - misses) == (3, 2, 2)


class Asked:
    """A catalog that is asked here, and answers as a test wills."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[Entry]] = {}

    async def find(self, _tenant: UUID | None, ref: CallRef) -> Entry:
        self.asked[ref.id] = answer = asyncio.get_running_loop().create_future()
        return await answer

    async def fail(self, ref: CallRef, error: Exception) -> None:
        self.asked.pop(ref.id).set_exception(error)
        await _turns()


async def _turns() -> None:
    """Enough for whoever is about to do something, and waits for nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_whoever_comes_as_a_question_fails_does_not_close_the_line_for_good():
    clock, behind = Clock(), Asked()
    cached = CachedCatalog(cast("Catalog", behind), Settings(), clock=clock)
    cached.restored()
    tenant, one, answered, cut = uuid4(), by_id(uuid4()), by_id(uuid4()), by_id(uuid4())

    async def ask(ref: CallRef) -> asyncio.Task[Entry]:
        asking = asyncio.ensure_future(cached.find(tenant, ref))
        await _turns()
        clock.now += 0.1
        return asking

    asking = [await ask(one), await ask(answered)]
    await behind.fail(answered, NotFound())
    asking.append(await ask(cut))
    await behind.fail(cut, Unavailable("cut"))
    clock.now += 2  # the pause is over
    behind.asked.pop(one.id).set_exception(Unavailable("no answer"))
    asking.append(asyncio.ensure_future(cached.find(tenant, one)))  # in the same turn of the loop
    await _turns()
    await behind.fail(one, Unavailable("no answer"))  # which it was asked anew for
    await asyncio.gather(*asking, return_exceptions=True)
    clock.now += 60
    late = await ask(one)
    await behind.fail(one, NotFound())
    with pytest.raises(NotFound):
        await late


async def test_once_it_answers_again_as_many_may_ask_as_will():
    clock, behind = Clock(), Asked()
    cached = CachedCatalog(cast("Catalog", behind), Settings(), clock=clock)
    tenant, refs = uuid4(), [by_id(uuid4()) for _ in range(3)]
    for answer in (Unavailable("away"), NotFound()):
        asking = asyncio.ensure_future(cached.find(tenant, refs[0]))
        await _turns()
        await behind.fail(refs[0], answer)
        with pytest.raises(type(answer)):
            await asking
        clock.now += 2  # a pause is over
    together = [asyncio.ensure_future(cached.find(tenant, ref)) for ref in refs]
    await _turns()
    assert list(behind.asked) == [ref.id for ref in refs]
    for ref in refs:
        await behind.fail(ref, NotFound())
    await asyncio.gather(*together, return_exceptions=True)


class Unanswering:
    """A catalog that never answers, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def transcript(self, _tenant: UUID, _call: UUID) -> Transcript | None:
        self.asked += 1
        raise Unavailable("away")

    async def list(self, _tenant: UUID, _listing: Listing) -> Page:
        self.asked += 1
        raise Unavailable("away")


@pytest.mark.parametrize(
    "ask",
    [lambda cached: cached.list(uuid4(), Listing()), lambda cached: cached.transcript(uuid4(), uuid4())],
    ids=["listing", "transcript"],
)
async def test_what_is_never_remembered_waits_for_no_postgres_that_was_away_a_moment_ago(
    ask: Callable[[CachedCatalog], Awaitable[object]],
):
    clock, behind = Clock(), Unanswering()
    cached = CachedCatalog(cast("Catalog", behind), Settings(), clock=clock)
    asked: list[int] = []
    for later_s in (0.0, 0.5, 0.0, 1.0, 0.5):
        clock.now += later_s
        with pytest.raises(Unavailable):
            await (ask(cached) if asked else cached.transcript(uuid4(), uuid4()))
        asked.append(behind.asked)
    assert asked == [1, 1, 1, 2, 2]
