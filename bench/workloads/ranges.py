"""Random 64 KiB ranges over kept connections: CPU per request."""

from __future__ import annotations

from collections.abc import Mapping

from ..client import wrk
from ..variants import WITH_PORTABLE, Target
from .workload import Metrics, Spent, Turn, Workload


def _round(turn: Turn) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    seed = turn.chance.randrange(1 << 30)

    def measure(target: Target) -> Metrics:
        with Spent(target.pid) as spent:
            asked = wrk.ask(target, stage, connections=size.connections, seconds=size.ranges_s, seed=seed)
        return {
            "cpu_ms_per_request": spent.cpu_s * 1000 / asked.requests,
            "requests_per_s": asked.requests_per_s,
            "p50_us": asked.p50_us,
            "p99_us": asked.p99_us,
        }

    return turn.each(measure)


WORKLOADS = (
    Workload(
        "ranges", "64 KiB ranges at random over kept connections, plain-HTTP origin.", WITH_PORTABLE, "nginx", _round
    ),
)
