"""Gateways beside one another: asked in turn, each round in another order, and compared within a round."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from .client import wrk
from .stage import Stage
from .variants import Target
from .workloads.workload import Spent

CONNECTIONS, SECONDS = 32, 2


@dataclass(slots=True)
class Run:
    """A gateway, and what each round took. The first round warms up, and is left out of all figures."""

    target: Target
    cpu_us: list[float] = field(default_factory=list)
    """Per request."""
    postgres_us: list[float] = field(default_factory=list)
    """Per request, Postgres' own."""
    rates: list[float] = field(default_factory=list)
    """Requests a second."""

    def cpu(self) -> str:
        """Median, least and most."""
        values = self.cpu_us[1:]
        return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"

    def over(self, other: Run) -> str:
        """Median, least and most of what it took more than ``other`` in the same round."""
        more = [mine - beside for mine, beside in zip(self.cpu_us[1:], other.cpu_us[1:], strict=True)]
        return f"{median(more):+.1f} ({min(more):+.1f} … {max(more):+.1f})"

    def postgres(self) -> str:
        return f"{median(self.postgres_us[1:]):.0f}"

    def rate(self) -> str:
        return f"{median(self.rates[1:]):,.0f}"


Ask = Callable[[Target, Stage, int], tuple[int, float]]
"""(target, stage, seed) → requests, and how many a second; blocks."""


def ranges(target: Target, stage: Stage, seed: int) -> tuple[int, float]:
    """64 KiB ranges of one object that everything knows."""
    asked = wrk.ask(target, stage, connections=CONNECTIONS, seconds=SECONDS, seed=seed)
    return asked.requests, asked.requests_per_s


async def take_turns(
    runs: Mapping[str, Run], stage: Stage, rounds: int, ask: Callable[[str, int], Awaitable[tuple[int, float]]]
) -> None:
    """``rounds`` and one to warm up; ``ask`` is told whom, and the round."""
    for number in range(rounds + 1):
        for name in random.sample(list(runs), len(runs)):
            run = runs[name]
            with Spent(run.target.pid) as own, Spent(stage.postgres_pid) as postgres:
                requests, rate = await ask(name, number)
            run.cpu_us.append(own.cpu_s / requests * 1e6)
            run.postgres_us.append(postgres.cpu_s / requests * 1e6)
            run.rates.append(rate)


async def beside(runs: Mapping[str, Run], stage: Stage, rounds: int, ask: Ask) -> None:
    """As ``take_turns``, by what asks them all alike."""
    await take_turns(runs, stage, rounds, lambda name, seed: asyncio.to_thread(ask, runs[name].target, stage, seed))
