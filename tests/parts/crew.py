"""A gateway with several workers, and clients that hold connections and forgive nothing."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from gateway.config import ENV_FILE

from .audit import until
from .drinker import Client
from .house import House

PAUSE_S = 0.02
"""What a client takes at most to think, so that the machine has a turn left for what it looks at."""


@dataclass
class Crew(House):
    """A house whose process supervises workers. ``file`` is what a reload reads anew."""

    file: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        self.write()
        return super().environment() | {ENV_FILE: str(self.folder / "gateway.toml")}

    def write(self, **file: Any) -> None:
        """The configuration file, with ``file`` in it."""
        self.file |= file
        (self.folder / "gateway.toml").write_text(tomlkit.dumps(self.file))

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Lines of the log that say so."""
        return [line for line in list(self.logs) if line.get("event") == event and fields.items() <= line.items()]

    async def tells(self, event: str, times: int = 1, within_s: float = 40, **fields: object) -> dict[str, Any]:
        """Waits for the line that says so for the ``times``-th time."""
        await until(lambda: len(self.told(event, **fields)) >= times, within_s)
        return self.told(event, **fields)[times - 1]

    def pids(self) -> dict[int, int]:
        """slot → process id of the worker that became ready last."""
        return {line["worker"]: line["pid"] for line in self.told("worker ready")}


def alive(pid: int) -> bool:
    """Whether the process is there, a zombie apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Miss:
    """A request that got no whole answer."""

    at: float
    why: str
    before: str | None
    """The id of the last request that the same connection had answered."""


@dataclass
class Regulars:
    """Clients that ask one range after another on connections they keep until they are told to close."""

    paths: list[str]
    headers: dict[str, str]
    count: int = 8
    per_connection: int = 50
    """Requests before a client leaves by itself and comes back."""
    answered: dict[str, int] = field(default_factory=dict)
    """request id → body bytes that came"""
    missed: list[Miss] = field(default_factory=list)
    slowest: float = 0.0
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _done: bool = False

    def start(self, base_url: str) -> None:
        self._tasks = [asyncio.create_task(self._come_back(base_url, seed)) for seed in range(self.count)]

    async def stop(self) -> None:
        """Each has its last answer."""
        self._done = True
        await asyncio.gather(*self._tasks)

    async def until_answered(self, more: int) -> None:
        goal = len(self.answered) + more
        await until(lambda: len(self.answered) >= goal, within_s=60)

    async def _come_back(self, base_url: str, seed: int) -> None:
        chance = random.Random(seed)
        while not self._done:
            begun, last = time.monotonic(), [None]
            try:
                async with await Client.connect(base_url) as client:
                    await self._ask(client, chance, last)
            except OSError as error:
                self._miss(f"not connected: {error!r}", None)
                await asyncio.sleep(0.02)
            self.slowest = max(self.slowest, time.monotonic() - begun)

    async def _ask(self, client: Client, chance: random.Random, last: list[Any]) -> None:
        for _ in range(chance.randrange(1, self.per_connection)):
            if self._done:
                return
            await asyncio.sleep(chance.uniform(0, PAUSE_S))
            begun = time.monotonic()
            start = chance.randrange(1000)
            fields = self.headers | {"Range": f"bytes={start}-{start + chance.randrange(1, 60_000)}"}
            try:
                await client.request(chance.choice(self.paths), fields)
            except OSError as error:
                self._miss(f"not sent: {error!r}", last[0])
                return
            if await client.head() == 0:
                self._miss("no answer", last[0])
                return
            body = await client.rest()
            if client.status != 206 or not client.whole:
                self._miss(f"{client.status}: {body[:300]!r}", last[0])
                return
            last[0] = client.fields["x-request-id"]
            self.answered[last[0]] = len(body)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if client.fields.get("connection") == "close":
                return

    def _miss(self, why: str, before: str | None) -> None:
        self.missed.append(Miss(time.monotonic(), why, before))
