"""schemathesis, all checks, against the document of each surface: what is sent is what is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.demo import Demo, running_demo
from parts.fuzzing import fuzz

LEAST = {"yotel": 80, "agentphone": 100, "callsid": 80, "voki": 100, "envoy": 50, "native": 1500}
"""Cases that cover the parameters of each surface's operations, whatever is generated besides. The native surface comes
last: it changes the calls.
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@pytest.mark.timeout(0)
@pytest.mark.parametrize("surface", LEAST)
def test_every_answer_is_as_documented(
    demo: Demo, surface: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done = fuzz(demo.facts, surface, request.config.getoption("--schemathesis"), tmp_path)
    print(f"\n{surface}: {done.cases} cases")
    assert done.code == 0, done.output
    assert done.cases >= LEAST[surface]
