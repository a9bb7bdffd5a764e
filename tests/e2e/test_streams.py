"""Bodies at once: who is turned away when the places are taken, in which words, and that each place comes free again."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from uuid import UUID

import pytest
from parts.contracts import MOVING, Cast, assert_worded
from parts.drinker import Client
from parts.faults import Fault, FaultProxy, Kind
from parts.house import Filed, House, Office, some_bytes
from parts.scrape import scrape, settled
from parts.stage import Stage
from parts.wire import Answer, Wire

from gateway.demo.ports import free_ports

BOTH_WAYS = True

LONG = some_bytes(8_000_000)
KEY = "streams/long.wav"
IN_ALL, PER_TENANT, PER_ADDRESS = 6, 3, 4
_addresses = (f"198.18.{n // 250}.{n % 250 + 1}" for n in count())
_tenants = (f"streams-{n}" for n in count())

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Listener:
    """A tenant's key, and a call of his."""

    tenant: UUID
    key: Fields
    call: Filed


@dataclass
class Narrow:
    """A gateway with few places, whose store is reached over ``proxy`` while that is there."""

    stage: Stage
    house: House
    door: int
    metrics: int

    @asynccontextmanager
    async def ajar(self) -> AsyncIterator[FaultProxy]:
        """All places are free when it is over."""
        proxy = FaultProxy(int(self.stage.stores["s3"]["endpoint"].rpartition(":")[2]))
        proxy.port = self.door
        async with proxy:
            yield proxy
            await self.quiet()

    async def quiet(self) -> None:
        """Once no request is being answered."""
        await settled(self.metrics, lambda figures: figures.sum("requests_in_flight") == 0)

    async def listener(self, tenant: UUID | None = None) -> Listener:
        """Of a tenant of its own, unless one is named."""
        slug = next(_tenants) + ("" if self.stage.sections["server"]["zero_copy"] else "-portable")
        tenant = tenant or await self.stage.office.tenant(slug)
        office = Office(self.stage.database_url, {"behind": self.stage.stores["s3"]})
        call = await office.file(tenant, "behind", KEY, LONG)
        return Listener(tenant, await self.stage.key(tenant=tenant), call)

    async def begin(self, path: str, fields: Fields, address: str = "", **more: str) -> Client:
        """Asks, and reads the head of the answer and no more."""
        told = {"X-Forwarded-For": address or next(_addresses), **fields, **more}
        client = await Client.ask(self.house.base_url, path, told, receive_buffer=4096)
        await client.head()
        return client

    async def ask(self, method: str, path: str, fields: Fields, address: str = "", **more: str) -> Answer:
        """One whole answer."""
        told = {"X-Forwarded-For": address or next(_addresses), **fields, **more}

        def asked() -> Answer:
            with Wire(self.house.base_url) as wire:
                return wire.ask(method, path, told.items())

        return await asyncio.to_thread(asked)


@pytest.fixture(scope="module")
def narrow(stage: Stage) -> Iterator[Narrow]:
    door, metrics = free_ports(2)
    stage.shelves["s3"].put(KEY, LONG)
    house = stage.another(
        stage.stores | {"behind": stage.stores["s3"] | {"endpoint": f"http://127.0.0.1:{door}"}},
        limits={"streams": IN_ALL, "streams_per_tenant": PER_TENANT, "streams_per_address": PER_ADDRESS},
        server={"trusted_proxies": ["127.0.0.0/8"], "send_buffer_bytes": 65_536},
        origin={"connect_s": 1, "first_byte_s": 5},
        metrics={"port": metrics},
    )
    yield Narrow(stage, house, door, metrics)
    house.stop()


async def hold(
    held: AsyncExitStack, narrow: Narrow, who: Listener, number: int, address: str = "", **more: str
) -> list[Client]:
    """So many slow readers, each with a place."""
    readers = []
    for _ in range(number):
        reader = await narrow.begin(who.call.native, who.key, address, **more)
        held.push_async_exit(reader)
        assert reader.status in {200, 206}
        readers.append(reader)
    return readers


async def leave(reader: Client, proxy: FaultProxy) -> None:
    """Amid the body; once the store has been left as well."""
    connected = proxy.open
    reader.raw.close()
    await proxy.until(lambda seen: seen.open < connected)


def limits_of(policy: str, quota: int) -> dict[str, str]:
    return {
        "retry-after": "5",
        "ratelimit": f'"{policy}";r=0',
        "ratelimit-policy": f'"{policy}";q={quota};qu="concurrent-requests"',
    }


