"""Whole objects, several at once: CPU per GB."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from ..client.request import request
from ..client.streams import read_all
from ..sizes import GB, MB
from ..variants import WITH_PORTABLE, Target
from .workload import Metrics, Spent, Turn, Workload


def _round(turn: Turn, *, origin: str) -> Mapping[str, Metrics]:
    size = turn.stage.size

    def measure(target: Target) -> Metrics:
        requests = [request(target, origin, key) for key in turn.stage.keys] * size.repeats
        began = time.perf_counter()
        with Spent(target.pid) as spent:
            read_all(target, origin, requests, at_once=size.streams)
        took = time.perf_counter() - began
        moved = len(requests) * size.object_bytes
        return {"cpu_s_per_gb": spent.cpu_s / (moved / GB), "mb_per_s": moved / MB / took}

    return turn.each(measure)


WORKLOADS = (
    Workload(
        "whole", "Whole objects at once, plain-HTTP origin.", WITH_PORTABLE, "nginx", partial(_round, origin="plain")
    ),
    Workload(
        "whole-tls",
        "Whole objects at once, the origin behind TLS, verified.",
        ("gateway", "nginx", "haproxy", "caddy"),
        "nginx",
        partial(_round, origin="tls"),
        origin="tls",
    ),
    Workload(
        "whole-disk",
        "Whole objects at once from local disk; nginx-file serves the same files with sendfile.",
        ("gateway", "nginx-file"),
        "nginx-file",
        partial(_round, origin="disk"),
        origin="disk",
    ),
)
