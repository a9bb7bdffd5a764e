"""A demo that runs for as long as the tests of this folder need it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.demo import Demo, room, running_demo


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@pytest.fixture
def state() -> Iterator[Path]:
    """Where a demo of the test's own may keep its state."""
    with room() as folder:
        yield folder / "state"
