"""What tells how quick the machine is."""

import pytest

from bench.hour import cells, pace, walk


@pytest.mark.parametrize("count", [1 << 4, 1 << 10])
def test_a_walk_visits_every_cell_before_it_is_back(count):
    over = cells(count)
    assert {walk(over, steps) for steps in range(count)} == set(range(count))
    assert walk(over, count) == 0


def test_what_lies_behind_the_caches_takes_no_less_than_what_lies_in_them():
    near, far = pace()
    assert 0 < near < far * 1.5