async def test_when_all_places_are_taken_each_surface_says_503_and_asks_no_store(narrow: Narrow, cast: Cast):
    mine = await narrow.listener(cast.tenants["own"])
    async with narrow.ajar() as proxy, AsyncExitStack() as held:
        first, *_ = await hold(held, narrow, await narrow.listener(), PER_TENANT)
        await hold(held, narrow, await narrow.listener(), IN_ALL - PER_TENANT)
        before = (proxy.total, len(proxy.heads))
        for surface, path in MOVING.items():
            place = path.format({"native": mine.call.id, **mine.call.aliases}[surface])
            answer = await narrow.ask("GET", place, cast.credentials[surface]["full"])
            assert answer.status == 503
            assert_worded(surface, answer, "GET", code="overloaded", extra={"retry-after": "5"})
        assert (proxy.total, len(proxy.heads)) == before
        assert (await narrow.ask("GET", "/readyz", {})).status == 200, "an overload is no outage"
        await leave(first, proxy)
        await hold(held, narrow, mine, 1)
    figures = await asyncio.to_thread(scrape, narrow.metrics)
    assert figures.sum("streams_refused_total", policy="streams") >= len(MOVING)
    assert figures.sum("streams_max") == IN_ALL
    *refused, served = await narrow.stage.accesses("call", mine.call.id, len(MOVING) + 1)
    told = {(row["surface"], row["status"], row["reason"], row["result"]) for row in refused}
    assert told == {(surface, 503, "too_many_streams", "refused") for surface in MOVING}
    assert served["status"] == 200


async def test_a_tenants_own_bound_is_told_as_429_in_each_surfaces_words_and_concerns_nobody_else(
    narrow: Narrow, cast: Cast
):
    mine, other = await narrow.listener(cast.tenants["own"]), await narrow.listener()
    async with narrow.ajar() as proxy, AsyncExitStack() as held:
        first, *_ = await hold(held, narrow, mine, PER_TENANT)
        before = (proxy.total, len(proxy.heads))
        for surface, path in MOVING.items():
            place = path.format({"native": mine.call.id, **mine.call.aliases}[surface])
            answer = await narrow.ask("GET", place, cast.credentials[surface]["full"])
            assert answer.status == 429
            told = limits_of("streams_per_tenant", PER_TENANT)
            assert_worded(surface, answer, "GET", code="streams_limited", extra=told)
        assert (proxy.total, len(proxy.heads)) == before
        await hold(held, narrow, other, 1)
        await leave(first, proxy)
        await hold(held, narrow, mine, 1)


async def test_an_address_is_bounded_over_all_tenants_and_a_public_download_counts_as_well(narrow: Narrow, cast: Cast):
    public, other = await narrow.listener(cast.tenants["own"]), await narrow.listener()
    near, far = "2001:db8:5:5::1", "2001:db8:5:6::1"
    path = MOVING["agentphone"].format(public.call.aliases["agentphone"])
    async with narrow.ajar() as proxy, AsyncExitStack() as held:
        await hold(held, narrow, other, 2, near)
        for host in range(2, 4):
            reader = await narrow.begin(path, {}, f"2001:db8:5:5::{host}")
            held.push_async_exit(reader)
            assert reader.status == 200
        before = proxy.total
        answer = await narrow.ask("GET", path, {}, "2001:db8:5:5:ffff::9")
        told = limits_of("streams_per_address", PER_ADDRESS)
        assert_worded("agentphone", answer, "GET", code=None, extra=told)
        assert answer.status == 429
        assert proxy.total == before
        await hold(held, narrow, other, 1, far)
        await hold(held, narrow, public, 1, far)
        third = await narrow.ask("GET", path, {}, "2001:db8:5:7::1")
        assert third.status == 429
        assert third.get("RateLimit") == '"streams_per_tenant";r=0', (
            "two public ones and his own are the tenant's three"
        )


async def test_what_has_no_body_needs_no_place(narrow: Narrow):
    who = await narrow.listener()
    async with narrow.ajar(), AsyncExitStack() as held:
        await hold(held, narrow, who, PER_TENANT)
        for method, more, status in (
            ("HEAD", {}, 200),
            ("GET", {"If-None-Match": who.call.etag}, 304),
            ("GET", {"If-Match": '"another"'}, 412),
            ("GET", {"Range": f"bytes={len(LONG)}-"}, 416),
            ("GET", {"Range": "bytes=0-0"}, 429),
        ):
            assert (await narrow.ask(method, who.call.native, who.key, **more)).status == status
        assert (await narrow.ask("GET", f"/v1/recordings/{who.call.id}", who.key)).status == 200


async def test_several_ranges_are_one_body(narrow: Narrow):
    who = await narrow.listener()
    async with narrow.ajar(), AsyncExitStack() as held:
        for reader in await hold(held, narrow, who, PER_TENANT, Range="bytes=0-3999999,4500000-7999999"):
            assert reader.fields["content-type"].startswith("multipart/byteranges")
        assert (await narrow.ask("GET", who.call.native, who.key, Range="bytes=0-0")).status == 429


