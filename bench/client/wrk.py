"""Random ranges by wrk, which outruns every proxy here."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..sizes import SPAN
from ..stage import Stage
from ..variants import Target
from .request import HOST, WrongAnswer

SCRIPT = Path(__file__).with_name("ranges.lua")


@dataclass(frozen=True, slots=True)
class Asked:
    """What wrk tells of one run."""

    requests: int
    bytes: int
    duration_us: int
    p50_us: int
    p99_us: int
    failed: int

    @property
    def requests_per_s(self) -> float:
        return self.requests / (self.duration_us / 1e6)


def ask(target: Target, stage: Stage, *, connections: int, seconds: int, seed: int, strict: bool = True) -> Asked:
    """Ranges of the first object. Raises WrongAnswer (``strict``: for any failed request)."""
    key, size = stage.keys[0], stage.size.object_bytes
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(SCRIPT)]
    command += [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    command += [f"http://{HOST}:{target.ports['plain']}{target.path('plain', key)}", "--", str(size), str(seed)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if told.returncode or not told.stdout.strip():
        raise WrongAnswer(f"{target.name}: wrk ended with {told.returncode}: {told.stderr.strip()}")
    asked = Asked(**json.loads(told.stdout.splitlines()[-1]))
    if not asked.requests:
        raise WrongAnswer(f"{target.name}: not one range in {seconds} s")
    if strict and (asked.failed or asked.bytes < asked.requests * SPAN):
        raise WrongAnswer(f"{target.name}: {asked.failed} of {asked.requests} ranges failed")
    return asked
