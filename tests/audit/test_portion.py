"""How many records go at once, shipment after shipment."""

import pytest

from gateway.audit.portion import BACKLOG, BEHIND_S, LONG_S, PROMPT, TOO_LONG_S, Portion

MOST = 8 * BACKLOG
QUICK, LONG, TOO_LONG = LONG_S / 2, LONG_S * 2, TOO_LONG_S * 2


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        pytest.param([QUICK] * 3, [1, 1, 1, 1], id="quick: more would gain nothing"),
        pytest.param([LONG] * 5, [1, 2, 4, 8, 8, 8], id="long: twice as many each time, up to the bound"),
        pytest.param([LONG, LONG, QUICK, LONG], [1, 2, 4, 4, 8], id="quick again: so many are right"),
        pytest.param([LONG, LONG, TOO_LONG, QUICK], [1, 2, 4, 2, 2], id="too long: half as many"),
        pytest.param([TOO_LONG] * 2, [1, 1, 1], id="never fewer than at first"),
    ],
)
def test_a_backlogs_shipments_grow_while_they_take_long(seconds: list[float], sizes: list[int]):
    portion = Portion(MOST)
    found = [portion.size(BEHIND_S)]
    for took in seconds:
        portion.took(found[-1], took)
        found.append(portion.size(BEHIND_S))
    assert found == [size * BACKLOG for size in sizes]


def test_who_keeps_up_sends_little_and_begins_anew_when_behind_again():
    portion = Portion(MOST)
    portion.took(portion.size(BEHIND_S), LONG)
    assert portion.size(BEHIND_S / 2) == PROMPT
    portion.took(PROMPT, LONG)
    assert portion.size(BEHIND_S) == BACKLOG


def test_a_shipment_that_was_not_full_says_nothing():
    portion = Portion(MOST)
    portion.took(portion.size(BEHIND_S) - 1, LONG)
    assert portion.size(BEHIND_S) == BACKLOG


@pytest.mark.parametrize("most", [1, PROMPT - 1, BACKLOG - 1])
def test_the_configured_bound_holds(most: int):
    portion = Portion(most)
    for took in (LONG, TOO_LONG, LONG):
        assert portion.size(0) == min(most, PROMPT)
        assert portion.size(BEHIND_S) == most
        portion.took(most, took)
