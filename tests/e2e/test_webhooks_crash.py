"""Webhooks while processes race, are killed and lose their Postgres."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from parts.hooks import Hooks, hooked
from parts.postgres import Databases, StoppablePostgres
from parts.receiver import Answer, receiver

EVENTS = 200


@asynccontextmanager
async def fresh(databases: Databases, folder: Path, **webhooks: Any) -> AsyncIterator[Hooks]:
    """A gateway on a database of its own; its log may be read by SQL."""
    url = await databases.create()
    async with hooked(url, folder, folder, **webhooks) as hooks:
        yield hooks
    await databases.drop(url)


async def none_pending(hooks: Hooks, events: int) -> Counter[str]:
    """The states of all deliveries, once there are so many and none is pending."""
    async with asyncio.timeout(60):
        while True:
            rows = await hooks.stage.office.rows("SELECT state, count(*) FROM webhook_deliveries GROUP BY state")
            states = Counter({row["state"]: row["count"] for row in rows})
            if states.total() == events and not states["pending"]:
                return states
            await asyncio.sleep(0.02)  # Postgres tells nobody of what is settled


async def test_two_replicas_send_each_of_hundreds_once_and_never_two_at_the_same_time(databases: Databases, tmp_path):
    async with fresh(databases, tmp_path) as hooks, receiver() as there:
        other = await asyncio.to_thread(hooks.stage.another)
        made = [await hooks.make(there.url(path)) for path in ("/one", "/two")]
        await asyncio.gather(*(hooks.happen(EVENTS // 4) for _ in range(4)))
        assert await none_pending(hooks, 2 * EVENTS) == {"delivered": 2 * EVENTS}
        for hook, path in zip(made, ("/one", "/two"), strict=True):
            came = there.at(path)
            assert len({each.id for each in came}) == EVENTS
            assert len(came) == EVENTS, "some came twice"
            for each in came:
                each.verified(hook["secret"])
        assert there.overlaps == []
        await asyncio.to_thread(other.stop)
        by = [sum(line["event"] == "webhook" for line in house.logs) for house in hooks.stage.houses]
        print(f"\n{2 * EVENTS} deliveries, by replica {by}, none twice")
        assert min(by) > 0, f"one replica did all: {by}"


async def test_what_was_committed_and_not_sent_when_its_process_was_killed_is_sent_by_another(databases, tmp_path):
    """One event is under way and four are committed behind it when the gateway is killed."""
    number = count()
    async with (
        fresh(databases, tmp_path, concurrency=1, answer_s=60) as hooks,
        receiver(lambda _came: None if next(number) == 0 else Answer()) as there,
    ):
        hook = await hooks.make(there.url())
        calls = [await hooks.put() for _ in range(5)]
        assert len(await there.until_came(1)) == 1
        hooks.stage.house.kill()
        assert len(there.came) == 1
        await hooks.stage.office.rows(
            "UPDATE webhook_deliveries SET due_at = now() WHERE lease IS NOT NULL"
        )  # it is over
        await asyncio.to_thread(hooks.stage.house.start)
        log = await hooks.settled(hook, 5)
    assert {d["call_id"] for d in log} == set(map(str, calls))
    assert {d["state"] for d in log} == {"delivered"}
    ids = Counter(came.id for came in there.came)
    assert ids == Counter(d["webhook_id"] for d in log) + Counter([there.came[0].id])
    first, again = (came for came in there.came if came.id == there.came[0].id)
    assert first.body == again.body
    for came in there.came:
        came.verified(hook["secret"])
    assert there.overlaps == []
    # What was cut off has no attempt in the log: its number is missing.
    numbers = {d["webhook_id"]: [a["number"] for a in d["attempts"]] for d in log}
    assert numbers == {id_: [1 if id_ != first.id else 2] for id_ in ids}


async def test_every_event_outlives_kill_9_at_any_moment(databases, tmp_path, request: pytest.FixtureRequest):
    chance, crashes = random.Random(5), max(3, request.config.getoption("--crashes") // 2)
    async with fresh(databases, tmp_path) as hooks, receiver() as there:
        await hooks.make(there.url())
        acknowledged: list[str] = []

        async def register() -> None:
            while True:
                acknowledged.append(str(await hooks.put()))

        for _ in range(crashes):
            registering = [asyncio.create_task(register()) for _ in range(3)]
            await there.until_came(len(there.came) + chance.randrange(1, 8))
            hooks.stage.house.kill()
            await asyncio.gather(*registering, return_exceptions=True)
            await asyncio.to_thread(hooks.stage.house.start)
        made = await hooks.stage.office.rows("SELECT count(*) FROM webhook_deliveries")
        states = await none_pending(hooks, made[0]["count"])
        came = Counter(came.id for came in there.came)
        print(f"\n{crashes} kills, {len(acknowledged)} events acknowledged, {came.total() - len(came)} came twice")
        assert states.keys() == {"delivered"}
        assert len(came) == states.total() >= len(acknowledged)
        assert set(acknowledged) <= {each.event["data"]["call_id"] for each in there.came}
        assert there.overlaps == []


async def test_what_was_taken_while_postgres_went_away_is_not_sent_again(
    stoppable_postgres: StoppablePostgres, tmp_path
):
    databases = Databases(stoppable_postgres.url())
    url = await databases.create()
    async with hooked(url, tmp_path, tmp_path, answer_s=10) as hooks, receiver(lambda _came: None) as there:
        hook = await hooks.make(there.url())
        await hooks.happen()
        await there.until_came(1)
        await asyncio.to_thread(stoppable_postgres.stop)
        there.release()
        await there.until(lambda: not there.busy)
        await asyncio.to_thread(stoppable_postgres.start)
        (first,) = await hooks.settled(hook)
        await hooks.happen()
        second, _ = await hooks.settled(hook, 2)
    assert [came.id for came in there.came] == [first["webhook_id"], second["webhook_id"]]
    assert first["state"] == second["state"] == "delivered"
