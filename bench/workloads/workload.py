"""What every workload is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import Self

from asyncpg import PostgresError

from ..client.request import WrongAnswer
from ..kernel import cpu_seconds
from ..stage import Stage
from ..variants import Target

Metrics = Mapping[str, float]
FAILURES = (WrongAnswer, OSError, ValueError, LookupError, ArithmeticError, SubprocessError, PostgresError)
"""What a variant that answers wrongly, or ends, comes out as."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round: ``targets`` are measured once each, in an order of ``chance``'s."""

    stage: Stage
    targets: Mapping[str, Target]
    chance: random.Random
    failures: list[str]
    """What went wrong is told here, and the others go on."""

    def shuffled(self) -> list[Target]:
        """All of them, in an order of chance."""
        order = list(self.targets.values())
        self.chance.shuffle(order)
        return order

    def each(self, measure: Callable[[Target], Metrics]) -> dict[str, Metrics]:
        """One after the other, each alone."""
        measured = {}
        for target in self.shuffled():
            try:
                measured[target.name] = measure(target)
            except FAILURES as error:
                self.failures.append(f"{target.name}: {error}")
        return {name: measured[name] for name in self.targets if name in measured}


Round = Callable[[Turn], Mapping[str, Metrics]]
"""Variant → metrics, the one that matters first."""


@dataclass(frozen=True, slots=True)
class Workload:
    """``fresh``: variants are started anew for each round. ``rounds`` None: as many as the size says."""

    name: str
    what: str
    """For the table."""
    variants: tuple[str, ...]
    baseline: str
    """What ratios are against."""
    round: Round
    origin: str = "plain"
    fresh: bool = False
    rounds: int | None = None


class Spent:
    """CPU that a process tree uses inside ``with``, in seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.cpu_s = 0.0

    def __enter__(self) -> Self:
        self._before = cpu_seconds(self._pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = cpu_seconds(self._pid) - self._before
