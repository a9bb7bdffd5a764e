"""Seeks as players make them: an open range, abandoned after 300 KB, on a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping

from ..client.request import request
from ..client.streams import read_all
from ..results import percentile
from ..sent import fetched
from ..sizes import ABANDONED, KB
from ..variants import PROXIES, Target
from .workload import Metrics, Spent, Turn, Workload

AT_ONCE = 16


def _round(turn: Turn) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    firsts = [turn.chance.randrange(size.object_bytes - ABANDONED) for _ in range(size.seeks)]

    def measure(target: Target) -> Metrics:
        requests = [request(target, "plain", stage.keys[0], (first, None)) for first in firsts]
        with Spent(target.pid) as spent, fetched(stage, len(requests)) as origin:
            took = read_all(target, "plain", requests, at_once=AT_ONCE, wanted=ABANDONED)
        return {
            "cpu_ms_per_seek": spent.cpu_s * 1000 / len(requests),
            "fetched_in_vain_kb_per_seek": (origin.bytes / len(requests) - ABANDONED) / KB,
            "p50_ms": percentile(took, 0.5) * 1000,
            "p99_ms": percentile(took, 0.99) * 1000,
        }

    return turn.each(measure)


WORKLOADS = (
    Workload(
        "seek-storm",
        "Open ranges abandoned after 300 KB, 16 players at once, plain-HTTP origin. In vain is what the origin handed to its"
        " socket beyond what the players took.",
        PROXIES,
        "nginx",
        _round,
    ),
)
