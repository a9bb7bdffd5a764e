"""A batch's accesses: on record as delivered only where its answer may leave, and each of them either way."""

from dataclasses import replace
from typing import Any

import pytest
from multidict import CIMultiDict, MultiDict

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

    async def record(self, _intent: Intent, outcome: Outcome) -> None:
        if self.away:
            raise Unavailable
        self.told.append((outcome.status, outcome.result, outcome.reason))


DRAFT = Draft.begin("native", Method.BATCH, Head("POST", {}, MultiDict(), CIMultiDict()))
DONE = DRAFT.outcome(200, Result.COMPLETE)


@pytest.mark.parametrize(
    ("end", "told"),
    [((), (200, Result.COMPLETE, None)), ((503, "unavailable"), (503, Result.REFUSED, "unavailable"))],
    ids=["it may leave", "it may not"],
)
async def test_what_was_found_is_told_as_what_became_of_the_whole_answer(end: Any, told: Any) -> None:
    trail: Any = Recording()
    held = Held(trail)
    await held.record(DRAFT.intent(), DONE)
    await held.record(DRAFT.intent(), replace(DONE, status=404, result=Result.REFUSED, reason="not_found"))
    assert trail.told == [(404, Result.REFUSED, "not_found")], "what was refused was so whatever comes"
    await held.let_go(*end)
    await held.let_go(*end)
    assert trail.told[1:] == [told]


async def test_an_answer_whose_accesses_cannot_be_recorded_does_not_leave() -> None:
    trail: Any = Recording()
    trail.away = True
    held = Held(trail)
    await held.record(DRAFT.intent(), DONE)
    with pytest.raises(Unavailable):
        await held.let_go()
