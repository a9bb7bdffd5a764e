"""What a durable audit costs: random ranges with it and without, and Postgres' own share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import asyncpg

from ..client import wrk
from ..client.request import WrongAnswer
from ..variants import Target
from .workload import Metrics, Spent, Turn, Workload

EVENTS = 2
"""Of one request: an intent and an outcome."""
SHIPPED_S = 60.0


def _accesses(url: str) -> tuple[int, int]:
    """Rows, and those of them that have no outcome yet."""

    async def count() -> tuple[int, int]:
        connection = await asyncpg.connect(url)
        try:
            row = await connection.fetchrow("SELECT count(*), count(*) FILTER (WHERE result IS NULL) FROM accesses")
        finally:
            await connection.close()
        assert row is not None
        return int(row[0]), int(row[1])

    return asyncio.run(count())


def _shipped(url: str, least: int) -> int:
    """Rows, once there are ``least`` of them and all are ended. Raises WrongAnswer where that takes too long."""
    until = time.perf_counter() + SHIPPED_S
    while True:
        rows, unended = _accesses(url)
        if rows >= least and not unended:
            return rows
        if time.perf_counter() > until:
            break
        time.sleep(0.1)
    raise WrongAnswer(f"accesses in Postgres after {SHIPPED_S:g} s: {rows} of {least}, {unended} without an end")


def _round(turn: Turn) -> Mapping[str, Metrics]:
    stage, size = turn.stage, turn.stage.size
    seed = turn.chance.randrange(1 << 30)

    def measure(target: Target) -> Metrics:
        audited = target.name == "gateway"
        before = _shipped(stage.database_url, 0)
        with Spent(target.pid) as spent, Spent(stage.postgres_pid) as postgres:
            asked = wrk.ask(target, stage, connections=size.connections, seconds=size.ranges_s, seed=seed)
            rows = _shipped(stage.database_url, before + (asked.requests if audited else 0)) - before
        # wrk counts no request that it left unanswered at its end: one a connection, at most.
        if rows > (asked.requests + size.connections if audited else 0):
            raise WrongAnswer(f"{rows} accesses in Postgres for {asked.requests} requests")
        return {
            "cpu_us_per_request": spent.cpu_s * 1e6 / asked.requests,
            "postgres_cpu_us_per_request": postgres.cpu_s * 1e6 / asked.requests,
            "rows_per_request": rows / asked.requests,
        }

    measured = turn.each(measure)
    if len(measured) == len(turn.targets):
        with_, without = measured["gateway"], measured["gateway-unaudited"]
        shared = ("cpu_us_per_request", "postgres_cpu_us_per_request")
        measured["one event"] = {name: (with_[name] - without[name]) / EVENTS for name in shared}
    return measured


WORKLOADS = (
    Workload(
        "audit",
        "Random ranges with the audit and with it stubbed out; one event is half the difference, shipping included.",
        ("gateway", "gateway-unaudited"),
        "gateway-unaudited",
        _round,
        fresh=True,
    ),
)
