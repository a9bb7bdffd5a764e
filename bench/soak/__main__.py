"""`python -m bench.soak`: runs, and writes what came of it to bench/results/."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.demo.state import DemoFailed

from ..__main__ import RESULTS, prepare
from ..kernel import filesystem, machine
from .page import document, page
from .run import Settings, soak


@click.command()
@click.option("--minutes", type=float, default=30, show_default=True, help="Of mixed load.")
@click.option("--rate", type=float, help="Requests a second; unset: --share of what saturates.")
@click.option("--share", type=float, default=0.7, show_default=True, help="Of saturation.")
@click.option("--slow", type=int, default=100, show_default=True, help="Slow readers at a time.")
@click.option("--stalled", type=int, default=10, show_default=True, help="Readers at a time that stop reading.")
@click.option("--workers", type=int, default=1, show_default=True, help="Of the gateway.")
@click.option("--portable", is_flag=True, help="With server.zero_copy off.")
@click.option("--seed", type=int, help="Of every request; unset: one of chance, and told.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True, help="Its folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where the page goes.")
def main(
    minutes: float,
    rate: float | None,
    share: float,
    slow: int,
    stalled: int,
    workers: int,
    portable: bool,  # noqa: FBT001 - a flag of the command's
    seed: int | None,
    state: Path,
    results: Path,
) -> None:
    """Soak the gateway in mixed load, and count everything three times."""
    prepare()
    seed = random.randrange(1 << 30) if seed is None else seed
    settings = Settings(minutes * 60, rate, share, slow, stalled, workers, portable, seed)
    told = {
        **machine(),
        "journal on": filesystem(state.parent),
        "workers": str(workers),
        "zero copy": "off" if portable else "on",
        "slow readers": str(slow),
        "stalled readers": str(stalled),
        "seed": str(seed),
    }
    began = time.monotonic()

    def tell(what: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {what}", err=True)

    try:
        soaked = asyncio.run(soak(settings, state, told, tell))
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error
    results.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%dT%H%MZ}-soak"
    (results / f"{name}.json").write_text(json.dumps(document(soaked), indent=1) + "\n", "utf-8")
    written = results / f"{name}.md"
    written.write_text(page(soaked, f"Soak, {name}"), "utf-8")
    for verdict in soaked.verdicts:
        click.echo(f"{ {True: 'yes', False: 'NO', None: '?'}[verdict.passed]:3}  {verdict.what}: {verdict.told}")
    click.echo(f"{written} and .json")
    if soaked.failed:
        raise click.ClickException("; ".join(soaked.failed))


if __name__ == "__main__":
    main()
