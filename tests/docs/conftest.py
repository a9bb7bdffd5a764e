"""The demo that the documentation's examples are run against."""

from collections.abc import Iterator

import pytest
from parts.demo import Demo, running_demo


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    with running_demo(".demo") as running:
        yield running
