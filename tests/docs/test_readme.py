"""The README's examples, run as printed against a running demo."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.command import Command
from parts.demo import Demo, room

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PORT = "127.0.0.1:8080"


def examples() -> Iterator[tuple[str, str]]:
    """Each command of a ```console block, with what the README says it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


def matches(printed: str, said: str) -> bool:
    """Line for line; ``...`` stands for anything within a line, and alone on a line for any lines."""
    lines = [".*?".join(map(re.escape, line.split("..."))) for line in said.splitlines()]
    pattern = "".join("(?:.*\n)*" if line == ".*?" else f"{line}[ \r]*\n" for line in lines)
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else f"{printed}\n") is not None


@pytest.fixture(scope="module")
def demo():
    with room() as folder:
        running = Demo(folder / ".demo")
        yield running
        running.stop()


@pytest.mark.timeout(180)
def test_the_examples_print_what_the_readme_says(demo):
    address = demo.facts["base_url"].removeprefix("http://")
    ran = 0
    for command, said in examples():
        script = f"set -e\n. .demo/env\n{command.replace(PORT, address)}"
        done = subprocess.run(
            ["sh", "-c", script], cwd=demo.state.parent, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert matches(done.stdout, said.replace(PORT, address)), f"{command}\nprinted:\n{done.stdout}\nnot:\n{said}"
        ran += 1
    assert ran >= 10


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
