"""The goals, each beside its figure and the floor below which it is not done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .results import Results
from .slices import SLICE


class Verdict(StrEnum):
    """How a figure stands to its goal."""

    MET = "met"
    ABOVE_FLOOR = "above floor"
    BELOW = "BELOW FLOOR"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """``figure`` None: this run did not measure it. ``least``: more is better."""

    title: str
    unit: str
    goal: float
    floor: float
    figure: Callable[[Results], float | None]
    least: bool = False
    beside: Callable[[Results], str] = field(default=lambda _: "")
    """What the figure cannot be read without."""


def judge(goal: Goal, figure: float | None) -> Verdict:
    """The goal and the floor themselves still count."""
    if figure is None:
        return Verdict.UNKNOWN
    sign = -1 if goal.least else 1
    if sign * figure <= sign * goal.goal:
        return Verdict.MET
    return Verdict.ABOVE_FLOOR if sign * figure <= sign * goal.floor else Verdict.BELOW


def _ratio(workload: str, metric: str, to: str = "nginx") -> Callable[[Results], float | None]:
    return lambda results: results.ratio(workload, "gateway", metric, to)


def _beyond(workload: str, metric: str, to: str) -> Callable[[Results], float | None]:
    return lambda results: results.difference(workload, "gateway", metric, to)


def _itself(workload: str, metric: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(workload, "gateway", metric)


def _times_one(results: Results) -> float | None:
    """Where each worker had CPU of its own; else on what the machine had left for a second one."""
    sliced = results.median("workers-sliced", "gateway-2", "times_one_worker")
    return results.median("workers", "gateway-2", "times_one_worker") if sliced is None else sliced


def _control(results: Results) -> str:
    """What the machine left for a second worker that had no CPU of its own, and what nginx made of that."""
    sliced = results.median("workers-sliced", "gateway-2", "times_one_worker")
    whole = results.median("workers", "gateway-2", "times_one_worker")
    control = results.median("workers", "nginx-2", "times_one_worker")
    busy = results.median("workers", "gateway-1", "cpus_busy")
    told = [] if sliced is None else [f"each with {SLICE:g} of a CPU"]
    told += [] if sliced is None or whole is None else [f"with what this machine has {whole:.2f} ×"]
    told += [] if control is None else [f"nginx {control:.2f} ×"]
    told += [] if busy is None else [f"one worker, its client, origin and Postgres kept {busy:.2f} CPUs busy"]
    return "; ".join(told)


GOALS: Sequence[Goal] = (
    Goal("whole objects, plain-HTTP origin, CPU/GB", "× tuned nginx", 0.5, 0.7, _ratio("whole", "cpu_s_per_gb")),
    Goal("whole objects, TLS origin, CPU/GB", "× nginx over TLS", 0.85, 1.05, _ratio("whole-tls", "cpu_s_per_gb")),
    Goal(
        "whole objects, local disk, CPU/GB",
        "× nginx serving the same file",
        1.0,
        1.3,
        _ratio("whole-disk", "cpu_s_per_gb", "nginx-file"),
    ),
    Goal("64 KiB ranges, CPU/request", "× bare nginx", 2.5, 4, _ratio("ranges", "cpu_ms_per_request")),
    Goal(
        "64 KiB ranges, CPU/request, against nginx that checks auth and logs",
        "× nginx-auth",
        1.0,
        1.0,
        _ratio("ranges", "cpu_ms_per_request", "nginx-auth"),
    ),
    Goal(
        "requests/s against the aiobotocore proxy",
        "×",
        10,
        7,
        _ratio("ranges", "requests_per_s", "aiobotocore"),
        least=True,
    ),
    Goal(
        "requests/s against FastAPI + httpx",
        "×",
        25,
        15,
        _ratio("ranges", "requests_per_s", "fastapi-httpx"),
        least=True,
    ),
    Goal("first byte over the origin, p50: nginx", "µs", 200, 350, _itself("first-byte", "p50_over_direct_us")),
    Goal("first byte over the origin, p50: a real S3", "µs", 200, 350, _itself("first-byte-s3", "p50_over_direct_us")),
    Goal("resident memory per slow stream, plain origin", "KB", 32, 64, _itself("slow", "resident_kb_per_stream")),
    Goal("resident memory per slow stream, TLS origin", "KB", 150, 250, _itself("slow-tls", "resident_kb_per_stream")),
    Goal("user + kernel memory per stalled stream", "KB", 512, 1024, _itself("stalled", "total_kb_per_stream")),
    Goal(
        "audit's share of first byte, p50: nginx", "µs", 50, 150, _beyond("first-byte", "p50_us", "gateway-unaudited")
    ),
    Goal(
        "audit's share of first byte, p50: a real S3",
        "µs",
        50,
        150,
        _beyond("first-byte-s3", "p50_us", "gateway-unaudited"),
    ),
    Goal("two workers against one, requests/s", "×", 1.8, 1.5, _times_one, least=True, beside=_control),
)
