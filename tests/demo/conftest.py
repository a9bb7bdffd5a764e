"""A demo that runs for as long as the tests of this folder need it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.demo import Demo, room


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with room() as folder:
        running = Demo(folder / "state")
        yield running
        running.stop()


@pytest.fixture
def state() -> Iterator[Path]:
    """Where a demo of the test's own may keep its state."""
    with room() as folder:
        yield folder / "state"
