"""Counting in a real Redis: together with others while it is there, alone while it is not."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import structlog
from limits import parse
from parts.redis import StoppableRedis

from gateway.config import Limits as Settings
from gateway.edge.counts import Wait
from gateway.edge.limits import RateLimits
from gateway.edge.shared_counts import SharedCounts
from gateway.errors import TooMany, Unavailable
from gateway.model import Caller, Presented

RATE = parse("5/minute")
WAIT_S = 1.0
"""That a Redis may take where it is the point that it takes it; elsewhere a busy machine's gets ``PATIENCE_S``."""
PATIENCE_S = 60.0


@asynccontextmanager
async def counting(redis: StoppableRedis, wait_s: float = PATIENCE_S) -> AsyncIterator[SharedCounts]:
    counts = SharedCounts(redis.url, wait_s=wait_s)
    try:
        yield counts
    finally:
        await counts.close()


async def back(counts: SharedCounts) -> None:
    """Waits until its Redis was found again."""
    assert counts._looking is not None
    async with asyncio.timeout(20):
        await counts._looking


async def test_replicas_share_one_count(redis: StoppableRedis):
    async with counting(redis) as one, counting(redis) as other:
        waits: list[Wait] = [await (one, other)[turn % 2].hit(RATE, "a") for turn in range(8)]
        assert waits[:5] == [None] * 5
        assert all(wait is not None and 1 <= wait <= 60 for wait in waits[5:])
        assert await one.look(RATE, "a") == await other.look(RATE, "a")
        assert await one.look(RATE, "b") is None


async def test_many_at_once_are_let_in_exactly_as_many_as_may(redis: StoppableRedis):
    async with counting(redis) as one, counting(redis) as other:
        waits = await asyncio.gather(*(counts.hit(parse("100/hour"), "a") for counts in (one, other) * 200))
        assert waits.count(None) == 100


async def test_one_more_fits_in_after_the_wait_told(redis: StoppableRedis):
    async with counting(redis) as counts:
        rate = parse("2/second")
        while (wait := await counts.hit(rate, "a")) is None:
            pass
        assert wait == 1
        await asyncio.sleep(wait)
        assert await counts.hit(rate, "a") is None


async def test_keys_hold_no_credential_and_expire(redis: StoppableRedis):
    rates = {"key": "1/hour", "tenant": "1/hour", "public": "1/hour", "failing": "1/hour"}
    limits = RateLimits.open(Settings.model_validate({"url": redis.url, "wait_s": PATIENCE_S, **rates}))
    tenant, key = uuid4(), str(uuid4())
    for kind, subject in (("api_key", key), ("user", "ann@example.com")):
        shown = Presented(f"the-secret-{kind}")
        await limits.suspect("203.0.113.9", shown)
        caller = Caller(tenant, kind=kind, subject=subject, credential=key, method=kind)
        for _ in range(2):
            try:
                await limits.caller(caller, shown)
            except TooMany:
                continue
    await limits.stranger("203.0.113.9")
    await limits.failed("203.0.113.9")
    await limits.close()
    keys = redis.counted()
    assert len(keys) == 5, "key twice, tenant, public, failing"
    assert all(0 < left <= 2 * 3600 for left in keys.values())
    assert all(name.startswith("recording-gateway:") for name in keys)
    assert not any("secret" in name or "ann" in name for name in keys)


async def test_dead_redis_is_told_once_and_counted_without_until_it_is_back(redis: StoppableRedis):
    with structlog.testing.capture_logs() as told:
        async with counting(redis) as counts:
            assert await counts.hit(RATE, "a") is None
            redis.kill()
            assert await asyncio.gather(*(counts.hit(RATE, "b") for _ in range(5))) == [None] * 5
            assert await counts.hit(RATE, "b") is not None, "this process goes on counting"
            await asyncio.gather(*(counts.hit(RATE, str(who)) for who in range(100)))
            redis.start()
            await back(counts)
            await counts.hit(RATE, "c")
            assert any("/c/" in name for name in redis.counted())
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("limits.shared_counts_lost", "warning"),
        ("limits.shared_counts_found", "info"),
    ]


async def test_silent_redis_costs_the_first_its_wait_and_nobody_else_anything(redis: StoppableRedis):
    async with counting(redis, WAIT_S) as counts:
        await counts.hit(RATE, "a")
        with redis.frozen():
            took = []
            for _ in range(20):
                begun = time.monotonic()
                await counts.hit(RATE, "a")
                took.append(time.monotonic() - begun)
            assert WAIT_S <= took[0] < WAIT_S * 5
            assert max(took[1:]) < WAIT_S


async def test_redis_that_answers_and_takes_no_writes_counts_as_away(redis: StoppableRedis):
    with structlog.testing.capture_logs() as told:
        async with counting(redis) as counts:
            redis.ask("CONFIG", "SET", "min-replicas-to-write", "1")
            assert [await counts.hit(RATE, "a") for _ in range(5)] == [None] * 5
            assert await counts.hit(RATE, "a") is not None
            first = redis.refusals("NOREPLICAS")
            async with asyncio.timeout(20):
                while redis.refusals("NOREPLICAS") == first:  # noqa: ASYNC110  being asked again, it tells nobody
                    await asyncio.sleep(0.01)
            assert len(told) == 1
            redis.ask("CONFIG", "SET", "min-replicas-to-write", "0")
            await back(counts)


@pytest.mark.parametrize(
    "nonsense", [b":x\r\n", b"$x\r\n", b"x" * 200_000, b"*1\r\n" * 2000, b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
async def test_what_answers_nonsense_counts_as_away(nonsense: bytes):
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                answered += 1
                writer.write(nonsense)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    counts = SharedCounts(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", wait_s=WAIT_S)
    assert [await counts.hit(RATE, "a") for _ in range(5)] == [None] * 5
    assert await counts.hit(RATE, "a") is not None
    assert await counts.look(RATE, "a") is not None
    with pytest.raises(Unavailable) as away:
        await counts.check()
    assert away.value.detail, "it says why"
    first = answered
    async with asyncio.timeout(20):
        while answered == first:  # noqa: ASYNC110  being asked again, it tells nobody
            await asyncio.sleep(0.01)
    assert counts._looking is not None
    await counts.close()
    server.close()


async def test_client_that_leaves_while_it_is_counted_spoils_nothing(redis: StoppableRedis):
    with structlog.testing.capture_logs() as told:
        async with counting(redis) as counts:
            rate = parse("100000/hour")
            for turn in range(300):
                leaving = asyncio.create_task(counts.hit(rate, "a"))
                for _ in range(turn % 7):
                    await asyncio.sleep(0)
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
                assert await counts.hit(parse("1/hour"), f"one-{turn}") is None
                assert await counts.hit(parse("1/hour"), f"one-{turn}") is not None
    assert told == []


@pytest.mark.parametrize("options", ["", "?health_check_interval=1", "/3"])
async def test_url_may_name_a_database_and_options(redis: StoppableRedis, options: str):
    counts = SharedCounts(redis.url + options, wait_s=PATIENCE_S)
    with structlog.testing.capture_logs() as told:
        assert await counts.hit(RATE, "a") is None
    await counts.close()
    assert told == []
