"""More and more connections asking as fast as they are answered: where it saturates, and what overload looks like."""

from __future__ import annotations

from collections.abc import Mapping

from ..client import wrk
from ..variants import Target
from .workload import Metrics, Turn, Workload


def _round(turn: Turn) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    measured: dict[str, Metrics] = {}
    for connections in size.ramp:

        def measure(target: Target, connections: int = connections) -> Metrics:
            seed = turn.chance.randrange(1 << 30)
            asked = wrk.ask(target, stage, connections=connections, seconds=size.ramp_s, seed=seed, strict=False)
            return {
                "requests_per_s": asked.requests_per_s,
                "p50_us": asked.p50_us,
                "p99_us": asked.p99_us,
                "failed": asked.failed,
            }

        measured |= {f"{name} @ {connections}": metrics for name, metrics in turn.each(measure).items()}
    return {name: measured[name] for target in turn.targets for name in measured if name.startswith(f"{target} @")}


WORKLOADS = (
    Workload(
        "ramp", "Random ranges over 1 to many connections.", ("gateway", "nginx"), "gateway @ 1", _round, rounds=1
    ),
)
