"""The README's examples, run as printed against a running demo."""

import re
import tomllib
from pathlib import Path

import pytest
from parts.command import Command
from parts.demo import Demo
from parts.examples import matches, run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.timeout(180)
def test_the_examples_print_what_the_readme_says(demo: Demo):
    assert run(demo, ROOT / "README.md") >= 10


def test_the_configuration_it_shows_is_accepted(tmp_path):
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    done = Command(tmp_path, tomllib.loads(shown))("config", "check")
    assert done.code == 0, done.err


def test_its_links_lead_somewhere():
    for place in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / place).exists(), place


def test_it_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize(
    ("printed", "said", "same"),
    [
        ("a\n", "a\n", True),
        ("a", "a\n", True),
        ("abc\n", "a...c\n", True),
        ("a\nx\ny\nb\n", "a\n...\nb\n", True),
        ("a\nb\n", "a\n", False),
        ("a1\n", "a\n", False),
        ("a\n", "a\nb\n", False),
        ("a\nc\n", "a...c\n", False),
        ("", "a\n", False),
    ],
)
def test_outputs_are_compared_line_for_line(printed, said, same):
    assert matches(printed, said) is same
