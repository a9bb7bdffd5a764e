"""Killing processes at random moments while Postgres is up, gone or frozen; and what must hold afterwards."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import asyncpg
import orjson

from .audit import until
from .postgres import StoppablePostgres

Weather = Literal["up", "stopped", "frozen"]
WEATHERS: tuple[Weather, ...] = ("up", "stopped", "frozen")
WORKER = Path(__file__).with_name("audit_worker.py")


class Victim(Protocol):
    """A process under load that can be killed and started again."""

    async def start(self) -> None:
        """Returns once it serves."""
        ...

    async def kill(self) -> None:
        """SIGKILL; returns once it is gone and all it ever told was heard."""
        ...

    def progress(self) -> int:
        """Accesses acknowledged by it, ever."""
        ...


@dataclass
class Tally:
    """What was done, and what came of it."""

    crashes: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    events: int = 0
    missing: list[str] = field(default_factory=list)
    twice: int = 0
    """Events with more than one row."""
    unended: int = 0
    """Events without exactly one outcome."""
    results: Counter[str] = field(default_factory=Counter)


async def crash(victims: Sequence[Victim], postgres: StoppablePostgres, *, crashes: int, seed: int) -> Counter[str]:
    """Kills one victim after another at a random moment under load, Postgres' state changing with each.

    A victim comes back while Postgres is still in that state. All of them run, and Postgres too, when this returns.
    """
    chance = random.Random(seed)
    counted: Counter[str] = Counter()
    for victim in victims:
        await victim.start()
    for number in range(crashes):
        weather = WEATHERS[number % len(WEATHERS)]
        victim = victims[chance.randrange(len(victims))]
        await _progress(victim, chance.randrange(1, 200))
        await _set(postgres, weather)
        await asyncio.sleep(chance.expovariate(10))  # the random moment
        await victim.kill()
        counted[weather] += 1
        await asyncio.gather(victim.start(), asyncio.sleep(chance.uniform(0, 1)))
        await _restore(postgres, weather)
    return counted


async def settled(
    url: str, seen: Sequence[str], *, column: Literal["event_id", "request_id"] = "event_id", within_s: float = 60
) -> Tally:
    """Waits until all that was ``seen`` stands in Postgres, and every event there has ended; then counts."""
    connection = await asyncpg.connect(url)
    try:
        with suppress(TimeoutError):  # what is missing then is told by the tally
            async with asyncio.timeout(within_s):
                while not await _is_settled(connection, seen, column):  # noqa: ASYNC110 - Postgres has no event for it
                    await asyncio.sleep(0.1)
        return await _tally(connection, seen, column)
    finally:
        await connection.close()


async def _is_settled(connection: asyncpg.Connection, seen: Sequence[str], column: str) -> bool:
    query = f"SELECT count(DISTINCT {column}) FROM access_events WHERE {column}::text = ANY($1)"
    found = await connection.fetchval(query, seen)
    waiting = await connection.fetchval("SELECT count(*) FROM accesses WHERE result IS NULL")
    return found == len(set(seen)) and waiting == 0


async def _tally(connection: asyncpg.Connection, seen: Sequence[str], column: str) -> Tally:
    query = f"SELECT DISTINCT {column}::text FROM access_events"
    there = {row[0] for row in await connection.fetch(query)}
    counts = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM access_events) AS events,
            (SELECT count(*) FROM (SELECT 1 FROM access_events GROUP BY event_id HAVING count(*) > 1) t) AS twice,
            (SELECT count(*) FROM (
                SELECT 1 FROM access_events e FULL JOIN access_outcomes o USING (event_id)
                GROUP BY event_id HAVING count(o.result) <> 1 OR count(e.surface) <> 1
            ) t) AS unended
        """
    )
    results = await connection.fetch("SELECT result, count(*) FROM access_outcomes GROUP BY result")
    return Tally(
        seen=len(set(seen)),
        events=counts["events"],
        missing=sorted(set(seen) - there),
        twice=counts["twice"],
        unended=counts["unended"],
        results=Counter({row[0]: row[1] for row in results}),
    )


async def _progress(victim: Victim, accesses: int) -> None:
    """Waits until it acknowledged so many more."""
    goal = victim.progress() + accesses
    await until(lambda: victim.progress() >= goal, within_s=30)


async def _set(postgres: StoppablePostgres, weather: Weather) -> None:
    if weather == "stopped":
        await asyncio.to_thread(postgres.stop)
    elif weather == "frozen":
        await asyncio.to_thread(postgres.pause)


async def _restore(postgres: StoppablePostgres, weather: Weather) -> None:
    if weather == "stopped":
        await asyncio.to_thread(postgres.start)
    elif weather == "frozen":
        await asyncio.to_thread(postgres.resume)


class Worker:
    """``audit_worker.py`` as a victim: the audit alone, under load. It tells each event once it was acknowledged."""

    def __init__(self, journal: Path, url: str, *, rate: int = 500) -> None:
        self._words = [sys.executable, str(WORKER), str(journal), url, str(rate)]
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.seen: list[str] = []
        self.depths: list[dict[str, float]] = []
        """What it told of its journal, now and then."""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._words,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        ready = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(ready))
        async with asyncio.timeout(30):
            await ready.wait()

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM. Returns its exit status."""
        return await self._end(signal.SIGTERM)

    def progress(self) -> int:
        return len(self.seen)

    async def _end(self, number: int) -> int:
        process, listening = self._process, self._listening
        if process is None or listening is None:
            return 0
        self._process = None
        if process.returncode is None:
            process.send_signal(number)
        await listening
        return await process.wait()

    async def _listen(self, ready: asyncio.Event) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        async for line in process.stdout:
            word, _, rest = line.strip().partition(b" ")
            if word == b"ready":
                ready.set()
            elif word == b"seen":
                self.seen.append(rest.decode())
            elif word == b"stats":
                self.depths.append(orjson.loads(rest))
        ready.set()


def workers(stack: AsyncExitStack, journal: Path, url: str, *, count: int, rate: int) -> list[Worker]:
    """Replicas that share one journal folder. Whatever happens, they are gone when the stack unwinds."""
    made = [Worker(journal, url, rate=rate) for _ in range(count)]
    for worker in made:
        stack.push_async_callback(worker.kill)
    return made
