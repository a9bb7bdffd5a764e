"""Two gateways on one Postgres and one Redis: what one is told, both heed."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

import pytest
from parts.house import House, some_bytes
from parts.redis import StoppableRedis
from parts.stage import PROXY, Stage
from parts.wire import Wire

LIMITS = {"key": "20/minute", "tenant": "1000000/minute", "public": "10/minute", "failing": "10/minute"}
REVOCATIONS = 50
WITHIN_S = 2.0


@dataclass(frozen=True)
class Pair:
    """Two replicas, and where they count."""

    houses: tuple[House, House]
    redis: StoppableRedis

    def statuses(self, count: int, target: str, *lines: tuple[str, str]) -> list[int]:
        """``count`` requests, one after the other, to the replicas by turns."""
        with Wire(self.houses[0].base_url, source=PROXY) as one, Wire(self.houses[1].base_url, source=PROXY) as other:
            return [(one, other)[turn % 2].ask("GET", target, lines).status for turn in range(count)]


@pytest.fixture(scope="module")
def _houses(stage: Stage, _redis: StoppableRedis) -> Iterator[tuple[House, House]]:
    limits = LIMITS | {"url": _redis.url, "wait_s": 5}
    houses = stage.another(stage.on_disk, limits=limits), stage.another(stage.on_disk, limits=limits)
    yield houses
    for house in houses:
        house.stop()


@pytest.fixture
def pair(_houses: tuple[House, House], redis: StoppableRedis) -> Pair:
    return Pair(_houses, redis)


async def test_revoked_key_is_dead_on_both(stage: Stage, pair: Pair):
    tenant = await stage.office.tenant("replicated")
    took = []
    with Wire(pair.houses[0].base_url) as one, Wire(pair.houses[1].base_url) as other:
        for _ in range(REVOCATIONS):
            pair.redis.ask("FLUSHALL")  # so many refusals from one address would be too many
            key = await stage.key(tenant=tenant)
            for replica in (one, other, one, other):
                assert replica.ask("GET", "/v1/recordings", key.items()).status == 200
            await stage.office.revoke(key)
            begun = time.monotonic()
            for replica in (other, one):
                while replica.ask("GET", "/v1/recordings", key.items()).status != 401:
                    assert time.monotonic() - begun < WITHIN_S
                    pair.redis.ask("FLUSHALL")
            took.append(time.monotonic() - begun)
    print(
        f"{REVOCATIONS} revocations heard by both within {median(took) * 1000:.1f} ms (median), {max(took) * 1000:.1f} ms at most"
    )


async def test_limits_are_shared(stage: Stage, pair: Pair):
    key = await stage.key(tenant=await stage.office.tenant("sharing"))
    over = pair.statuses(30, "/v1/recordings", *key.items())
    assert over == [200] * 20 + [429] * 10
    address = ("X-Forwarded-For", "198.51.100.7")
    assert pair.statuses(16, f"/agentphone/v1/calls/{uuid4()}/recording", address) == [404] * 10 + [429] * 6
    assert pair.statuses(16, "/v1/recordings", address) == [401] * 10 + [429] * 6


async def test_requests_go_on_while_redis_is_dead_and_are_counted_together_again_after(stage: Stage, pair: Pair):
    tenant = await stage.office.tenant("orphaned")
    filed = await stage.file("disk", some_bytes(5000), tenant=tenant)
    key = await stage.key(tenant=tenant)
    assert pair.statuses(4, filed.native, *key.items()) == [200] * 4
    pair.redis.kill()
    alone = pair.statuses(50, filed.native, *key.items())
    assert alone == [200] * 40 + [429] * 10, "each replica counts for itself"
    assert pair.statuses(4, filed.native, *(await stage.key(tenant=tenant)).items()) == [200] * 4
    await asyncio.to_thread(pair.redis.start)
    await asyncio.gather(*(found_again(house) for house in pair.houses))
    key = await stage.key(tenant=tenant)
    assert pair.statuses(30, filed.native, *key.items()) == [200] * 20 + [429] * 10
    for house in pair.houses:
        told = [line["event"] for line in house.logs if line["event"].startswith("limits.")]
        assert told == ["limits.shared_counts_lost", "limits.shared_counts_found"]


async def found_again(house: House) -> None:
    async with asyncio.timeout(20):
        while not any(line["event"] == "limits.shared_counts_found" for line in house.logs):  # noqa: ASYNC110  a log
            await asyncio.sleep(0.02)
