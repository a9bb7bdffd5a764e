"""An id asked for the first time (catalog miss, a URL to sign) against the same id again: first byte at low load."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..client.request import connect, request
from ..results import percentile
from ..sizes import SPAN
from .first_byte import PAUSE_S, first_byte_s
from .workload import Metrics, Turn, Workload


def _round(turn: Turn) -> Mapping[str, Metrics]:
    target = turn.targets["gateway"]
    keys = list(turn.stage.cold)
    turn.chance.shuffle(keys)
    measured: dict[str, Metrics] = {}
    with connect(target, "plain") as sock:
        # The process itself, its pools and its journal are warm.
        for key in turn.stage.keys:
            first_byte_s(sock, request(target, "plain", key, (0, SPAN - 1)))
        for name in ("cold id", "warm id"):
            took = []
            for key in keys:
                time.sleep(PAUSE_S)
                took.append(first_byte_s(sock, request(target, "plain", key, (0, SPAN - 1))) * 1e6)
            measured[name] = {"p50_us": percentile(took, 0.5), "p99_us": percentile(took, 0.99)}
    return measured


WORKLOADS = (
    Workload(
        "cold",
        "First byte of ids never asked for before, and of the same again.",
        ("gateway",),
        "warm id",
        _round,
        fresh=True,
    ),
)
