"""Retention by whole gateways: two replicas at once, ended with kill -9 at any moment, and an S3 whose requests are counted."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from parts.faults import FaultProxy
from parts.house import Filed, House, some_bytes
from parts.postgres import Databases
from parts.s3 import SeaweedS3
from parts.stage import Shelf, Stage

from gateway.catalog.registry import Registry
from gateway.config import Origin
from gateway.model import Lifetime, NewCall, Object, Store
from gateway.postgres import open_pool
from gateway.stores import open_store

PAST = datetime(2020, 1, 1, tzinfo=UTC)
EAGER = {"sweep": True, "interval_s": 0.2, "batch": 3}


class Heads(list[bytes]):
    """Request heads, and an event for the next deletion among them."""

    def __init__(self) -> None:
        super().__init__()
        self.deletion = asyncio.Event()

    def append(self, head: bytes) -> None:
        super().append(head)
        if head.startswith(b"DELETE "):
            self.deletion.set()

    def deletions(self) -> Counter[str]:
        """Key → how often its deletion was asked for."""
        return Counter(m[1].decode() for head in self if (m := re.match(rb"DELETE /[^/]+/(\S+) ", head)))


@dataclass
class Vault:
    """Two gateways on one database, whose S3 is reached over ``proxy``."""

    stage: Stage
    s3: SeaweedS3
    store: Store
    registry: Registry
    heads: Heads
    houses: list[House]
    over: list[Filed] = field(default_factory=list)
    held: list[Filed] = field(default_factory=list)
    fresh: list[Filed] = field(default_factory=list)

    async def fill(self, over: int, held: int = 1, fresh: int = 1) -> None:
        """More recordings of each kind."""
        self.fresh += [await self.file() for _ in range(fresh)]
        for _ in range(held):
            # Held before it is over: a sweep may come between any two statements.
            filed = await self.file()
            await self.stage.office.rows("UPDATE recordings SET hold = true WHERE call_id = $1", filed.id)
            await self.stage.office.rows("UPDATE recordings SET expires_at = $2 WHERE call_id = $1", filed.id, PAST)
            self.held.append(filed)
        self.over += [await self.file(expires_at=PAST) for _ in range(over)]

    async def file(self, expires_at: datetime | None = None) -> Filed:
        """As Stage.file does, on connections that are there already."""
        key, data = f"retention/{uuid4()}.wav", some_bytes(2000)
        await asyncio.to_thread(self.s3.put, key, data)
        stat = await self.store.stat(key)
        call = await self.registry.create_call(self.stage.tenant, NewCall())
        place = Object("s3", key, stat, "audio/wav")
        await self.registry.mark_ready(self.stage.tenant, call, place, lifetime=Lifetime(expires_at=expires_at))
        return Filed(call, "", data, stat.etag, stat.modified)

    async def settled(self) -> None:
        """Returns once all that is over was deleted, and every event has ended and arrived."""
        undeleted = (
            "SELECT count(*) FROM recordings WHERE expires_at <= now() AND NOT hold AND object_deleted_at IS NULL"
        )
        unended = "SELECT count(*) FROM accesses WHERE result IS NULL"
        missing = (
            "SELECT count(*) FROM recordings r WHERE state = 'expired' AND NOT EXISTS"
            " (SELECT FROM accesses a WHERE a.recording = r.id AND a.result = 'complete')"
        )
        async with asyncio.timeout(60):
            while any([(await self.stage.office.rows(query))[0][0] for query in (undeleted, unended, missing)]):  # noqa: ASYNC110  a table tells nobody
                await asyncio.sleep(0.1)

    async def check(self) -> Counter[str]:
        """Everything there is to promise. Returns how events ended."""
        rows = {row["call_id"]: row for row in await self.stage.office.rows("SELECT * FROM recordings")}
        keys = {rows[filed.id]["key"]: filed for filed in self.over}
        assert self.heads.deletions() == dict.fromkeys(keys, 1)
        assert {rows[filed.id]["state"] for filed in self.over} == {"expired"}
        assert {rows[filed.id]["state"] for filed in self.held + self.fresh} == {"ready"}
        listed = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket, Prefix="retention/")
        there = {found["Key"] for page in listed for found in page.get("Contents", [])}
        assert not there & keys.keys()
        assert {rows[filed.id]["key"] for filed in self.held + self.fresh} <= there
        events = await self.stage.office.rows("SELECT * FROM accesses WHERE surface = 'retention'")
        by_call: dict[UUID, Counter[str]] = {}
        for event in events:
            assert (event["method"], event["actor_kind"]) == ("deletion", "system")
            by_call.setdefault(event["call"], Counter())[event["result"]] += 1
        assert by_call.keys() == {filed.id for filed in self.over}
        assert all(results["complete"] >= 1 for results in by_call.values())
        return sum(by_call.values(), Counter())


@pytest.fixture
async def vault(databases: Databases, s3: SeaweedS3, shelved: dict[str, Shelf], tmp_path: Path) -> AsyncIterator[Vault]:
    async with FaultProxy(s3.port) as proxy, AsyncExitStack() as stack:
        proxy.heads = heads = Heads()
        stage = Stage(await databases.create(), {"s3": shelved["s3"]}, tmp_path)
        stack.push_async_callback(asyncio.to_thread, stage.close)  # the proxy they ask lives in this loop
        store = await open_store("s3", s3.settings(), Origin())
        stack.push_async_callback(store.close)
        pool = await open_pool(stage.office.database)
        stack.push_async_callback(pool.close)
        stage.tenant = await stage.office.tenant()
        stage.full = await stage.key()
        over_proxy = {"s3": stage.stores["s3"] | {"endpoint": proxy.url}}
        audit = {"ship_interval_ms": 20, "adopt_interval_s": 0.5}
        houses = await asyncio.gather(
            *(asyncio.to_thread(stage.another, over_proxy, retention=EAGER, audit=audit) for _ in range(2))
        )
        yield Vault(stage, s3, store, Registry(pool, stage.office.database), heads, houses)


async def test_of_two_replicas_one_at_a_time_ends_what_is_over(vault: Vault):
    await vault.fill(40, held=5, fresh=5)
    await vault.settled()
    assert await vault.check() == {"complete": 40}
    over, held = vault.over[0], vault.held[0]
    for house in vault.houses:
        assert (await asyncio.to_thread(house.get, over.native, vault.stage.full))[0] == 410
        assert await asyncio.to_thread(house.get, held.native, vault.stage.full) == (200, held.data)


async def test_kill_9_at_any_moment_leaves_every_end_whole(vault: Vault, request: pytest.FixtureRequest):
    chance, crashes = random.Random(4), max(1, request.config.getoption("--crashes") // 2)
    for _ in range(crashes):
        vault.heads.deletion.clear()
        filling = asyncio.create_task(vault.fill(8))
        async with asyncio.timeout(30):
            await vault.heads.deletion.wait()
        await asyncio.sleep(chance.uniform(0, 0.1))  # at any moment: that is the test
        killed = [house for house in vault.houses if chance.random() < 0.7] or vault.houses
        for house in killed:
            house.kill()
        await filling
        await asyncio.gather(*(asyncio.to_thread(house.start) for house in killed))
    await vault.fill(8)
    await vault.settled()
    results = await vault.check()
    print(f"\n{crashes} crashes, {len(vault.over)} recordings ended: {dict(results)}")
