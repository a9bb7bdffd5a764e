"""What figures and traces cost: ``python -m bench.telemetry [ROUNDS]``, 64 KiB ranges, CPU per request beside a gateway without them.

All of them run at once and are asked in turn, each round in another order; a round's differences are taken within it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp
from aiohttp import web

from gateway.demo.ports import free_ports
from gateway.demo.state import State

from .client import wrk
from .kernel import cpu_seconds
from .sizes import SIZES
from .stage import Stage, set_up
from .variants import Target, start_gateway

OFF = "nothing"
CONNECTIONS, SECONDS, SCRAPED_S = 32, 2, 1.0


@dataclass
class Run:
    """A gateway, and its CPU-microseconds per request in each round."""

    target: Target
    metrics_port: int | None = None
    values: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


async def main(rounds: int) -> None:
    """Prints a table."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rg-bench-")))
        stage = await set_up(stack.enter_context(State(folder)), SIZES["quick"], stack)
        collector = await _collector(stack)
        runs = {
            OFF: await _run(stage, stack, "off"),
            "figures, scraped every second": await _run(stage, stack, "figures", metrics=True),
        }
        for sample in ("0", "0.01", "1"):
            traced = await _run(stage, stack, f"traced-{sample}", endpoint=collector, sample=sample)
            runs[f"traces, sample {sample}"] = traced
        for number in range(rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                await _ask(runs[name], stage, seed=number)
        _tell(runs)


async def _run(
    stage: Stage, stack: AsyncExitStack, name: str, *, metrics: bool = False, endpoint: str = "", sample: str = ""
) -> Run:
    settings = {}
    port = free_ports(1)[0] if metrics else None
    if port is not None:
        settings["metrics__port"] = str(port)
    if endpoint:
        settings |= {"tracing__endpoint": endpoint, "tracing__sample": sample}
    return Run(await start_gateway(stage, stack, name=f"gateway-{name}", **settings), port)


async def _ask(run: Run, stage: Stage, seed: int) -> None:
    scraping = asyncio.create_task(_scrape(run.metrics_port)) if run.metrics_port is not None else None
    before = cpu_seconds(run.target.pid)
    asked = await asyncio.to_thread(wrk.ask, run.target, stage, connections=CONNECTIONS, seconds=SECONDS, seed=seed)
    run.values.append((cpu_seconds(run.target.pid) - before) / asked.requests * 1e6)
    run.rates.append(asked.requests_per_s)
    if scraping is not None:
        scraping.cancel()
        with suppress(asyncio.CancelledError):
            await scraping


async def _scrape(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert (await answer.read()).startswith(b"# HELP")
            await asyncio.sleep(SCRAPED_S)


async def _collector(stack: AsyncExitStack) -> str:
    """The URL of one that takes everything and keeps nothing."""

    async def take(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response()

    (port,) = free_ports(1)
    server = web.Server(take)
    stack.push_async_callback(server.shutdown)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    stack.callback(listener.close)
    return f"http://127.0.0.1:{port}"


def _tell(runs: dict[str, Run]) -> None:
    """The first round warms up, and is left out."""
    off = runs[OFF].values[1:]
    print("| | CPU µs per request (min–max) | over nothing, within a round | requests/s |\n|---|---|---|---|")
    for name, run in runs.items():
        values = run.values[1:]
        more = [value - beside for value, beside in zip(values, off, strict=True)]
        over = "" if name == OFF else f"{median(more):+.1f} µs ({min(more):+.1f} … {max(more):+.1f})"
        print(
            f"| {name} | {median(values):.1f} ({min(values):.1f}–{max(values):.1f}) | {over} | {median(run.rates[1:]):.0f} |"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
