"""A batch's accesses: on record as delivered only where its answer may leave, and each of them either way."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, MultiDict
from parts.audit import House

from gateway.audit.segments import DISK_FILES
from gateway.config import Audit
from gateway.draft import Draft
from gateway.errors import Unavailable
from gateway.event import Intent, Method, Outcome, Result
from gateway.held import Held
from gateway.model import Head


class Recording:
    """A trail. ``away``: it takes nothing."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[tuple[int, Result, str | None]] = []

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        await self.record_all([(intent, outcome)])

    async def record_all(self, accesses: Sequence[tuple[Intent, Outcome]]) -> None:
        if self.away:
            raise Unavailable
        self.told += [(outcome.status, outcome.result, outcome.reason) for _, outcome in accesses]


def drafted(method: Method) -> Draft:
    return Draft.begin("native", method, Head("POST", {}, MultiDict(), CIMultiDict()))


DRAFT = drafted(Method.BATCH)
DONE = DRAFT.outcome(200, Result.COMPLETE)


async def found(held: Held) -> None:
    """One call, and one that is none."""
    await held.record(DRAFT.intent(), DONE)
    await held.record(DRAFT.intent(), replace(DONE, status=404, result=Result.REFUSED, reason="not_found"))


async def test_what_was_found_is_on_record_with_the_answer_that_may_leave() -> None:
    trail: Any = Recording()
    held = Held(trail)
    await found(held)
    assert trail.told == [(404, Result.REFUSED, "not_found")], "what was refused was so whatever comes"
    for _ in range(2):
        await held.let_go(DRAFT.intent(), replace(DONE, status=207))
    assert trail.told[1:] == [(200, Result.COMPLETE, None), (207, Result.COMPLETE, None), (207, Result.COMPLETE, None)]


async def test_what_was_found_is_told_as_refused_where_the_answer_must_not_leave() -> None:
    trail: Any = Recording()
    held = Held(trail)
    await found(held)
    for _ in range(2):
        await held.turn_back(503, "unavailable")
    assert trail.told[1:] == [(503, Result.REFUSED, "unavailable")]


async def test_an_answer_whose_accesses_cannot_be_recorded_does_not_leave() -> None:
    trail: Any = Recording()
    trail.away = True
    held = Held(trail)
    await held.record(DRAFT.intent(), DONE)
    with pytest.raises(Unavailable):
        await held.let_go(DRAFT.intent(), DONE)


async def test_where_the_journal_has_not_room_for_all_of_an_answer_none_of_it_is_said_to_have_left(
    tmp_path: Path,
) -> None:
    settings = Audit(journal_dir=tmp_path, journal_bytes=10_000, segment_bytes=4096)
    at = House(settings, DISK_FILES)
    await at.journal.start()
    held = Held(at.trail)
    for _ in range(20):
        each = drafted(Method.LINK)
        await held.record(each.intent(), each.outcome(200, Result.COMPLETE))
    with pytest.raises(Unavailable):
        await held.let_go(DRAFT.intent(), DONE)
    assert await at.journal.drain()
    assert at.journal.used == 0
    await at.journal.close()
