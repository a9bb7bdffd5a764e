"""What a gateway's figures are, read as Prometheus would."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

PREFIX = "recording_gateway_"


@dataclass(frozen=True)
class Figures:
    """One scrape."""

    samples: tuple[Sample, ...]

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples of ``name``, given without its prefix, that have these labels."""
        return sum(sample.value for sample in self._of(name, **labels))

    def by(self, name: str, *labels: str, **given: str) -> dict[tuple[str, ...], float]:
        """The sums by the values of ``labels``."""
        sums: dict[tuple[str, ...], float] = {}
        for sample in self._of(name, **given):
            key = tuple(sample.labels[label] for label in labels)
            sums[key] = sums.get(key, 0) + sample.value
        return sums

    def values(self, label: str) -> set[str]:
        """All that ``label`` is anywhere."""
        return {sample.labels[label] for sample in self.samples if label in sample.labels}

    def _of(self, name: str, **labels: str) -> list[Sample]:
        return [
            sample
            for sample in self.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]


def scrape(port: int) -> Figures:
    """The figures now."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return Figures(tuple(sample for family in families for sample in family.samples))


async def settled(port: int, enough: Callable[[Figures], bool]) -> Figures:
    """The figures once they are ``enough``: a client has its answer a moment before it is counted."""
    async with asyncio.timeout(20):
        while True:
            figures = await asyncio.to_thread(scrape, port)
            if enough(figures):
                return figures
            await asyncio.sleep(0.05)
