"""Figures as if a gateway had them."""

from collections import Counter
from dataclasses import dataclass, field

from gateway.audit import Stats
from gateway.event import Result
from gateway.telemetry.figures import Sources
from gateway.telemetry.lag import LoopLag
from gateway.telemetry.meter import Meter

STATS = Stats(1000, 10, 5000, 1.5, 3, 40, 2, None, "Postgres is away", admits=True)


@dataclass
class Cache:
    hits: int = 9
    stale: int = 2
    misses: int = 4

    def __len__(self) -> int:
        return 3


@dataclass
class Counts:
    requests: int = 10
    connections: int = 2
    reused: int = 8
    replaced: int = 1
    retries: int = 3
    resumes: int = 4
    errors: Counter[str] = field(default_factory=lambda: Counter({"unavailable": 5}))


@dataclass
class Store:
    counts: Counts = field(default_factory=Counts)


class Pool:
    def get_size(self) -> int:
        return 5

    def get_idle_size(self) -> int:
        return 3

    def get_max_size(self) -> int:
        return 10


@dataclass
class Streams:
    bound: int = 2048
    in_flight: int = 2
    refused: Counter[str] = field(default_factory=lambda: Counter({"streams": 2, "streams_per_tenant": 1}))


def some_figures() -> Sources:
    """Something of everything."""
    meter = Meter()
    meter.answered("native", "/v1/recordings/{id}/audio", "GET", 206, 0.2, 0.01, 65536)
    meter.answered("native", "/v1/recordings/{id}/audio", "GET", 206, 0.3, 0.02, 65536)
    meter.answered("native", "-", "GET", 404, 0.001, None, 0, Result.REFUSED, "unknown_route")
    lag = LoopLag()
    lag.lags.observe(0.003)
    stores = {"calls": Store(), "folder": object()}
    caches = {"calls": Cache()}
    return Sources(
        "1.2.3", meter, lag, lambda: 4, lambda: 6, lambda: STATS, Pool(), caches, lambda: True, stores, Streams()
    )
