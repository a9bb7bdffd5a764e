"""Fails, naming the package, where a lock lacks what pyproject.toml asks for, lacks a hash or names a place to fetch from."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<marker>[^\\]*)\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+",
    re.MULTILINE,
)


def wanted(pyproject: dict[str, Any]) -> dict[str, list[str]]:
    """Lock → the requirements it was compiled from."""
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    base, extras = project["dependencies"], project["optional-dependencies"]
    every = [r for extra in extras.values() for r in extra if not r.startswith(project["name"])]
    return {
        "runtime": base,
        "build": groups["build"],
        "pip": groups["install"],
        "demo": [*base, *extras["demo"], *groups["build"]],
        "test": [*base, *every, *groups["build"], *groups["lock"]],
    }


def problems(name: str, requirements: list[str]) -> list[str]:
    """What is wrong with one lock."""
    text = (HERE / f"{name}.lock").read_text("utf-8")
    rest = PIN.sub("", text).strip()
    found = [f"{name}.lock: not a hashed pin: {rest.splitlines()[0]}"] if rest else []
    pins: dict[str, list[str]] = {}
    for pin in PIN.finditer(text):
        pins.setdefault(canonicalize_name(pin["name"]), []).append(pin["version"])
    for requirement in map(Requirement, requirements):
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions:
            found.append(f"{name}.lock: {requirement.name} is missing")
        found += [
            f"{name}.lock: {requirement.name} {v} is not {requirement.specifier}"
            for v in versions
            if v not in requirement.specifier
        ]
    return found


def main() -> int:
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))
    found = [problem for name, requirements in wanted(pyproject).items() for problem in problems(name, requirements)]
    for problem in found:
        print(f"{problem}; run `make lock`", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
