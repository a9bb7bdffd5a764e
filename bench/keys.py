"""What turning each key does: ``make bench-keys``, one gateway with the key turned beside one as shipped, at a time.

Keys that end in ``_s`` and do not stand here are deadlines, and cost nothing before they pass.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import aiohttp
import click
from rich.console import Console
from rich.progress import track

from gateway.demo.ports import free_ports
from gateway.demo.server import Server

from .beside import CONNECTIONS, Ask, Run, beside, ranges
from .client.request import HOST, WrongAnswer, connect, request
from .kernel import resident_bytes, socket_bytes
from .sizes import QUICK, SPAN
from .stage import Stage, listening, passing_state, set_up
from .variants import Target, start_gateway
from .workloads.first_byte import first_byte_s

IDS = 1000
IDLE = 1000
"""Connections that are kept and ask nothing."""
REDIS = "redis://"
"""Where a key wants the URL of one that runs."""


@dataclass(frozen=True, slots=True)
class Turned:
    """``settings`` as ``start_gateway`` takes them, beside ``shipped``, which the other gateway has as well."""

    what: str
    settings: Mapping[str, str]
    shipped: Mapping[str, str] = field(default_factory=dict)


UNCACHED = {"catalog__cache_entries": "1"}
RANGES = (
    Turned("nothing", {}),
    Turned("`log.requests` = false", {"log__requests": "false"}),
    Turned("`server.zero_copy` = false", {"server__zero_copy": "false"}),
    Turned("`server.send_buffer_bytes` 131072 → 524288", {"server__send_buffer_bytes": "524288"}),
    Turned("`origin.receive_buffer_bytes` 4194304 → 0", {"origin__receive_buffer_bytes": "0"}),
    Turned("`origin.sign_reuse_s` 240 → 1", {"origin__sign_reuse_s": "1"}),
    Turned("`server.trusted_proxies` = 127.0.0.0/8", {"server__trusted_proxies": '["127.0.0.0/8"]'}),
    Turned("`limits.key`, `.tenant` in memory", dict.fromkeys(("limits__key", "limits__tenant"), "99999999/minute")),
    Turned(
        "the same with `limits.url`, a Redis",
        {"limits__key": "99999999/minute", "limits__tenant": "99999999/minute", "limits__url": REDIS},
    ),
    Turned("`catalog.cache_ttl_s` 60 → 0.1", {"catalog__cache_ttl_s": "0.1"}),
    Turned("`audit.gather_ms` 0 → 2", {"audit__gather_ms": "2"}),
    Turned("`audit.segment_bytes` 16 MiB → 1 MiB", {"audit__segment_bytes": "1048576"}),
    Turned("`audit.ship_interval_ms` 100 → 1000", {"audit__ship_interval_ms": "1000"}),
)
"""Asked for 64 KiB ranges of an object that everything knows."""
MISSES = (
    Turned("`catalog.cache_entries` 100000 → 1", UNCACHED),
    Turned("without the cache, `origin.sign_reuse_s` 240 → 1", {"origin__sign_reuse_s": "1"}, UNCACHED),
    *(
        Turned(
            f"without the cache, `database.pool_max` 10 → {size}",
            {"database__pool_min": "1", "database__pool_max": str(size)},
            UNCACHED,
        )
        for size in (1, 2, 32)
    ),
)
"""Asked for a thousand ids in turn."""


@click.command()
@click.argument("rounds", type=click.IntRange(1), default=5)
def main(rounds: int) -> None:
    """What turning each key costs or gains, as a table."""
    asyncio.run(_measured(rounds))


async def _measured(rounds: int) -> None:
    """Prints a table."""
    console = Console(stderr=True)
    async with AsyncExitStack() as stack:
        console.print("origin, Postgres, its catalog, a Redis")
        size = replace(QUICK, cold_ids=IDS)
        stage = await set_up(stack.enter_context(passing_state()), size, stack)
        redis = await _redis(stage, stack)
        print("| key | CPU µs per request | as shipped | over it, in a round | Postgres µs | requests/s | as shipped |")
        print("|---|---|---|---|---|---|---|", flush=True)
        jobs = [(turned, ranges) for turned in RANGES] + [(turned, ids) for turned in MISSES]
        for turned, ask in track(jobs, "keys", console=console):
            print(await _row(turned, ask, stage, redis, rounds), flush=True)
        print(await _idle(stage))


async def _row(turned: Turned, ask: Ask, stage: Stage, redis: str, rounds: int) -> str:
    settings = {key: redis if value == REDIS else value for key, value in turned.settings.items()}
    async with AsyncExitStack() as stack:
        shipped = Run(await start_gateway(stage, stack, name="shipped", **turned.shipped))
        other = Run(await start_gateway(stage, stack, name="turned", **{**turned.shipped, **settings}))
        await beside({"shipped": shipped, "turned": other}, stage, rounds, ask)
    cells = (
        turned.what,
        other.cpu(),
        shipped.cpu(),
        other.over(shipped),
        f"{other.postgres()} ({shipped.postgres()})",
        other.rate(),
        shipped.rate(),
    )
    return f"| {' | '.join(cells)} |"


def ids(target: Target, stage: Stage, seed: int) -> tuple[int, float]:
    """Every id once, in an order of chance. Raises WrongAnswer."""
    return asyncio.run(_ids(target, stage, seed))


async def _ids(target: Target, stage: Stage, seed: int) -> tuple[int, float]:
    keys = random.Random(seed).sample(stage.cold, len(stage.cold))
    left = iter(keys)
    loop = asyncio.get_running_loop()

    async def take(session: aiohttp.ClientSession) -> None:
        for key in left:
            async with session.get(target.path("plain", key)) as answer:
                if len(await answer.read()) != SPAN:
                    raise WrongAnswer(f"{target.name}: {answer.status}")

    url, connector = f"http://{HOST}:{target.ports['plain']}", aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(url, headers=target.headers, connector=connector) as session:
        began = loop.time()
        await asyncio.gather(*(take(session) for _ in range(CONNECTIONS)))
        return len(keys), len(keys) / (loop.time() - began)


async def _redis(stage: Stage, stack: AsyncExitStack) -> str:
    """The URL of one that keeps nothing on disk."""
    (port,) = free_ports(1)
    words = {"bind": HOST, "port": str(port), "save": "", "appendonly": "no", "dir": str(stage.folder)}
    command = ["redis-server", *(word for name, value in words.items() for word in (f"--{name}", value))]
    server = await Server.start("redis", command, folder=stage.folder, ready=listening(port))
    stack.push_async_callback(server.stop)
    return f"redis://{HOST}:{port}"


async def _idle(stage: Stage) -> str:
    """What a client's connection takes that was asked on once, and is kept."""
    async with AsyncExitStack() as stack:
        target = await start_gateway(stage, stack, name="idle")
        await asyncio.to_thread(ranges, target, stage, 0)
        before, kernel = resident_bytes(target.pid), socket_bytes(target.ports["plain"], target.origins)
        asked = request(target, "plain", stage.cold[0], (0, 99))
        for _ in range(IDLE):
            sock = stack.enter_context(connect(target, "plain"))
            first_byte_s(sock, asked)
        own = (resident_bytes(target.pid) - before) / IDLE / 1000
        held = (socket_bytes(target.ports["plain"], target.origins) - kernel) / IDLE / 1000
    return f"\n{IDLE} idle connections (`server.keepalive_s`): {own:.1f} KB resident and {held:.1f} KB of the kernel's each"


if __name__ == "__main__":
    main()
