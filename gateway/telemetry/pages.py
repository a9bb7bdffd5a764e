"""Pages of figures in Prometheus' text format: several processes' made into one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

PREFIX = "recording_gateway_"
WORKER = "worker"
"""The label that tells whose figure it is, on a page of several workers."""


def text(families: Iterable[Metric]) -> str:
    """The page."""
    return generate_latest(_Given(families)).decode()


def merge(pages: Mapping[str, str], down: Collection[str] = ()) -> str:
    """One page out of several workers', by name: each sample with its worker's label, each family once.

    ``down`` names workers that gave no page. Raises ValueError where a page is not in the text format.
    """
    families: dict[str, Metric] = {}
    up = GaugeMetricFamily(f"{PREFIX}worker_up", "1: the worker gave its figures; 0: it did not.", labels=[WORKER])
    for worker in sorted({*pages, *down}):
        up.add_metric([worker], float(worker in pages))
        for family in text_string_to_metric_families(pages.get(worker, "")):
            kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            kept.samples += [
                Sample(sample.name, {WORKER: worker, **sample.labels}, sample.value) for sample in family.samples
            ]
    return text([up, *families.values()])


class _Given(Collector):
    """Families that are there already, as the library's formatter wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
