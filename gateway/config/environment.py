"""Which variables of the environment a refused key came from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence

ENV_PREFIX = "RECORDING_GATEWAY__"
_KEY = re.compile(r"[a-z0-9_.-]+(?=: )")


def sourced(problem: str) -> str:
    """A line of ``key: what is wrong`` with the variables that set the key, where some do."""
    key = _KEY.match(problem)
    if key is None:
        return problem
    steps = key[0].split(".")
    if problem.endswith("required; add it"):
        steps.pop()  # it is set by nothing: the table that lacks it is
    names = _setting(steps)
    return f"{problem} (set by {', '.join(names)})" if names else problem


def _setting(steps: Sequence[str]) -> list[str]:
    """The variable of that key, or of a table with it in it; else those of what is in it."""
    given = {name.upper(): name for name in os.environ if name.upper().startswith(ENV_PREFIX)}
    for length in range(len(steps), 0, -1):
        name = given.get(_variable(steps[:length]))
        if name is not None and _holds(os.environ[name], steps[length:]):
            return [name]
    return sorted(name for known, name in given.items() if known.startswith(f"{_variable(steps)}__"))


def _variable(steps: Sequence[str]) -> str:
    return ENV_PREFIX + "__".join(steps).upper()


def _holds(text: str, steps: Sequence[str]) -> bool:
    """Whether a value given as JSON has something there."""
    if not steps:
        return True
    try:
        value = json.loads(text)
        for step in steps:
            value = value[int(step) if isinstance(value, list) else step]
    except (ValueError, TypeError, LookupError):
        return False
    return True
