"""Who may take a delivery, when and how many; and what the database itself sees to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from parts.catalog import a_ready_call, an_object
from pydantic import SecretStr

from gateway.asks.webhooks import ChangeEndpoint, DeliveryState, ListDeliveries, Redeliver
from gateway.catalog.registry import Registry
from gateway.catalog.webhooks import WebhookBook
from gateway.config import Database
from gateway.errors import Contradicts
from gateway.lifecycle.webhooks.queue import Due, Queue
from gateway.lifecycle.webhooks.schedule import Fate, Tried, Verdict
from gateway.model import NewCall
from gateway.postgres import Pool, connect, open_pool

TAKEN = Tried(datetime(2026, 11, 2, tzinfo=UTC), 7, 200, None)
FAILED = replace(TAKEN, status=500, error="refused")
AGAIN, AT_ONCE = Verdict(Fate.RETRY, 3600), Verdict(Fate.RETRY, 0)


@dataclass(frozen=True)
class Desk:
    """A tenant's endpoints, a queue of their deliveries, and the database beneath."""

    pool: Pool
    settings: Database
    registry: Registry
    book: WebhookBook
    queue: Queue
    tenant: UUID

    async def endpoint(self, tenant: UUID | None = None) -> UUID:
        made = await self.book.add(tenant or self.tenant, "https://hooks.example.com/", "", "whsec_AA==", at_most=20)
        return made.id

    async def happen(self, count: int = 1) -> list[UUID]:
        return [await a_ready_call(self.registry, self.tenant, yotel=f"call_{uuid4().hex}") for _ in range(count)]

    async def take(self, limit: int = 100, *, each: int = 100, failing: bool = False, **busy: int) -> list[Due]:
        return await self.queue.take(limit, {UUID(k): n for k, n in busy.items()}, failing=failing, each=each)

    async def settle(self, due: Due, tried: Tried, verdict: Verdict, patience_s: float | None = None) -> str | None:
        return await self.queue.settle(due, tried, verdict, patience_s=patience_s)

    async def states(self, endpoint: UUID) -> Counter[DeliveryState]:
        page = await self.book.deliveries(self.tenant, ListDeliveries(endpoint, limit=200))
        return Counter(delivery.state for delivery in page.deliveries)

    async def age(self, seconds: float) -> None:
        """As if so much time had passed."""
        owner = await asyncpg.connect(self.settings.url.get_secret_value())
        gone = f"interval '{seconds} seconds'"
        for column in ("webhook_deliveries.due_at", "webhook_endpoints.failing_since", "webhook_outbox.created_at"):
            table, name = column.split(".")
            await owner.execute(f"UPDATE {table} SET {name} = {name} - {gone}")
        await owner.close()


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    settings = Database(url=SecretStr(database))
    pool = await open_pool(settings)
    registry = Registry(pool, settings)
    tenant = (await registry.create_tenant("acme", "Acme")).id
    queue = Queue(pool, settings, lease_s=60)
    yield Desk(pool, settings, registry, WebhookBook(pool, settings), queue, tenant)
    await pool.close()


async def test_an_event_becomes_a_delivery_for_each_endpoint_that_is_on_and_for_no_other(desk: Desk):
    on = {await desk.endpoint(), await desk.endpoint()}
    off, deleted = await desk.endpoint(), await desk.endpoint()
    await desk.book.change(desk.tenant, ChangeEndpoint(off, enabled=False))
    await desk.book.delete(desk.tenant, deleted)
    await desk.endpoint((await desk.registry.create_tenant("other", "Other")).id)
    await desk.happen()
    taken = await desk.take()
    assert {due.endpoint for due in taken} == on
    assert len({due.event for due in taken}) == 1


async def test_a_tenant_has_so_many_endpoints_and_no_more_however_many_are_made_at_once(desk: Desk):
    async def add() -> bool:
        try:
            await desk.book.add(desk.tenant, "https://hooks.example.com/", "", "whsec_AA==", at_most=3)
        except Contradicts:
            return False
        return True

    assert Counter(await asyncio.gather(*(add() for _ in range(8)))) == {True: 3, False: 5}
    first, *_ = await desk.book.all(desk.tenant)
    await desk.book.delete(desk.tenant, first.id)
    assert await add()


