"""A tenant's webhooks as its user sees them, on gateways with a quick schedule, and calls that become ready by the hundred."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from gateway.catalog.registry import Registry
from gateway.config import Database
from gateway.model import NewCall
from gateway.postgres import open_pool

from .catalog import an_object
from .house import House
from .stage import Shelf, Stage
from .wavs import silence
from .wire import Answer, Wire

QUICK: dict[str, Any] = {
    "allow_http": True,
    "allow_networks": ["127.0.0.0/8"],
    "connect_s": 0.5,
    "answer_s": 0.5,
    "schedule_s": [0.1, 0.1, 1],
    "poll_s": 0.5,
}
"""Of [webhooks]: a lease lasts 3 s, and the third retry is the last."""


@dataclass
class Hooks:
    """``fields``: of the tenant's key, which may manage webhooks."""

    stage: Stage
    fields: dict[str, str]

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        fields: dict[str, str] | None = None,
        house: House | None = None,
    ) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        return await asyncio.to_thread(self._ask, house or self.stage.house, method, path, raw, fields or self.fields)

    def _ask(self, house: House, method: str, path: str, body: bytes, fields: dict[str, str]) -> Answer:
        with Wire(house.base_url) as wire:
            return wire.ask(method, path, fields.items(), body)

    async def make(self, url: str, **more: object) -> dict[str, Any]:
        """A webhook with its secret, which may stand in no log."""
        answer = await self.ask("POST", "/v1/webhooks", {"url": url, **more})
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json()
        self.stage.secrets.add(made["secret"])
        return made

    async def show(self, hook: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.ask("GET", f"/v1/webhooks/{hook['id']}")).json()
        return shown

    async def happen(self, count: int = 1) -> list[UUID]:
        """So many calls whose recordings become ready."""
        settings = Database(url=self.stage.database_url)
        calls = []
        async with await open_pool(settings) as pool:
            registry = Registry(pool, settings)
            for _ in range(count):
                alias = f"call_{uuid4().hex[:12]}"
                call = await registry.create_call(self.stage.tenant, NewCall(aliases={"yotel": alias}))
                await registry.mark_ready(self.stage.tenant, call, an_object(f"{alias}.wav"))
                calls.append(call)
        return calls

    async def put(self) -> UUID:
        """A call whose recording the gateway itself makes ready, as the upload pipeline asks it to."""
        call, key = uuid4(), f"acme/{uuid4().hex}.wav"
        self.stage.shelves["disk"].put(key, silence(0.1))
        for path, body in (f"/v1/calls/{call}", {}), (f"/v1/calls/{call}/recording", {"store": "disk", "key": key}):
            answer = await self.ask("PUT", path, body)
            assert answer.status in {200, 201}, answer.body
        assert answer.json()["state"] == "ready"
        return call

    async def log(self, hook: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/v1/webhooks/{hook['id']}/deliveries{query}")
        assert answer.status == 200, answer.body
        entries: list[dict[str, Any]] = answer.json()["data"]
        return entries

    async def settled(self, hook: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
        """The log, once ``count`` deliveries are in it and none is pending."""
        log = await self.logged(hook, lambda log: len(log) >= count and all(d["state"] != "pending" for d in log))
        assert len(log) == count
        return log

    async def logged(
        self, hook: dict[str, Any], there: Callable[[list[dict[str, Any]]], bool], within_s: float = 30
    ) -> list[dict[str, Any]]:
        """The log, once it is as ``there`` wants it."""
        async with asyncio.timeout(within_s):
            while True:
                log = await self.log(hook, "?limit=200")
                if there(log):
                    return log
                await asyncio.sleep(0.02)  # nobody tells of what is written into the log


@asynccontextmanager
async def hooked(database_url: str, root: Path, folder: Path, **webhooks: Any) -> AsyncIterator[Hooks]:
    """One gateway with a quick schedule on a database of its own; ``webhooks`` changes its section."""
    disk = Shelf({"kind": "disk", "root": str(root)}, lambda key, data: _write(root / key, data))
    stage = Stage(database_url, {"disk": disk}, folder, {"webhooks": {**QUICK, **webhooks}})
    try:
        await stage.open()
        yield Hooks(stage, await stage.key("webhooks:manage", "recordings:write"))
    finally:
        await asyncio.to_thread(stage.close)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
