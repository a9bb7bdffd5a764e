"""What a round of the loop brings is done step by step."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.rounds import ANSWER, ASK, BEGIN, COMMIT, TELL, Rounds, Step


@pytest.fixture
async def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def says(done: list[str]) -> Callable[[str], Callable[[], None]]:
    return lambda what: lambda: done.append(what)


async def a_turn() -> None:
    """What the loop had ready has been called."""
    await asyncio.sleep(0)


Says = Callable[[str], Callable[[], None]]


async def test_steps_are_taken_in_their_order_and_each_by_all_in_theirs(rounds: Rounds, done: list[str], says: Says):
    for name in ("a", "b"):
        for step in (TELL, BEGIN, ASK):
            rounds.add(step, says(f"{name} {step.name}"))
    assert not done
    await a_turn()
    assert done == ["a BEGIN", "b BEGIN", "a ASK", "b ASK", "a TELL", "b TELL"]


async def test_what_a_step_brings_about_for_a_later_one_is_done_in_the_same_round(
    rounds: Rounds, done: list[str], says: Says
):
    rounds.add(BEGIN, lambda: rounds.add(ASK, lambda: rounds.add(COMMIT, says("later"))))
    await a_turn()
    assert done == ["later"]


@pytest.mark.parametrize("step", [BEGIN, ANSWER])
async def test_what_it_brings_about_for_itself_or_an_earlier_one_is_done_in_the_next(
    rounds: Rounds, done: list[str], says: Says, step: Step
):
    rounds.add(ANSWER, lambda: rounds.add(step, says("next")))
    rounds.add(TELL, says("this"))
    await a_turn()
    assert done == ["this"]
    await a_turn()
    assert done == ["this", "next"]


async def test_one_that_fails_keeps_nobody_from_anything_and_is_told_of(rounds: Rounds, done: list[str], says: Says):
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    rounds.add(ASK, lambda: 1 / 0)  # type: ignore[arg-type, return-value]  # it returns nothing
    rounds.add(ASK, says("its neighbour"))
    rounds.add(TELL, says("a later step"))
    await a_turn()
    assert done == ["its neighbour", "a later step"]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
    rounds.add(BEGIN, says("the next round"))
    await a_turn()
    assert done[-1] == "the next round"


async def test_after_a_round_the_next_is_as_good(rounds: Rounds, done: list[str], says: Says):
    for number in range(3):
        rounds.add(COMMIT, says(str(number)))
        await a_turn()
    assert done == ["0", "1", "2"]


async def test_a_later_step_than_the_last_round_had_begins_a_round_as_well(rounds: Rounds, done: list[str], says: Says):
    rounds.add(BEGIN, says("first"))
    await a_turn()
    rounds.add(COMMIT, says("then"))
    await a_turn()
    assert done == ["first", "then"]