@pytest.mark.parametrize("way", ["close", "read to the end"])
async def test_a_place_comes_free_however_the_body_ends(narrow: Narrow, way: str):
    who = await narrow.listener()
    async with narrow.ajar(), AsyncExitStack() as held:
        for _ in range(3):
            readers = await hold(held, narrow, who, PER_TENANT)
            assert (await narrow.ask("GET", who.call.native, who.key)).status == 429
            for reader in readers:
                if way == "close":
                    reader.raw.close()
                else:
                    await reader.exactly(len(LONG))
            await narrow.quiet()


async def test_a_store_that_cannot_be_reached_takes_no_place(narrow: Narrow):
    who = await narrow.listener()
    async with narrow.ajar() as proxy, AsyncExitStack() as held:
        await proxy.refuse()
        for _ in range(2 * IN_ALL):
            assert (await narrow.ask("GET", who.call.native, who.key)).status == 503
        await proxy.accept()
        await hold(held, narrow, who, PER_TENANT)


async def test_places_that_a_silent_store_holds_are_told_as_taken(narrow: Narrow):
    who, others = await narrow.listener(), await narrow.listener()
    async with narrow.ajar() as proxy, AsyncExitStack() as held:
        proxy.always(Fault(Kind.STALL, at=-1))
        for fields in [who.key] * PER_TENANT + [others.key] * (IN_ALL - PER_TENANT):
            call = who.call if fields is who.key else others.call
            told = {"X-Forwarded-For": next(_addresses), **fields}
            await held.enter_async_context(await Client.ask(narrow.house.base_url, call.native, told))
        await proxy.until(lambda seen: len(seen.struck) == IN_ALL)
        figures = await asyncio.to_thread(scrape, narrow.metrics)
    assert (figures.sum("streams_in_flight"), figures.sum("streams_max")) == (IN_ALL, IN_ALL)


async def test_a_flood_of_the_same_refusal_leaves_one_event_and_another_caller_his_own(narrow: Narrow):
    who, address, other = await narrow.listener(), next(_addresses), next(_addresses)
    async with narrow.ajar(), AsyncExitStack() as held:
        await hold(held, narrow, who, PER_TENANT)
        for _ in range(50):
            assert (await narrow.ask("GET", who.call.native, who.key, address)).status == 429
        assert (await narrow.ask("GET", who.call.native, who.key, other)).status == 429
        # What is shipped is shipped in order: once this one is there, so is all that was recorded before it.
        assert (await narrow.ask("HEAD", who.call.native, who.key, address)).status == 200
    (refused, _) = await narrow.stage.accesses("address", address, 2)
    assert (refused["status"], refused["reason"], refused["result"]) == (429, "streams_limited", "refused")
    assert (refused["tenant"], refused["call"], refused["actor_kind"]) == (who.tenant, who.call.id, "api_key")
    (his,) = await narrow.stage.accesses("address", other, 1)
    assert his["reason"] == "streams_limited"


async def test_after_a_thousand_streams_begun_aborted_and_finished_every_place_is_free(narrow: Narrow):
    chance = random.Random(7)
    who, other = await narrow.listener(), await narrow.listener()
    statuses: dict[int, int] = {}

    async def one(kind: float, place: int, proxy: FaultProxy) -> None:
        async with await Client.connect(narrow.house.base_url, receive_buffer=4096) as client:
            told = {"X-Forwarded-For": next(_addresses), **who.key}
            if kind < 0.5:
                told["Range"] = f"bytes={place}-{place + 999}"
            if kind > 0.9:
                proxy.plan(Fault(Kind.RESET, at=chance.choice([-1, 0, 5000])))
            await client.request(who.call.native, told)
            if kind < 0.6 or kind > 0.8:
                status = await client.head()
                statuses[status] = statuses.get(status, 0) + 1
                if status == 206:
                    await client.exactly(1000)

    async with narrow.ajar() as proxy:
        for _ in range(250):
            chosen = [(chance.random(), chance.randrange(len(LONG) - 1000)) for _ in range(4)]
            await asyncio.gather(*(one(kind, place, proxy) for kind, place in chosen))
        proxy.forget()
        await narrow.quiet()
        assert statuses[206] > 100 and statuses[200] > 20 and statuses[429] > 5, statuses
        async with AsyncExitStack() as held:
            await hold(held, narrow, who, PER_TENANT)
            assert (await narrow.ask("GET", who.call.native, who.key)).status == 429
            await hold(held, narrow, other, IN_ALL - PER_TENANT)
            assert (await narrow.ask("GET", (third := await narrow.listener()).call.native, third.key)).status == 503
