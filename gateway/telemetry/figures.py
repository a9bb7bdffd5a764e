"""The figures of one scrape: the meter's counts and every part's state at that moment, as Prometheus' metric families.

docs/metrics.md says what each means; a test holds the two together.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, runtime_checkable

from prometheus_client import Metric, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from .lag import LoopLag
from .meter import Histogram, Meter, SurfaceMeter
from .pages import PREFIX, text


class CacheCounts(Protocol):
    """How a cache fared. Its length: the answers that it holds."""

    hits: int
    stale: int
    misses: int

    def __len__(self) -> int: ...


class OriginCounts(Protocol):
    """How a store fared."""

    requests: int
    connections: int
    reused: int
    replaced: int
    retries: int
    resumes: int
    errors: Mapping[str, int]


@runtime_checkable
class Counted(Protocol):
    """A store that counts how it fares."""

    @property
    def counts(self) -> OriginCounts: ...


class JournalStats(Protocol):
    """How the audit stands."""

    @property
    def waiting_bytes(self) -> int: ...
    @property
    def waiting_records(self) -> int: ...
    @property
    def bound_bytes(self) -> int: ...
    @property
    def oldest_s(self) -> float: ...
    @property
    def open_events(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def quarantined(self) -> int: ...
    @property
    def journal_problem(self) -> str | None: ...
    @property
    def shipping_problem(self) -> str | None: ...
    @property
    def admits(self) -> bool: ...


class StreamCounts(Protocol):
    """Places for bodies on their way."""

    @property
    def bound(self) -> int: ...
    @property
    def in_flight(self) -> int:
        """Places taken, including those of bodies that the store has yet to answer for."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """Policy → bodies that it refused a place."""
        ...


class PoolCounts(Protocol):
    """Connections to Postgres."""

    def get_size(self) -> int: ...
    def get_idle_size(self) -> int: ...
    def get_max_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from. Each source is asked at every scrape, and must be cheap to ask."""

    version: str
    meter: Meter
    lag: LoopLag
    in_flight: Callable[[], int]
    """Requests being answered."""
    connections: Callable[[], int]
    """Clients', idle ones among them."""
    audit: Callable[[], JournalStats]
    pool: PoolCounts
    caches: Mapping[str, CacheCounts]
    heard: Callable[[], bool]
    """Whether the catalog's changes are heard."""
    stores: Mapping[str, object]
    """By name; those that are Counted have figures."""
    streams: StreamCounts


_process = ProcessCollector(registry=None)


async def page(sources: Sources) -> bytes:
    """The page, as all stands now. Formatting it gives way to others in between."""
    pieces = []
    for family in tuple(families(sources)):
        pieces.append(text([family]))
        await asyncio.sleep(0)
    return "".join(pieces).encode()


def families(sources: Sources) -> Iterator[Metric]:
    """All of them."""
    yield from _requests(sources.meter)
    yield _gauge("requests_in_flight", "Requests being answered.", sources.in_flight())
    yield _gauge("streams_in_flight", "Bodies on their way, or being asked for.", sources.streams.in_flight)
    yield _gauge("streams_max", "As many as there may be.", sources.streams.bound)
    refused = CounterMetricFamily(
        f"{PREFIX}streams_refused", "Bodies refused a place, by the bound that was reached.", labels=["policy"]
    )
    for policy, count in sources.streams.refused.items():
        refused.add_metric([policy], count)
    yield refused
    yield _gauge("connections", "Clients' connections, idle ones among them.", sources.connections())
    yield from _origins({name: store.counts for name, store in sources.stores.items() if isinstance(store, Counted)})
    yield from _caches(sources.caches)
    yield _gauge(
        "catalog_changes_heard", "1: changes in Postgres are heard, answers come from memory.", sources.heard()
    )
    yield from _audit(sources.audit())
    yield from _pool(sources.pool)
    lag = HistogramMetricFamily(f"{PREFIX}event_loop_lag_seconds", "How late a timer went off, four times a second.")
    _add(lag, [], sources.lag.lags)
    yield lag
    yield _gauge("event_loop_lag_max_seconds", "The longest lag since the scrape before.", sources.lag.worst())
    build = GaugeMetricFamily(f"{PREFIX}build_info", "Always 1; what runs.", labels=["version", "python"])
    build.add_metric([sources.version, platform.python_version()], 1)
    yield build
    yield from _process.collect()


