"""`python -m bench`: measures, and writes a table, its figures and a plot to bench/results/."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.demo.state import DemoFailed

from .kernel import filesystem, machine
from .plot import bars, svg
from .results import Results
from .run import run
from .sizes import SIZES
from .table import goals, page
from .variants import VARIANTS
from .workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"
OPEN_FILES = 20_000
SYSTEM_BIN = "/usr/sbin"
"""Where Debian puts nginx and haproxy, which is not on everybody's path."""


@click.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="full", show_default=True, help="How much is asked.")
@click.option("--only", multiple=True, type=click.Choice(list(WORKLOADS)), help="A workload; may be given again.")
@click.option("--without", multiple=True, type=click.Choice(list(VARIANTS)), help="A variant to leave out.")
@click.option("--seed", type=int, help="Of every order and every range; unset: one of chance, and told.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True, help="Its folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where the table goes.")
def main(
    size: str, only: tuple[str, ...], without: tuple[str, ...], seed: int | None, state: Path, results: Path
) -> None:
    """Measure the gateway and its peers."""
    seed = random.randrange(1 << 30) if seed is None else seed
    prepare()
    began = time.monotonic()

    def tell(what: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {what}", err=True)

    told = {**machine(), "journal on": filesystem(state.parent), "size": size, "seed": str(seed)}
    measured = Results()
    try:
        asyncio.run(run(SIZES[size], only or tuple(WORKLOADS), frozenset(without), seed, state, measured, tell))
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error
    finally:
        told["seconds"] = f"{time.monotonic() - began:.0f}"
        if measured.values:
            click.echo(goals(measured))
            click.echo(f"{_write(measured, told, results, size)}, .json and .svg")
    if measured.failures:
        raise click.ClickException("; ".join(measured.failures))


def prepare() -> None:
    """What a process that starts servers here does first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    os.environ["PATH"] += os.pathsep + SYSTEM_BIN
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, too


def _write(measured: Results, told: dict[str, str], folder: Path, size: str) -> Path:
    """The page, its figures and its plot; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%dT%H%MZ}-{size}"
    titles = {workload.name: (workload.what, workload.baseline) for workload in WORKLOADS.values()}
    (folder / f"{name}.svg").write_text(svg(bars(measured, titles)), "utf-8")
    document = {"machine": told, "failures": measured.failures, "results": measured.document()}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    written = folder / f"{name}.md"
    written.write_text(page(measured, titles, told, f"Benchmarks, {name}", f"{name}.svg"), "utf-8")
    return written


if __name__ == "__main__":
    main()
