"""Examples of the documentation, run as printed against a running demo."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .demo import Demo

ADDRESS = "127.0.0.1:8080"
"""Where pages have the demo stand."""


def examples(page: str) -> Iterator[tuple[str, str]]:
    """Each command of a ```console block, with what the page says it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


def matches(printed: str, said: str) -> bool:
    """Line for line; ``...`` stands for anything within a line, and alone on a line for any lines."""
    lines = [".*?".join(map(re.escape, line.split("..."))) for line in said.splitlines()]
    pattern = "".join("(?:.*\n)*" if line == ".*?" else f"{line}[ \r]*\n" for line in lines)
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else f"{printed}\n") is not None


def run(demo: Demo, page: Path) -> int:
    """How many there were. Each must end well and print what the page says."""
    address = demo.facts["base_url"].removeprefix("http://")
    count = 0
    for command, said in examples(page.read_text("utf-8")):
        script = f"set -e\n. .demo/env\n{command.replace(ADDRESS, address)}"
        done = subprocess.run(
            ["sh", "-c", script], cwd=demo.state.parent, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        here = said.replace(ADDRESS, address)
        assert matches(done.stdout, here), f"{command}\nprinted:\n{done.stdout}\nnot:\n{here}"
        count += 1
    return count
