"""Seeks as players make them: an open range, abandoned after 300 KB, on a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping

from ..client.request import request
from ..client.streams import read_all
from ..results import percentile
from ..sizes import ABANDONED
from ..variants import PROXIES, Target
from .workload import Metrics, Spent, Turn, Workload

AT_ONCE = 16


def _round(turn: Turn) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    firsts = [turn.chance.randrange(size.object_bytes - ABANDONED) for _ in range(size.seeks)]

    def measure(target: Target) -> Metrics:
        requests = [request(target, "plain", stage.keys[0], (first, None)) for first in firsts]
        with Spent(target.pid) as spent:
            took = read_all(target, "plain", requests, at_once=AT_ONCE, wanted=ABANDONED)
        return {
            "cpu_ms_per_seek": spent.cpu_s * 1000 / len(requests),
            "p50_ms": percentile(took, 0.5) * 1000,
            "p99_ms": percentile(took, 0.99) * 1000,
        }

    return turn.each(measure)


WORKLOADS = (
    Workload(
        "seek-storm",
        "Open ranges abandoned after 300 KB, 16 players at once, plain-HTTP origin.",
        PROXIES,
        "nginx",
        _round,
    ),
)
