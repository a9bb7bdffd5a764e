"""A demo that runs for as long as the tests of this folder need it."""

from collections.abc import Iterator

import pytest
from parts.demo import Demo


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo") / "state")
    yield running
    running.stop()
