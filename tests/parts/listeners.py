"""Clients that listen all the time, and remember what they saw: every answer that brought audio or a link."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp

from .stage import PROXY


@dataclass
class Listeners:
    """Load on one gateway. ``seen``: request ids whose answer brought at least one byte of audio, or a link."""

    headers: dict[str, str]
    paths: list[str]
    count: int = 8
    seed: int = 1
    seen: dict[str, int] = field(default_factory=dict)
    """request id → body bytes that came"""
    refused: dict[int, int] = field(default_factory=dict)
    """status → how many answers without audio"""
    served: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at each answer that brought something."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at each answer, a refusal too."""
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def start(self, base_url: str) -> None:
        self._tasks = [asyncio.create_task(self._listen(base_url, self.seed + i)) for i in range(self.count)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def until_served(self, times: int = 1) -> None:
        """Returns once ``times`` more answers brought something."""
        for _ in range(times):
            self.served.clear()
            await self.served.wait()

    async def until_answered(self, times: int = 1) -> None:
        """Returns once ``times`` more answers came, whatever they brought."""
        for _ in range(times):
            self.answered.clear()
            await self.answered.wait()

    async def _listen(self, base_url: str, seed: int) -> None:
        chance = random.Random(seed)
        connector = aiohttp.TCPConnector(local_addr=(PROXY, 0))
        async with aiohttp.ClientSession(base_url, connector=connector) as session:
            while True:
                try:
                    await self._ask(session, chance)
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    await asyncio.sleep(0.02)  # the gateway is down: it will be back

    async def _ask(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        name, path = uuid4().hex, chance.choice(self.paths)
        headers = {**self.headers, "X-Request-Id": name}
        if chance.random() < 0.5:
            start = chance.randrange(100_000)
            headers["Range"] = f"bytes={start}-{start + chance.randrange(1, 200_000)}"
        async with session.get(path, headers=headers) as answer:
            self.answered.set()
            if answer.status not in {200, 206}:
                self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
                await asyncio.sleep(0.01)
                return
            hang_up = chance.randrange(150_000) if chance.random() < 0.2 else None
            with contextlib.suppress(aiohttp.ClientPayloadError):
                while piece := await answer.content.read(8192):
                    self.seen[name] = self.seen.get(name, 0) + len(piece)
                    self.served.set()
                    if hang_up is not None and self.seen[name] > hang_up:
                        answer.close()
                        return
