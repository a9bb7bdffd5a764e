"""Three who counted: the client, the gateway's metrics, Postgres. They must agree to the last request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from .tally import End, Ended, Tally

LOOK_S = 0.5
_Key = TypeVar("_Key", int, Ended)


@dataclass(frozen=True, slots=True)
class Kept:
    """What Postgres holds."""

    ends: Counter[Ended]
    unended: int
    complete_bytes: int
    partial_bytes: int


@dataclass(frozen=True, slots=True)
class Count:
    """One figure by all who know it; None: that one does not."""

    of: str
    client: int
    postgres: int | None
    metrics: int | None

    @property
    def agreed(self) -> bool:
        return all(other in {None, self.client} for other in (self.postgres, self.metrics))


async def kept(url: str) -> Kept:
    """All accesses there are."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT status, result, count(*) AS count, coalesce(sum(bytes_sent), 0)::bigint AS bytes"
            " FROM accesses GROUP BY status, result"
        )
    finally:
        await connection.close()
    ended = {(int(row["status"]), str(row["result"])): row for row in rows if row["result"] is not None}
    by_end: Counter[str] = Counter()
    for (_, result), row in ended.items():
        by_end[result] += row["bytes"]
    return Kept(
        Counter({key: row["count"] for key, row in ended.items()}),
        sum(row["count"] for row in rows if row["result"] is None),
        by_end[End.COMPLETE],
        by_end[End.CLIENT_GONE],
    )


async def drained(url: str, outcomes: int, seconds: float) -> float | None:
    """Seconds until Postgres held so many outcomes; None: not in time."""
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    try:
        while await connection.fetchval("SELECT count(*) FROM access_outcomes") < outcomes:
            if time.monotonic() > began + seconds:
                return None
            await asyncio.sleep(LOOK_S)
    finally:
        await connection.close()
    return time.monotonic() - began


def compare(client: Tally, postgres: Kept, metrics: Counter[int] | None) -> list[Count]:
    """Every figure two of them know. ``metrics`` None: nothing was told."""
    statuses = client.statuses()
    by_status = Counter[int]()
    for (status, _), count in postgres.ends.items():
        by_status[status] += count
    counts = [
        Count(
            "requests",
            client.ended,
            postgres.ends.total() + postgres.unended,
            None if metrics is None else metrics.total(),
        )
    ]
    counts += [
        Count(f"status {status}", statuses[status], by_status[status], None if metrics is None else metrics[status])
        for status in _all(statuses, by_status, metrics or ())
    ]
    counts += [
        Count(f"{status} {result}", client.ends[status, result], postgres.ends[status, result], None)
        for status, result in _all(client.ends, postgres.ends)
    ]
    counts.append(Count("bytes of complete bodies", client.complete_bytes, postgres.complete_bytes, None))
    return counts


def _all(*many: Iterable[_Key]) -> list[_Key]:
    return sorted({key for each in many for key in each})
