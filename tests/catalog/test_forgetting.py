"""What a memory of the catalog lets go of: of links, which it serves only while Postgres is away. Postgres is in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from parts.clock import Clock

from gateway.catalog.cache import CachedCatalog
from gateway.config import Catalog as Settings
from gateway.errors import Unavailable
from gateway.model import IssuedLink

NOW = datetime(2026, 11, 2, tzinfo=UTC)
LINK = IssuedLink(uuid4(), uuid4(), uuid4(), NOW, None, NOW + timedelta(hours=1))
TAKEN_BACK = replace(LINK, revoked_at=NOW)
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
