"""What was measured, round by round, and what is said of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric of one variant over all rounds."""

    median: float
    low: float
    high: float
    rounds: int


def summarise(values: Sequence[float]) -> Summary:
    """``values``: one a round, at least one."""
    return Summary(median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0 to 1) of ``values`` do not exceed: nearest rank."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[min(int(rank), len(ordered)) - 1]


@dataclass(slots=True)
class Results:
    """workload → variant → metric → one value a round."""

    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """What went wrong, for the table to say: a figure is missing where one stands."""

    def add(self, workload: str, variant: str, metrics: Mapping[str, float]) -> None:
        """One round's."""
        kept = self.values.setdefault(workload, {}).setdefault(variant, {})
        for metric, value in metrics.items():
            kept.setdefault(metric, []).append(value)

    def summary(self, workload: str, variant: str, metric: str) -> Summary | None:
        """None: it was not measured."""
        values = self.values.get(workload, {}).get(variant, {}).get(metric)
        return summarise(values) if values else None

    def median(self, workload: str, variant: str, metric: str) -> float | None:
        """None: it was not measured."""
        summary = self.summary(workload, variant, metric)
        return None if summary is None else summary.median

    def ratio(self, workload: str, variant: str, metric: str, to: str) -> float | None:
        """Of medians in this run. None: one of them was not measured, or is 0, which is less than was counted in."""
        above, below = self.median(workload, variant, metric), self.median(workload, to, metric)
        return above / below if above and below else None

    def difference(self, workload: str, variant: str, metric: str, to: str) -> float | None:
        """Of medians in this run. None: one of them was not measured."""
        above, below = self.median(workload, variant, metric), self.median(workload, to, metric)
        return above - below if above is not None and below is not None else None

    def metrics(self, workload: str) -> list[str]:
        """In the order they first came."""
        return unique(metric for kept in self.values.get(workload, {}).values() for metric in kept)

    def document(self) -> dict[str, Any]:
        """For JSON: all values, and what is said of them."""
        return {
            workload: {
                variant: {
                    metric: {"median": (s := summarise(values)).median, "min": s.low, "max": s.high, "values": values}
                    for metric, values in metrics.items()
                }
                for variant, metrics in variants.items()
            }
            for workload, variants in self.values.items()
        }


def unique(words: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(words))
