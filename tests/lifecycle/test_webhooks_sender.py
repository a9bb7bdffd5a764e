"""The sender's own end of a lease: what it does when a try hangs, breaks, or the process stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from parts.catalog import a_ready_call
from pydantic import SecretStr

from gateway.asks.webhooks import Delivery, DeliveryState, Endpoint, ListDeliveries
from gateway.catalog.registry import Registry
from gateway.catalog.webhooks import WebhookBook
from gateway.config import Database, Webhooks
from gateway.lifecycle.webhooks.queue import Queue
from gateway.lifecycle.webhooks.schedule import Tried
from gateway.lifecycle.webhooks.sender import Sender, lease_s
from gateway.lifecycle.webhooks.signing import Sealer, mint_secret
from gateway.postgres import open_pool

SETTINGS = Webhooks(connect_s=0.05, answer_s=0.05, poll_s=0.05, schedule_s=(60,), per_endpoint=1)
TAKEN = Tried(datetime(2026, 11, 2, tzinfo=UTC), 7, 200, None)


@dataclass
class Post:
    """In place of a Poster: does as told, and tells of each try that begins."""

    do: Callable[[], Awaitable[Tried]]
    begun: asyncio.Queue[Mapping[str, str]] = field(default_factory=asyncio.Queue)
    """The headers of each."""

    async def post(self, _url: str, _body: bytes, headers: Mapping[str, str]) -> Tried:
        self.begun.put_nowait(headers)
        return await self.do()


@dataclass(frozen=True)
class Office:
    """A tenant with one endpoint and one event."""

    queue: Queue
    log: Callable[[], Awaitable[Delivery]]
    endpoint: Callable[[], Awaitable[Endpoint]]
    rotate: Callable[[str], Awaitable[object]]
    switch_off: Callable[[], Awaitable[object]]
    """As while an event is being written: what is owed stays."""

    @asynccontextmanager
    async def sending(self, do: Callable[[], Awaitable[Tried]], *keys: str) -> AsyncIterator[Post]:
        post: Any = Post(do)
        async with Sender(self.queue, post, Sealer(keys), SETTINGS):
            yield post

    async def logged(self, there: Callable[[Delivery], bool]) -> Delivery:
        async with asyncio.timeout(10):
            while True:
                delivery = await self.log()
                if there(delivery):
                    return delivery
                await asyncio.sleep(0.01)  # nobody tells of what is written into the log


@pytest.fixture
async def office(database: str) -> AsyncIterator[Office]:
    settings = Database(url=SecretStr(database))
    pool = await open_pool(settings)
    registry, book = Registry(pool, settings), WebhookBook(pool, settings)
    tenant = (await registry.create_tenant("acme", "Acme")).id
    endpoint = await book.add(tenant, "https://hooks.example.com/", "", mint_secret(), at_most=1)
    await a_ready_call(registry, tenant, yotel="call_1")

    async def log() -> Delivery:
        (delivery,) = (await book.deliveries(tenant, ListDeliveries(endpoint.id))).deliveries
        return delivery

    async def switch_off() -> str:
        return await pool.execute("UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'asked'")

    async def rotate(secret: str) -> Endpoint:
        return await book.rotate(tenant, endpoint.id, secret, overlap_s=3600)

    async def shown() -> Endpoint:
        return await book.one(tenant, endpoint.id)

    yield Office(Queue(pool, settings, lease_s=lease_s(SETTINGS)), log, shown, rotate, switch_off)
    await pool.close()


async def hang() -> Tried:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_try_that_hangs_is_over_before_its_lease_is(office: Office):
    async with office.sending(hang) as post:
        await post.begun.get()
        delivery = await office.logged(lambda delivery: bool(delivery.attempts))
    assert delivery.attempts[0].took_ms / 1000 < lease_s(SETTINGS)
    assert (delivery.state, delivery.attempts[0].error) == (DeliveryState.PENDING, "timed_out")
    assert len(delivery.attempts) == 1


async def test_what_is_under_way_at_the_end_is_given_back(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.lifecycle.webhooks.sender._STOP_S", 0.01)
    async with office.sending(hang) as post:
        await post.begun.get()
    (due,) = await office.queue.take(1, {}, failing=False, each=1)
    assert due.attempt == 2


async def test_what_ends_in_time_is_waited_for_at_the_end(office: Office):
    closing = asyncio.Event()

    async def slow() -> Tried:
        await closing.wait()
        return TAKEN

    async with office.sending(slow) as post:
        await post.begun.get()
        asyncio.get_running_loop().call_later(0.05, closing.set)
    assert (await office.log()).state is DeliveryState.DELIVERED


async def test_what_is_owed_to_an_endpoint_that_is_off_by_now_is_dropped_and_not_sent(office: Office):
    await office.switch_off()
    async with office.sending(hang) as post:
        await office.logged(lambda delivery: delivery.state is DeliveryState.DROPPED)
        assert post.begun.empty()


async def test_a_defect_costs_a_lease_and_not_the_sender(office: Office):
    tries = iter([RuntimeError("a defect")])

    async def broken_once() -> Tried:
        for defect in tries:
            raise defect
        return TAKEN

    async with office.sending(broken_once) as post:
        await post.begun.get()
        delivery = await office.logged(lambda delivery: delivery.state is DeliveryState.DELIVERED)
    assert [attempt.number for attempt in delivery.attempts] == [2]


async def test_a_former_secret_whose_key_is_gone_keeps_the_present_one_from_nothing(office: Office):
    async def taken() -> Tried:
        return TAKEN

    secret = mint_secret()
    await office.rotate(Sealer(["o" * 32]).seal(mint_secret()))
    await office.rotate(Sealer(["n" * 32]).seal(secret))
    async with office.sending(taken, "n" * 32) as post:
        headers = await post.begun.get()
        await office.logged(lambda delivery: delivery.state is DeliveryState.DELIVERED)
    assert len(headers["webhook-signature"].split()) == 1


async def test_a_present_secret_whose_key_is_gone_leaves_nothing_to_the_former(office: Office):
    await office.rotate(Sealer(["n" * 32]).seal(mint_secret()))
    async with office.sending(hang, "o" * 32) as post:
        delivery = await office.logged(lambda delivery: bool(delivery.attempts))
        assert post.begun.empty()
    assert delivery.attempts[0].error == "defect"
    assert (await office.endpoint()).failing_since is None, "it was not asked"
