"""What a memory of the catalog lets go of, above all of links, which it serves only while Postgres is away. Postgres is in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from parts.clock import Clock

from gateway.catalog.cache import CachedCatalog
from gateway.config import Catalog as Settings
from gateway.errors import Unavailable
from gateway.model import Call, CallRef, Entry, IssuedLink, Key, Tenant

NOW = datetime(2026, 11, 2, tzinfo=UTC)
LINK = IssuedLink(uuid4(), uuid4(), uuid4(), NOW, None, NOW + timedelta(hours=1))
TAKEN_BACK = replace(LINK, revoked_at=NOW)
TENANT = Tenant(LINK.tenant, "acme", "Acme")
ENTRY = Entry(Call(LINK.call, TENANT.id, {}), None, TENANT)
SHA256 = b"k" * 32
KEY = Key(uuid4(), TENANT.id, TENANT.slug, "laptop", "rg_live_…abcd", frozenset(), None, NOW)
AWAY = Unavailable("away")


class Questions:
    """In place of a PostgresCatalog: each question waits for its answer."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[asyncio.Future[IssuedLink | None]] = asyncio.Queue()

    async def link(self, _link: UUID) -> IssuedLink | None:
        answer = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(answer)
        return await answer


class Desk:
    """Somebody who asks for the link, and a catalog that hears of changes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.questions: Any = Questions()
        self.cached = CachedCatalog(self.questions, Settings(), clock=self.clock)
        self.cached.restored()

    async def asks(self) -> tuple[asyncio.Task[IssuedLink | None], asyncio.Future[IssuedLink | None]]:
        told = asyncio.create_task(self.cached.link(LINK.id))
        return told, await self.questions.asked.get()

    async def told(self, answer: IssuedLink | Unavailable | None) -> IssuedLink | None:
        told, question = await self.asks()
        if isinstance(answer, Unavailable):
            question.set_exception(answer)
        else:
            question.set_result(answer)
        return await told


def lost_and_heard_again(cached: CachedCatalog) -> None:
    cached.lost()
    cached.restored()


@pytest.mark.parametrize(
    "heard",
    [lambda cached: cached.changed(f"link:{LINK.id}"), lost_and_heard_again],
    ids=["it has changed", "it may have changed unheard"],
)
async def test_a_link_that_has_changed_is_remembered_for_no_outage(heard: Callable[[CachedCatalog], None]):
    desk = Desk()
    assert [await desk.told(answer) for answer in (LINK, AWAY)] == [LINK, LINK]
    desk.clock.now += 2
    heard(desk.cached)
    with pytest.raises(Unavailable):
        await desk.told(AWAY)


async def test_a_link_that_changes_while_it_is_asked_for_in_vain_is_not_served():
    desk = Desk()
    await desk.told(LINK)
    told, question = await desk.asks()
    desk.cached.changed(f"link:{LINK.id}")
    question.set_exception(AWAY)
    with pytest.raises(Unavailable):
        await told


async def test_a_link_that_is_gone_is_remembered_for_no_outage():
    desk = Desk()
    assert [await desk.told(answer) for answer in (LINK, None)] == [LINK, None]
    with pytest.raises(Unavailable):
        await desk.told(AWAY)


async def test_an_answer_that_comes_late_displaces_none_that_was_asked_for_later():
    desk = Desk()
    first, old = await desk.asks()
    desk.clock.now += 1
    second, new = await desk.asks()
    new.set_result(TAKEN_BACK)
    assert await second == TAKEN_BACK
    old.set_result(LINK)
    assert await first == LINK
    assert await desk.told(AWAY) == TAKEN_BACK


async def test_a_link_is_asked_for_though_another_question_has_no_answer_for_long():
    desk = Desk()
    await desk.told(LINK)
    hanging = asyncio.create_task(desk.cached.link(uuid4()))
    question = await desk.questions.asked.get()
    desk.clock.now += 5
    async with asyncio.timeout(20):
        assert await desk.told(TAKEN_BACK) == TAKEN_BACK
    question.set_result(None)
    assert await hanging is None


class Once:
    """In place of a PostgresCatalog: there for one question, and away from then on."""

    def __init__(self) -> None:
        self._answers: list[Any] = []

    def answers(self, answer: object) -> None:
        self._answers.append(answer)

    async def _answer(self, *_asked: object) -> Any:
        if not self._answers:
            raise AWAY
        return self._answers.pop()

    find = key = tenant = _answer


@pytest.mark.parametrize(
    ("ask", "answer", "tags"),
    [
        (
            lambda cached: cached.find(TENANT.id, CallRef(None, str(LINK.call))),
            ENTRY,
            [f"call:{LINK.call}", f"tenant:{TENANT.id}"],
        ),
        (lambda cached: cached.key(SHA256), KEY, [f"key:{SHA256.hex()}", f"tenant:{TENANT.id}"]),
        (lambda cached: cached.tenant("acme"), TENANT, [f"tenant:{TENANT.id}"]),
    ],
    ids=["call", "key", "tenant"],
)
async def test_nothing_that_may_have_changed_is_served(
    ask: Callable[[CachedCatalog], Awaitable[object]], answer: object, tags: list[str]
):
    for heard in [lost_and_heard_again, *(lambda cached, tag=tag: cached.changed(tag) for tag in tags)]:
        behind: Any = Once()
        cached = CachedCatalog(behind, Settings(), clock=Clock())
        cached.restored()
        behind.answers(answer)
        assert [await ask(cached) for _ in range(2)] == [answer] * 2
        heard(cached)
        with pytest.raises(Unavailable):
            await ask(cached)
