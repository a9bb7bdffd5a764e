"""Instructions that a 64 KiB range takes: ``python -m bench.instructions [TIMES]``, which wants valgrind.

A time wanders by half with the hour, and by a tenth within one; this count by a hundredth. It says nothing of the kernel, nor
of how long an instruction waits for memory.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path

import click

from .beside import CONNECTIONS
from .client import wrk
from .counted import COUNTS
from .sizes import SIZES
from .stage import Stage, passing_state, set_up
from .variants import Target, start_gateway

WARM_S, IDLE_S, LOAD_S = 12, 6, 20
"""Nothing is quick under valgrind: some hundred ranges a second."""
LOOP = 1
"""The thread that valgrind names first."""
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


@click.command()
@click.argument("times", type=click.IntRange(1), default=3)
def main(times: int) -> None:
    """The instructions that a 64 KiB range takes."""
    if shutil.which("valgrind") is None:
        raise click.ClickException("valgrind is wanted; on Debian: apt-get install valgrind")
    asyncio.run(_measured(times))


async def _measured(times: int) -> None:
    """Prints a line each time."""
    async with AsyncExitStack() as stack:
        stage = await set_up(stack.enter_context(passing_state()), SIZES["quick"], stack)
        for number in range(times):
            async with AsyncExitStack() as one:
                target = await start_gateway(stage, one, name=f"counted-{number}", module="bench.counted")
                ranges, loop, all_ = await asyncio.to_thread(_count, target, stage, number)
            print(
                f"{loop:,.0f} instructions a range on the loop's thread, {all_:,.0f} on all ({ranges} ranges)",
                flush=True,
            )


def _count(target: Target, stage: Stage, seed: int) -> tuple[int, float, float]:
    """(ranges, instructions for each on the loop's thread, on all); what an idle process takes meanwhile is left out."""
    out = stage.folder / f"{target.name}{COUNTS}"
    wrk.ask(target, stage, connections=CONNECTIONS, seconds=WARM_S, seed=seed)
    _tell(target, "--instr=on")
    time.sleep(IDLE_S)  # what it does of itself in so long is what is left out
    _tell(target, "--dump=idle")
    asked = wrk.ask(target, stage, connections=CONNECTIONS, seconds=LOAD_S, seed=seed + 1)
    _tell(target, "--dump=load")
    idle, load = counted(out, 1), counted(out, 2)
    own = {thread: count - idle.get(thread, 0) / IDLE_S * LOAD_S for thread, count in load.items()}
    return asked.requests, own[LOOP] / asked.requests, sum(own.values()) / asked.requests


def _tell(target: Target, what: str) -> None:
    subprocess.run(["callgrind_control", what, str(target.pid)], check=True, capture_output=True)


def counted(out: Path, part: int) -> dict[int, int]:
    """Thread → instructions, of the ``part``-th that callgrind wrote to ``out``."""
    threads = {}
    for path in out.parent.glob(f"{out.name}.{part}-*"):
        total = _TOTAL.search(path.read_text())
        threads[int(path.name.rpartition("-")[2])] = int(total[1]) if total else 0
    return threads


if __name__ == "__main__":
    main()
