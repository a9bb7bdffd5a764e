"""One page for each surface, whose examples are run as printed."""

import re
from pathlib import Path

import pytest
from parts.demo import Demo
from parts.examples import run

from gateway.openapi.credentials import credentials
from gateway.surfaces import SURFACES

PAGES = Path(__file__).parents[2] / "docs" / "surfaces"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SURFACES)
def test_the_examples_print_what_the_page_says(demo: Demo, name: str):
    assert run(demo, PAGES / f"{name}.md") >= 3


def test_each_surface_has_its_page():
    assert {page.stem for page in PAGES.glob("*.md")} == set(SURFACES)


@pytest.mark.parametrize("name", [name for name in SURFACES if name != "native"])
def test_a_page_names_every_path_and_scope_of_its_surface(name: str):
    text = (PAGES / f"{name}.md").read_text("utf-8")
    for route in SURFACES[name].routes:
        short = route.path.removeprefix("/api/v1").removeprefix("/v1")
        assert route.path in text or short in text, route.path
        assert credentials(SURFACES[name], route).public or all(scope in text for scope in route.scopes)
        assert route.role is None or route.role in text


@pytest.mark.parametrize("name", SURFACES)
def test_its_links_lead_somewhere(name: str):
    for place in re.findall(r"\]\(([^)#:]+)\)", (PAGES / f"{name}.md").read_text("utf-8")):
        assert (PAGES / place).resolve().exists(), place
