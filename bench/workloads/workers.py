"""Two workers against one, with nginx as the control: client and origin share the CPUs with both."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from ..client import wrk
from ..kernel import busy_cpus, workers
from ..slices import SLICE, can_slice, sliced
from ..variants import Target
from .workload import Metrics, Spent, Turn, Workload

CONNECTIONS = 64
"""Enough for the kernel to spread them over two workers evenly."""


def _sliced_round(turn: Turn) -> Mapping[str, Metrics]:
    return _round(turn, SLICE) if can_slice() else {}


def _round(turn: Turn, share: float | None = None) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    seed = turn.chance.randrange(1 << 30)

    def measure(target: Target) -> Metrics:
        bounds = nullcontext() if share is None else sliced(workers(target.pid), share)
        with bounds, busy_cpus() as machine, Spent(target.pid) as spent:
            asked = wrk.ask(target, stage, connections=CONNECTIONS, seconds=size.ranges_s, seed=seed)
        return {
            "requests_per_s": asked.requests_per_s,
            "cpu_ms_per_request": spent.cpu_s * 1000 / asked.requests,
            "cpus_used": spent.cpu_s * 1e6 / asked.duration_us,
            "cpus_busy": machine.busy,
            "p99_us": asked.p99_us,
        }

    measured = turn.each(measure)
    return {name: {**metrics, **times_one(name, measured)} for name, metrics in measured.items()}


def times_one(name: str, measured: Mapping[str, Metrics]) -> Metrics:
    """Requests a second over those of the same kind with one worker, in the same round."""
    one = measured.get(f"{name.rpartition('-')[0]}-1")
    return {} if one is None else {"times_one_worker": measured[name]["requests_per_s"] / one["requests_per_s"]}


WORKLOADS = (
    Workload(
        "workers",
        "Random ranges over 64 connections, one worker and two. `cpus_used` are the variant's own, `cpus_busy` the whole"
        " machine's, with client, origin and Postgres: where one worker leaves little idle, a second can add little, and"
        " nginx, which shares nothing among its workers, shows how much.",
        ("gateway-1", "gateway-2", "nginx-1", "nginx-2"),
        "gateway-1",
        _round,
    ),
    Workload(
        "workers-sliced",
        f"The same, each worker with {SLICE:g} of a CPU and no more, so that no CPU is short: what a second one adds where"
        " CPUs are free. Measured where control groups may be made.",
        ("gateway-1", "gateway-2", "nginx-1", "nginx-2"),
        "gateway-1",
        _sliced_round,
        rounds=3,
    ),
)