async def test_pages_of_deliveries_hold_each_once_though_all_were_made_at_one_moment(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(5)
    owner = await asyncpg.connect(desk.settings.url.get_secret_value())
    await owner.execute("UPDATE webhook_deliveries SET created_at = '2026-11-02T10:00:00Z'")
    await owner.close()
    seen: list[UUID] = []
    ask: ListDeliveries | None = ListDeliveries(endpoint, limit=2)
    while ask is not None:
        page = await desk.book.deliveries(desk.tenant, ask)
        seen += [delivery.id for delivery in page.deliveries]
        ask = None if page.cursor is None else replace(ask, cursor=page.cursor)
    assert seen == sorted({due.id for due in await desk.take()}, reverse=True)
    assert len(seen) == 5


async def test_what_is_just_being_tried_is_not_tried_beside_that_however_often_it_is_asked_for(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen()
    (due,) = await desk.take()
    for _ in range(2):
        await desk.book.redeliver(desk.tenant, Redeliver(endpoint, due.id))
        assert await desk.take() == []
    await desk.age(61)  # its taker has ended, and the lease with it
    (again,) = await desk.take()
    assert again.id == due.id


async def test_what_is_rolled_back_is_told_to_nobody(desk: Desk):
    await desk.endpoint()
    call = await desk.registry.create_call(desk.tenant, NewCall(aliases={"yotel": "call_1"}))
    owner = await asyncpg.connect(desk.settings.url.get_secret_value())
    await owner.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END'"
    )
    await owner.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON webhook_deliveries DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    with pytest.raises(asyncpg.RaiseError):
        await desk.registry.mark_ready(desk.tenant, call, an_object())
    assert await owner.fetchval("SELECT state FROM recordings") is None
    assert await owner.fetchval("SELECT count(*) FROM webhook_outbox") == 0
    await owner.close()


async def test_many_takers_take_each_delivery_once(desk: Desk):
    await desk.endpoint()
    await desk.happen(60)
    taken = await asyncio.gather(
        *(Queue(desk.pool, desk.settings, lease_s=60).take(9, {}, failing=False, each=100) for _ in range(8))
    )
    ids = [due.id for each in taken for due in each]
    assert len(ids) == len(set(ids)) == 60


async def test_a_lease_that_is_over_passes_on_and_whoever_lost_it_settles_nothing(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen()
    (first,) = await desk.take()
    assert await desk.take() == []
    assert 55 < (await desk.queue.next_s() or 0) <= 60
    await desk.age(61)
    (second,) = await desk.take()
    assert (second.id, second.event, second.body) == (first.id, first.event, first.body)
    assert (first.attempt, second.attempt) == (1, 2)
    await desk.settle(first, FAILED, Verdict(Fate.FAILED))
    await desk.queue.drop(first)
    await desk.queue.give_back(first)
    assert await desk.states(endpoint) == {DeliveryState.PENDING: 1}
    await desk.settle(second, TAKEN, Verdict(Fate.DELIVERED))
    assert await desk.states(endpoint) == {DeliveryState.DELIVERED: 1}


async def test_what_is_given_back_is_due_at_once(desk: Desk):
    await desk.endpoint()
    await desk.happen()
    (due,) = await desk.take()
    await desk.queue.give_back(due)
    (again,) = await desk.take()
    assert again.id == due.id


async def test_a_former_secret_signs_for_its_time_and_is_forgotten_after_that(desk: Desk):
    endpoint = await desk.endpoint()
    rotated = await desk.book.rotate(desk.tenant, endpoint, "whsec_Ag==", overlap_s=60)
    assert rotated.former_until is not None
    assert rotated.former_until - rotated.updated_at == timedelta(seconds=60)
    await desk.happen()
    (due,) = await desk.take()
    assert due.secrets == ("whsec_Ag==", "whsec_AA==")
    await desk.queue.give_back(due)
    await desk.pool.execute("UPDATE webhook_endpoints SET former_until = now()")
    (due,) = await desk.take()
    assert due.secrets == ("whsec_Ag==",)
    await desk.queue.tidy(0)
    assert await desk.pool.fetchval("SELECT former_secret IS NULL FROM webhook_endpoints") is True


async def test_an_endpoint_has_its_share_and_a_failing_one_is_asked_apart(desk: Desk):
    one, other = await desk.endpoint(), await desk.endpoint()
    await desk.happen(5)
    assert Counter(due.endpoint for due in await desk.take(each=2)) == {one: 2, other: 2}
    assert Counter(due.endpoint for due in await desk.take(each=3, **{str(one): 2, str(other): 3})) == {one: 1}
    (due,) = [due for due in await desk.take(each=3, **{str(one): 2, str(other): 3}) if due.endpoint == one]
    await desk.settle(due, FAILED, AGAIN)
    assert {due.endpoint for due in await desk.take(each=4)} == {other}
    assert {due.endpoint for due in await desk.take(each=4, failing=True)} == {one}


async def test_a_tenant_with_many_slow_endpoints_keeps_no_other_waiting(desk: Desk):
    slow = [await desk.endpoint() for _ in range(5)]
    await desk.happen(8)
    assert len(await desk.take(10, each=4)) == 10
    other = (await desk.registry.create_tenant("other", "Other")).id
    theirs = await desk.endpoint(other)
    for number in range(3):
        await a_ready_call(desk.registry, other, yotel=f"call_{number}")
    under_way = {str(endpoint): 2 for endpoint in slow}
    assert [due.endpoint for due in await desk.take(1, each=4, **under_way)] == [theirs]
    under_way[str(theirs)] = 9
    assert Counter(due.endpoint == theirs for due in await desk.take(4, each=12, **under_way)) == {True: 2, False: 2}


async def test_an_endpoint_that_fails_for_days_is_switched_off(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(3)
    first, second, _ = await desk.take()
    assert await desk.settle(first, FAILED, Verdict(Fate.FAILED), patience_s=3600) is None
    await desk.age(3700)
    assert await desk.settle(second, FAILED, Verdict(Fate.FAILED), patience_s=3600) == "failing"
    assert await desk.states(endpoint) == {DeliveryState.FAILED: 2, DeliveryState.DROPPED: 1}
    off = await desk.book.one(desk.tenant, endpoint)
    assert (off.enabled, off.disabled_reason) == (False, "failing")


async def test_a_try_that_failed_before_it_was_asked_counts_for_nothing_against_an_endpoint(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(2)
    unasked = replace(FAILED, status=None, error="defect", asked=False)
    first, second = await desk.take()
    await desk.settle(first, unasked, AGAIN)
    assert (await desk.book.one(desk.tenant, endpoint)).failing_since is None
    await desk.pool.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '1 hour'")
    assert await desk.settle(second, unasked, Verdict(Fate.FAILED), patience_s=60) is None
    assert (await desk.book.one(desk.tenant, endpoint)).enabled
    assert await desk.states(endpoint) == {DeliveryState.PENDING: 1, DeliveryState.FAILED: 1}


async def test_a_success_begins_its_patience_anew(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(3)
    first, second, third = await desk.take()
    await desk.settle(first, FAILED, AT_ONCE)
    await desk.age(3700)
    await desk.settle(second, TAKEN, Verdict(Fate.DELIVERED))
    assert await desk.settle(third, FAILED, Verdict(Fate.FAILED), patience_s=3600) is None
    assert (await desk.book.one(desk.tenant, endpoint)).enabled


async def test_an_endpoint_that_goes_elsewhere_or_is_switched_on_has_its_patience_anew(desk: Desk):
    endpoint = await desk.endpoint()
    for ask, failing in (
        (ChangeEndpoint(endpoint, description="for people"), True),
        (ChangeEndpoint(endpoint, url="https://hooks.example.com/"), True),
        (ChangeEndpoint(endpoint, url="https://hooks.example.com/other"), False),
        (ChangeEndpoint(endpoint, enabled=False), True),
        (ChangeEndpoint(endpoint, enabled=True), False),
    ):
        await desk.pool.execute("UPDATE webhook_endpoints SET failing_since = now()")
        assert ((await desk.book.change(desk.tenant, ask)).failing_since is not None) == failing


async def test_many_that_are_gone_at_once_wait_for_none_of_each_other(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(20)
    first, *others = await desk.take()
    await desk.settle(first, FAILED, AGAIN)
    gone = replace(FAILED, status=410, error="gone")
    replicas = [Queue(desk.pool, desk.settings, lease_s=60) for _ in others]
    await asyncio.gather(*(replica.next_s() for replica in replicas))  # each has its connection by now
    off = await asyncio.gather(
        *(
            replica.settle(due, gone, Verdict(Fate.GONE), patience_s=None)
            for replica, due in zip(replicas, others, strict=True)
        )
    )
    assert off.count("gone") == 1
    assert await desk.states(endpoint) == {DeliveryState.DROPPED: 20}


async def test_however_many_wait_for_postgres_requests_have_the_pool_but_two_connections(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(desk.settings.pool_max)
    taken = await desk.take()
    holder, onlooker = [await asyncpg.connect(desk.settings.url.get_secret_value()) for _ in range(2)]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with holder.transaction():
        await holder.fetch("SELECT FROM webhook_endpoints WHERE id = $1 FOR UPDATE", endpoint)
        settling = [asyncio.create_task(desk.settle(due, FAILED, AGAIN)) for due in taken]
        async with asyncio.timeout(20):
            while await onlooker.fetchval(waiting) < 2:  # noqa: ASYNC110  Postgres tells nobody who waits for whom
                await asyncio.sleep(0.01)
            async with AsyncExitStack() as others:
                for _ in taken[2:]:
                    await others.enter_async_context(desk.pool.acquire())
        assert await onlooker.fetchval(waiting) == 2
    await asyncio.gather(*settling)
    await holder.close()
    await onlooker.close()
    assert await desk.states(endpoint) == {DeliveryState.PENDING: len(taken)}


async def test_the_answer_of_a_former_address_switches_nothing_off(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(2)
    first, second = await desk.take()
    await desk.book.change(desk.tenant, ChangeEndpoint(endpoint, url="https://new.example.com/"))
    gone = replace(FAILED, status=410, error="gone")
    assert await desk.settle(first, gone, Verdict(Fate.GONE)) is None
    assert (await desk.book.one(desk.tenant, endpoint)).enabled
    (again,) = await desk.take(failing=True)
    assert (again.id, again.url) == (first.id, "https://new.example.com/")
    assert await desk.settle(again, gone, Verdict(Fate.GONE)) == "gone"
    await desk.settle(second, FAILED, AGAIN)
    assert await desk.states(endpoint) == {DeliveryState.DROPPED: 2}


@pytest.mark.parametrize("verdict", [AGAIN, Verdict(Fate.FAILED)], ids=["another try", "the last try"])
async def test_what_is_put_on_the_schedule_anew_while_it_is_tried_begins_there(desk: Desk, verdict: Verdict):
    endpoint = await desk.endpoint()
    await desk.happen()
    (first,) = await desk.take()
    await desk.settle(first, FAILED, AT_ONCE)
    (second,) = await desk.take(failing=True)
    await desk.book.redeliver(desk.tenant, Redeliver(endpoint, second.id))
    assert await desk.settle(second, FAILED, verdict, patience_s=0) is None
    assert await desk.states(endpoint) == {DeliveryState.PENDING: 1}
    (third,) = await desk.take(failing=True)
    assert (third.id, third.attempt, third.tries) == (second.id, 3, 0)
    await desk.settle(third, TAKEN, Verdict(Fate.DELIVERED))
    assert await desk.states(endpoint) == {DeliveryState.DELIVERED: 1}


async def test_what_is_put_on_the_schedule_anew_is_not_dropped_for_its_endpoints_having_been_off(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen()
    # As if it had been switched off while the event was being written.
    await desk.pool.execute("UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'asked'")
    (due,) = await desk.take()
    assert not due.enabled
    await desk.book.change(desk.tenant, ChangeEndpoint(endpoint, enabled=True))
    await desk.book.redeliver(desk.tenant, Redeliver(endpoint, due.id))
    await desk.queue.drop(due)
    assert await desk.states(endpoint) == {DeliveryState.PENDING: 1}
    (again,) = await desk.take()
    assert (again.id, again.enabled) == (due.id, True)


async def test_the_log_is_pruned_of_what_is_old_and_over(desk: Desk):
    endpoint = await desk.endpoint()
    await desk.happen(3)
    first, second, _ = await desk.take()
    await desk.settle(first, TAKEN, Verdict(Fate.DELIVERED))
    await desk.settle(second, FAILED, Verdict(Fate.FAILED))
    assert not await desk.queue.tidy(0)
    assert (await desk.states(endpoint)).total() == 3, "a week is the least"
    await desk.age(8 * 86_400)
    await desk.queue.tidy(9 * 86_400)
    assert (await desk.states(endpoint)).total() == 3
    await desk.queue.tidy(7 * 86_400)
    assert await desk.states(endpoint) == {DeliveryState.PENDING: 1}


async def test_a_long_log_is_pruned_in_parts(desk: Desk):
    insert = "INSERT INTO webhook_outbox (id, tenant_id, type, payload) SELECT gen_random_uuid(), $1, 'x', '{}'"
    await desk.pool.execute(f"{insert} FROM generate_series(1, 1500)", desk.tenant)
    await desk.age(8 * 86_400)
    assert [await desk.queue.tidy(0) for _ in range(2)] == [True, False]
    assert await desk.pool.fetchval("SELECT count(*) FROM webhook_outbox") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE webhook_outbox SET payload = '{}'",
        "DELETE FROM webhook_outbox",
        "TRUNCATE webhook_outbox CASCADE",
        "DELETE FROM webhook_deliveries",
        "UPDATE webhook_deliveries SET event_id = gen_random_uuid()",
        "UPDATE webhook_deliveries SET endpoint_id = gen_random_uuid()",
        "INSERT INTO webhook_deliveries (tenant_id, event_id, endpoint_id) SELECT tenant_id, id, id FROM webhook_outbox",
        "UPDATE webhook_endpoints SET tenant_id = gen_random_uuid()",
        "DELETE FROM webhook_endpoints",
        "UPDATE webhook_attempts SET status = 200",
        "DELETE FROM webhook_attempts",
        "ALTER TABLE webhook_outbox DISABLE TRIGGER webhook_outbox_deliver",
    ],
)
async def test_the_services_role_cannot_lose_what_it_owes(desk: Desk, statement: str):
    service = await connect(desk.settings)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)
    await service.close()
