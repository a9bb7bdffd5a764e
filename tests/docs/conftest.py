"""The demo that the documentation's examples are run against."""

from collections.abc import Iterator

import pytest
from parts.demo import Demo, room


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with room() as folder:
        running = Demo(folder / ".demo")
        yield running
        running.stop()
