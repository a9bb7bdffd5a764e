"""Questions that wait at the same time go in one statement; each has its own answer."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

import pytest
from parts.catalog import a_ready_call, by_id

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.catalog.tasks import Tasks
from gateway.catalog.together import FLIGHTS, MOST, Together
from gateway.config import Database
from gateway.errors import NotFound, Unavailable
from gateway.model import CallRef, Entry, Tenant
from gateway.postgres import Pool


class Slow:
    """Answers a key with its double once it is let go; refuses what it is told to."""

    def __init__(self, *, refuses: int | None = None, refusal: Exception | None = None) -> None:
        self.carried: list[Sequence[int]] = []
        self.go = asyncio.Event()
        self._refuses = refuses
        self._refusal = refusal

    async def carry(self, keys: Sequence[int]) -> Sequence[int]:
        self.carried.append(keys)
        await self.go.wait()
        if self._refusal is not None and self._refuses in keys:
            raise self._refusal
        return [key * 2 for key in keys]


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_asks_in_one_turn_goes_together():
    slow = Slow()
    together = Together(Tasks(), slow.carry)
    slow.go.set()
    assert await asyncio.gather(*(together.ask(key) for key in (1, 2, 2, 3))) == [2, 4, 4, 6]
    assert slow.carried == [[1, 2, 2, 3]]


async def test_who_comes_later_does_not_wait_for_an_answer_while_there_is_a_flight():
    slow = Slow()
    together = Together(Tasks(), slow.carry)
    asked = []
    for key in range(FLIGHTS + 3):
        asked.append(together.ask(key))
        await _turns()
    assert slow.carried == [[key] for key in range(FLIGHTS)]
    slow.go.set()
    assert await asyncio.gather(*asked) == [key * 2 for key in range(FLIGHTS + 3)]
    assert slow.carried[FLIGHTS:] == [list(range(FLIGHTS, FLIGHTS + 3))], "the rest, by the first that is free"
    slow.carried.clear()
    assert await together.ask(7) == 14
    assert slow.carried == [[7]]


async def test_a_statement_carries_so_many_and_no_more():
    slow = Slow()
    together = Together(Tasks(), slow.carry)
    slow.go.set()
    keys = range(2 * MOST + 1)
    assert await asyncio.gather(*map(together.ask, keys)) == [key * 2 for key in keys]
    assert [len(keys) for keys in slow.carried] == [MOST, MOST, 1]


async def test_one_that_cannot_be_asked_costs_no_other_its_answer():
    slow = Slow(refuses=2, refusal=ValueError("not so"))
    together = Together(Tasks(), slow.carry)
    slow.go.set()
    answers = await asyncio.gather(*map(together.ask, (1, 2, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], ValueError)
    assert await together.ask(4) == 8


async def test_an_outage_is_everybodys_and_not_tried_for_each():
    slow = Slow(refuses=2, refusal=Unavailable("away"))
    together = Together(Tasks(), slow.carry)
    slow.go.set()
    answers = await asyncio.gather(*map(together.ask, (1, 2, 3)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert slow.carried == [[1, 2, 3]]
    assert await together.ask(4) == 8


async def test_who_leaves_takes_no_other_along():
    tasks, slow = Tasks(), Slow()
    together = Together(tasks, slow.carry)
    leaving, staying = together.ask(1), together.ask(2)
    await _turns()
    leaving.cancel()
    slow.go.set()
    assert await staying == 4
    await tasks.close()
    assert await together.ask(3) == 6


async def test_a_flight_that_is_cancelled_leaves_nobody_waiting():
    slow = Slow()
    together = Together(Tasks(), slow.carry)
    asked = together.ask(1)
    await _turns()
    (flight,) = asyncio.all_tasks() - {asyncio.current_task()}
    flight.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_of_many_calls_asked_for_at_once_each_is_its_own(
    catalog: PostgresCatalog, registry: Registry, acme: Tenant, other: Tenant
):
    mine = [await a_ready_call(registry, acme.id, yotel=f"yt-{n}", agentphone=f"ap-{n}") for n in range(4)]
    theirs = await a_ready_call(registry, other.id, yotel="yt-1")
    asked = [
        (acme.id, by_id(mine[0]), mine[0]),
        (acme.id, by_id(theirs), None),
        (other.id, by_id(theirs), theirs),
        (acme.id, by_id(mine[0]), mine[0]),
        (acme.id, by_id(uuid4()), None),
        (acme.id, CallRef("yotel", "yt-1"), mine[1]),
        (other.id, CallRef("yotel", "yt-1"), theirs),
        (acme.id, CallRef("yotel", "yt-2"), mine[2]),
        (other.id, CallRef("yotel", "yt-2"), None),
        (None, CallRef("agentphone", "ap-3"), mine[3]),
        (None, CallRef("agentphone", "ap-0"), mine[0]),
        (None, CallRef("agentphone", "ap-9"), None),
    ]
    answers = await asyncio.gather(*(catalog.find(tenant, ref) for tenant, ref, _ in asked), return_exceptions=True)
    for (_, ref, call), answer in zip(asked, answers, strict=True):
        if call is None:
            assert isinstance(answer, NotFound), ref
        else:
            assert isinstance(answer, Entry)
            assert answer.call.id == call, ref
            if ref.surface is not None:
                assert answer.call.aliases[ref.surface] == ref.id
    alone = [await catalog.find(tenant, ref) for tenant, ref, call in asked if call is not None]
    assert alone == [answer for answer in answers if isinstance(answer, Entry)], "told as to who asks alone"


async def test_more_questions_than_connections_are_answered_by_one(database: str, pool: Pool, registry: Registry):
    tenants = [await registry.create_tenant(f"t{n}", f"T {n}") for n in range(30)]
    catalog = PostgresCatalog(pool, Database(url=database))
    async with pool.acquire() as connection:
        pids = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        before = await connection.fetchval(pids)
        slugs = [tenant.slug for tenant in tenants] + ["nobody"]
        assert await asyncio.gather(*map(catalog.tenant, slugs)) == [*tenants, None]
        assert await connection.fetchval(pids) <= before + 1


async def test_an_outage_amid_asking_one_by_one_is_everybodys():
    asked: list[Sequence[int]] = []

    async def carry(keys: Sequence[int]) -> Sequence[int]:
        asked.append(keys)
        await asyncio.sleep(0)
        raise ValueError("refused") if len(keys) > 1 else Unavailable("no answer")

    together = Together(Tasks(), carry)
    answers = await asyncio.gather(*map(together.ask, range(40)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert len([keys for keys in asked if len(keys) == 1]) <= FLIGHTS


@pytest.mark.parametrize("many", [1, 30])
async def test_an_outage_leaves_nothing_to_collect(many: int):
    async def carry(_keys: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        raise Unavailable("away")

    together = Together(Tasks(), carry)

    async def ask(key: int) -> None:
        with contextlib.suppress(Unavailable):
            await together.ask(key)

    await asyncio.gather(*map(ask, range(many)))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            await asyncio.gather(*map(ask, range(many)))
        await _turns()
        gc.collect()
        left = Counter(type(one) for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left[Unavailable]