def _requests(meter: Meter) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{PREFIX}requests", "Requests answered.", labels=["surface", "route", "method", "status"]
    )
    for (surface, route, method, status), row in meter.rows.items():
        requests.add_metric([surface, route, method, str(status)], row.count)
    yield requests
    unserved = CounterMetricFamily(
        f"{PREFIX}requests_unserved",
        "Requests that did not end complete, by what became of them and why.",
        labels=["surface", "result", "reason"],
    )
    for (surface, result, reason), count in meter.unserved.items():
        unserved.add_metric([surface, result.value, reason], count)
    yield unserved
    own = meter.surfaces
    yield _by_surface("request_duration_seconds", "From a request's head to its end.", own, lambda one: one.durations)
    yield _by_surface(
        "first_byte_seconds", "From a request's head to the first byte of an object.", own, lambda one: one.first_bytes
    )
    sent = CounterMetricFamily(f"{PREFIX}bytes_sent", "Bytes of objects handed to clients.", labels=["surface"])
    for surface, one in own.items():
        sent.add_metric([surface], one.sent)
    yield sent


def _origins(origins: Mapping[str, OriginCounts]) -> Iterator[Metric]:
    what: Iterable[tuple[str, str, Callable[[OriginCounts], int]]] = (
        ("requests", "Requests made to the store.", lambda one: one.requests),
        ("connections", "Connections made to the store.", lambda one: one.connections),
        ("connections_reused", "Requests that went over a connection made before.", lambda one: one.reused),
        ("connections_replaced", "Kept connections that the store had closed.", lambda one: one.replaced),
        ("retries", "Requests made again before the first byte.", lambda one: one.retries),
        ("resumes", "Bodies taken up again amid the object.", lambda one: one.resumes),
    )
    for name, about, look in what:
        family = CounterMetricFamily(f"{PREFIX}origin_{name}", about, labels=["store"])
        for store, one in origins.items():
            family.add_metric([store], look(one))
        yield family
    errors = CounterMetricFamily(
        f"{PREFIX}origin_errors", "Failures of the store, by kind.", labels=["store", "reason"]
    )
    for store, one in origins.items():
        for reason, count in one.errors.items():
            errors.add_metric([store, reason], count)
    yield errors


def _caches(caches: Mapping[str, CacheCounts]) -> Iterator[Metric]:
    lookups = CounterMetricFamily(
        f"{PREFIX}cache_lookups",
        "Questions put to a cache, by where the answer came from.",
        labels=["cache", "outcome"],
    )
    entries = GaugeMetricFamily(f"{PREFIX}cache_entries", "Answers that a cache holds.", labels=["cache"])
    for name, cache in caches.items():
        for outcome, count in (("hit", cache.hits), ("stale", cache.stale), ("miss", cache.misses)):
            lookups.add_metric([name, outcome], count)
        entries.add_metric([name], len(cache))
    yield lookups
    yield entries


def _audit(stats: JournalStats) -> Iterator[Metric]:
    yield _gauge("audit_journal_bytes", "Journalled and not yet in Postgres.", stats.waiting_bytes)
    yield _gauge("audit_journal_bound_bytes", "Beyond this no access is admitted.", stats.bound_bytes)
    yield _gauge("audit_journal_records", "The same in records, this process's own.", stats.waiting_records)
    yield _gauge("audit_journal_oldest_seconds", "How long the oldest has waited: the lag of shipping.", stats.oldest_s)
    yield _gauge("audit_open_events", "Accesses begun and not concluded.", stats.open_events)
    yield _gauge("audit_admits", "1: an access can be recorded now; 0: all are refused.", stats.admits)
    yield _gauge("audit_journal_failing", "1: nothing can be made durable.", stats.journal_problem is not None)
    yield _gauge("audit_shipping_failing", "1: nothing reaches Postgres.", stats.shipping_problem is not None)
    yield CounterMetricFamily(
        f"{PREFIX}audit_delivered_records", "Records that reached Postgres.", value=stats.delivered
    )
    yield CounterMetricFamily(
        f"{PREFIX}audit_quarantined_records", "Records and damaged places set aside.", value=stats.quarantined
    )


def _pool(pool: PoolCounts) -> Iterator[Metric]:
    connections = GaugeMetricFamily(f"{PREFIX}postgres_connections", "Connections of the pool.", labels=["state"])
    idle = pool.get_idle_size()
    connections.add_metric(["idle"], idle)
    connections.add_metric(["in_use"], pool.get_size() - idle)
    yield connections
    yield _gauge("postgres_connections_max", "As many as the pool may have.", pool.get_max_size())


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, about, value=float(value))


def _by_surface(
    name: str, about: str, surfaces: Mapping[str, SurfaceMeter], look: Callable[[SurfaceMeter], Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + name, about, labels=["surface"])
    for surface, one in surfaces.items():
        _add(family, [surface], look(one))
    return family


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    names = [*map(floatToGoString, histogram.bounds), "+Inf"]
    family.add_metric(labels, list(zip(names, map(float, accumulate(histogram.counts)), strict=True)), histogram.sum)
