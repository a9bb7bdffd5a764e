"""What figures and traces cost: ``python -m bench.telemetry [ROUNDS]``, 64 KiB ranges, CPU per request beside a gateway without them.

All of them run at once and are asked in turn, each round in another order; a round's differences are taken within it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress

import aiohttp
import click
from aiohttp import web

from gateway.demo.ports import free_ports

from .beside import Run, ranges, take_turns
from .sizes import SIZES
from .stage import passing_state, set_up
from .variants import start_gateway

OFF, FIGURES = "nothing", "figures, scraped every second"
SCRAPED_S = 1.0


@click.command()
@click.argument("rounds", type=click.IntRange(1), default=20)
def main(rounds: int) -> None:
    """What figures and traces cost, as a table."""
    asyncio.run(_measured(rounds))


async def _measured(rounds: int) -> None:
    """Prints a table."""
    async with AsyncExitStack() as stack:
        stage = await set_up(stack.enter_context(passing_state()), SIZES["quick"], stack)
        collector = await _collector(stack)
        (port,) = free_ports(1)
        settings = {OFF: {}, FIGURES: {"metrics__port": str(port)}}
        for sample in ("0", "0.01", "1"):
            settings[f"traces, sample {sample}"] = {"tracing__endpoint": collector, "tracing__sample": sample}
        runs = {
            name: Run(await start_gateway(stage, stack, name=f"gateway-{number}", **each))
            for number, (name, each) in enumerate(settings.items())
        }

        async def ask(name: str, seed: int) -> tuple[int, float]:
            async with _scraping(port) if name == FIGURES else nullcontext():
                return await asyncio.to_thread(ranges, runs[name].target, stage, seed)

        await take_turns(runs, stage, rounds, ask)
        _tell(runs)


@asynccontextmanager
async def _scraping(port: int) -> AsyncIterator[None]:
    scraping = asyncio.create_task(_scrape(port))
    try:
        yield
    finally:
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
    print("| | CPU µs per request (min–max) | over nothing, within a round | requests/s |\n|---|---|---|---|")
    for name, run in runs.items():
        print(f"| {name} | {run.cpu()} | {'' if name == OFF else run.over(runs[OFF])} | {run.rate()} |")


if __name__ == "__main__":
    main()
