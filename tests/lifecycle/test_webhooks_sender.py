"""The sender's own end of a lease: what it does when a try hangs, breaks, or the process stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from parts.catalog import a_ready_call
from pydantic import SecretStr
from structlog.testing import capture_logs

from gateway.asks.webhooks import Delivery, DeliveryState, Endpoint, ListDeliveries, Redeliver
from gateway.catalog.registry import Registry
from gateway.catalog.webhooks import WebhookBook
from gateway.config import Database, Webhooks
from gateway.errors import Unavailable
from gateway.lifecycle.webhooks.queue import Due, Queue
from gateway.lifecycle.webhooks.schedule import Fate, Tried, Verdict
from gateway.lifecycle.webhooks.sender import TAG, Sender, lease_s
from gateway.lifecycle.webhooks.signing import Sealer, mint_secret
from gateway.postgres import open_pool

SETTINGS = Webhooks(connect_s=0.05, answer_s=0.05, poll_s=0.05, schedule_s=(60,), per_endpoint=1)
TAKEN = Tried(datetime(2026, 11, 2, tzinfo=UTC), 7, 200, None)
REFUSED = Tried(datetime(2026, 11, 2, tzinfo=UTC), 7, 500, "refused")


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
    redeliver: Callable[[], Awaitable[object]]
    switch_off: Callable[[], Awaitable[object]]
    """As while an event is being written: what is owed stays."""

    @asynccontextmanager
    async def sending(self, do: Callable[[], Awaitable[Tried]], *keys: str, **changes: object) -> AsyncIterator[Post]:
        post: Any = Post(do)
        async with Sender(self.queue, post, Sealer(keys), SETTINGS.model_copy(update=changes)):
            yield post

    async def logged(self, there: Callable[[Delivery], bool]) -> Delivery:
        async with asyncio.timeout(20):
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

    async def redeliver() -> Delivery:
        return await book.redeliver(tenant, Redeliver(endpoint.id, (await log()).id))

    async def rotate(secret: str) -> Endpoint:
        return await book.rotate(tenant, endpoint.id, secret, overlap_s=3600)

    async def shown() -> Endpoint:
        return await book.one(tenant, endpoint.id)

    yield Office(Queue(pool, settings, lease_s=lease_s(SETTINGS)), log, shown, rotate, redeliver, switch_off)
    await pool.close()


@dataclass(frozen=True)
class Look:
    """What a queue is asked for."""

    limit: int
    busy: Mapping[UUID, int]
    failing: bool


def looks_of(office: Office, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[Look]:
    """Those to come, as soon as each has its answer."""
    take = office.queue.take
    looks: asyncio.Queue[Look] = asyncio.Queue()

    async def taking(limit: int, busy: Mapping[UUID, int], *, failing: bool, each: int) -> list[Due]:
        look = Look(limit, dict(busy), failing)
        taken = await take(limit, busy, failing=failing, each=each)
        looks.put_nowait(look)
        return taken

    monkeypatch.setattr(office.queue, "take", taking)
    return looks


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


async def test_the_end_waits_for_no_look_at_what_may_be_due_by_then(office: Office, monkeypatch: pytest.MonkeyPatch):
    looked, next_s = asyncio.Event(), office.queue.next_s

    async def look() -> float | None:
        seconds = await next_s()
        looked.set()
        return seconds

    (due,) = await office.queue.take(1, {}, failing=False, each=1)
    await office.queue.settle(due, TAKEN, Verdict(Fate.DELIVERED), patience_s=None)
    monkeypatch.setattr(office.queue, "next_s", look)
    async with asyncio.timeout(20), office.sending(hang, poll_s=3600):
        await looked.wait()


@pytest.mark.parametrize("tell", [Sender.restored, lambda sender: sender.changed(TAG)])
async def test_what_is_told_of_or_went_unheard_is_looked_for_at_once(
    office: Office, monkeypatch: pytest.MonkeyPatch, tell: Callable[[Sender], None]
):
    post: Any = Post(hang)
    (due,) = await office.queue.take(1, {}, failing=False, each=1)
    await office.queue.settle(due, REFUSED, Verdict(Fate.RETRY, 3600), patience_s=None)
    looks, settings = looks_of(office, monkeypatch), SETTINGS.model_copy(update={"poll_s": 3600})
    async with asyncio.timeout(20), Sender(office.queue, post, Sealer(), settings) as sender:
        while not (await looks.get()).failing:
            pass
        await office.redeliver()
        tell(sender)
        await post.begun.get()


async def test_what_is_owed_to_an_endpoint_that_is_off_by_now_is_dropped_and_not_sent(office: Office):
    await office.switch_off()
    async with office.sending(hang) as post:
        await office.logged(lambda delivery: delivery.state is DeliveryState.DROPPED)
        assert post.begun.empty()


async def test_a_defect_at_every_look_has_one_traceback_until_there_is_another(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.lifecycle.webhooks.sender._DEFECT_S", 0.001)
    next_s, over = office.queue.next_s, asyncio.Event()
    looks = iter([LookupError("a"), LookupError("a"), LookupError("b"), None, LookupError("b")])

    async def looking() -> float | None:
        if (defect := next(looks, over)) is over:
            over.set()
        elif isinstance(defect, LookupError):
            raise defect
        return await next_s()

    monkeypatch.setattr(office.queue, "next_s", looking)
    with capture_logs() as logs:
        async with office.sending(hang, poll_s=0.001):
            await over.wait()
    failed = [(line["error"], line["exc_info"]) for line in logs if line["event"] == "webhooks.failed"]
    assert failed == [("LookupError", told) for told in (True, False, True, True)]


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


async def test_who_fails_is_tried_as_often_as_the_schedule_says_however_little_room_there_is(office: Office):
    """No try takes a place of theirs with it, and each is followed by a look at what is due then."""

    async def refused() -> Tried:
        return REFUSED

    async with office.sending(refused, schedule_s=(0.01,) * 4, concurrency=1, poll_s=3600):
        delivery = await office.logged(lambda delivery: delivery.state is DeliveryState.FAILED)
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3, 4, 5]


async def test_what_falls_due_while_it_is_looked_for_is_not_left_to_the_look_after(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    (due,) = await office.queue.take(1, {}, failing=False, each=1)
    await office.queue.settle(due, REFUSED, Verdict(Fate.RETRY, 1.5), patience_s=None)
    at, take = (await office.log()).next_attempt_at, office.queue.take
    assert at is not None

    async def taking(limit: int, busy: Mapping[UUID, int], *, failing: bool, each: int) -> list[Due]:
        taken = await take(limit, busy, failing=failing, each=each)
        if failing:  # the last question before it sleeps: time passes, and nothing else
            await asyncio.sleep((at - datetime.now(UTC)).total_seconds() + 0.01)
        return taken

    monkeypatch.setattr(office.queue, "take", taking)
    async with asyncio.timeout(20), office.sending(hang, poll_s=3600) as post:
        await post.begun.get()


async def test_how_a_try_ended_is_written_down_though_postgres_is_away_at_first(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    settle, away = office.queue.settle, iter([Unavailable("away")] * 2)

    async def settling(due: Due, tried: Tried, verdict: Verdict, *, patience_s: float | None) -> str | None:
        for error in away:
            raise error
        return await settle(due, tried, verdict, patience_s=patience_s)

    async def taken() -> Tried:
        return TAKEN

    monkeypatch.setattr(office.queue, "settle", settling)
    async with office.sending(taken) as post:
        delivery = await office.logged(lambda delivery: delivery.state is DeliveryState.DELIVERED)
    assert ([attempt.number for attempt in delivery.attempts], post.begun.qsize()) == ([1], 1)


async def test_nothing_is_kept_of_an_endpoint_that_nothing_is_under_way_to(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    may_end, looks = asyncio.Event(), looks_of(office, monkeypatch)

    async def slow() -> Tried:
        await may_end.wait()
        return TAKEN

    endpoint = (await office.endpoint()).id
    async with asyncio.timeout(20), office.sending(slow, answer_s=60):
        while (await looks.get()).busy != {endpoint: 1}:
            pass
        may_end.set()
        while (await looks.get()).busy != {}:
            pass


async def test_those_who_fail_take_half_of_the_places_at_most(office: Office, monkeypatch: pytest.MonkeyPatch):
    answers, looks = iter([REFUSED]), looks_of(office, monkeypatch)

    async def refused_and_slow_then() -> Tried:
        for answer in answers:
            return answer
        return await hang()

    async with (
        asyncio.timeout(20),
        office.sending(refused_and_slow_then, schedule_s=(0.01,), concurrency=4, answer_s=60),
    ):
        while (look := await looks.get()) != Look(2, {}, failing=True):
            assert look.limit > 1
        while (await looks.get()).limit != 1:
            pass


async def test_what_is_too_old_is_forgotten_at_once_however_much_it_is_and_then_for_an_hour_no_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    more, asked, looks = iter([True, True]), [], looks_of(office, monkeypatch)

    async def tidy(keep_s: float) -> bool:
        asked.append(keep_s)
        return next(more, False)

    monkeypatch.setattr(office.queue, "tidy", tidy)
    async with asyncio.timeout(20), office.sending(hang, poll_s=0.01, keep_days=3):
        for _ in range(20):
            await looks.get()
    assert asked == [3 * 86_400] * 3


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
