"""Examples of the documentation, run as printed against a running demo."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .demo import Demo

ADDRESS = "127.0.0.1:8080"
"""Where pages have the demo stand."""
ARRIVES_S = 30.0
"""Seconds that an access has to reach Postgres, where a page asks for it right after it happened."""
_CHANGES = re.compile(r" -(d|X) ")


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
    """How many there were. Each must end well and print what the page says; what only asks may be asked again."""
    address = demo.facts["base_url"].removeprefix("http://")
    count = 0
    for command, said in examples(page.read_text("utf-8")):
        script = f"set -e\n. .demo/env\n{command.replace(ADDRESS, address)}"
        here = said.replace(ADDRESS, address)
        end = time.monotonic() + (0 if _CHANGES.search(command) else ARRIVES_S)
        while not matches(printed := _printed(demo, script), here):
            assert time.monotonic() < end, f"{command}\nprinted:\n{printed}\nnot:\n{here}"
        count += 1
    return count


def _printed(demo: Demo, script: str) -> str:
    done = subprocess.run(
        ["sh", "-c", script], cwd=demo.state.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (script, done.stderr)
    return done.stdout
