"""``recordings add``: one recording by options, or many by a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import click
import orjson
from rich.console import Console

from ..config import SURFACES, Config
from ..lifecycle.bulk import Done, Fate
from ..lifecycle.bulk import run as run_all
from ..lifecycle.manifest import COLUMNS, Line, NoManifest, read_csv, read_json_lines
from ..lifecycle.pipeline import Pipeline
from ..moments import DAYS_MAX
from ..stores import open_stores
from . import params
from .catalog import opened, tenant_of
from .common import Chosen, Exit, Stop, chosen, examples, run, stderr
from .progress import bar

MANIFEST = (
    "key,aliases,direction,started_at",
    "2026/05/a1.wav,yotel:call_a1 callsid:call_a1,inbound,2026-05-25T10:04:48Z",
)
"""One to begin with, line by line."""


@click.command(
    epilog=examples(
        "recording-gateway recordings add -t acme --store calls --key 2026/05/a1.wav --alias yotel:call_a1",
        "recording-gateway recordings add -t acme --store calls --manifest may.csv",
        "recording-gateway recordings add -t acme --manifest - --json < may.jsonl | jq -c 'select(.fate != \"ready\")'",
    )
    + f"\n\n\b\nColumns of a manifest (a CSV header, or the names in each JSON object):\n  {' '.join(COLUMNS[:8])}\n"
    + f"  {' '.join(COLUMNS[8:])}"
    + "\n\n\b\nA manifest as CSV:\n"
    + "\n".join(f"  {line}" for line in MANIFEST)
)
@click.option("--tenant", "-t", required=True, metavar="SLUG", help="Whose calls they are.")
@click.option(
    "--store",
    type=params.utf8,
    metavar="NAME",
    help="The configured store it lies in; with --manifest, of rows that name none.",
)
@click.option(
    "--key",
    type=params.utf8,
    metavar="KEY",
    help="The object's key in the store, or its path below a disk store's folder.",
)
@click.option("--call", type=click.UUID, help="The call's id; without one, and with a new alias, it gets one.")
@click.option(
    "--alias",
    "aliases",
    type=params.utf8,
    multiple=True,
    metavar="SURFACE:ID",
    help="The call's id elsewhere; may be repeated.",
)
@click.option("--direction", type=click.Choice(["inbound", "outbound", "internal"]), help="Which way the call went.")
@click.option("--voice-agent/--human", default=None, help="Who answered: left is the caller, right the agent.")
@click.option("--started-at", type=params.when, metavar="TIME", help="When the call began.")
@click.option(
    "--expires-at",
    type=params.moment,
    metavar="TIME",
    help="Kept until then at least; for a number of days see --retention-days.",
)
@click.option(
    "--retention-days",
    type=click.IntRange(1, DAYS_MAX),
    metavar="DAYS",
    help="Kept so many days at least; longer where --expires-at or the tenant's own days say so.",
)
@click.option(
    "--media-type", type=params.utf8, metavar="TYPE", help="Overrules what the object's header says, as audio/wav."
)
@click.option(
    "--manifest",
    type=click.File(encoding="utf-8", errors="surrogateescape"),
    help="CSV with a header, or JSON lines (.jsonl); - reads JSON lines.",
)
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1, 256), help="How many at once.")
@click.option("--fail-missing", is_flag=True, help="No such object: failed for good, instead of pending.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each, as it is done.")
@chosen
def add(
    choice: Chosen,
    /,
    *,
    tenant: str,
    manifest: TextIO | None,
    concurrency: int,
    fail_missing: bool,
    as_json: bool,
    **columns: Any,  # options as click gives them; the manifest's own reader checks them
) -> None:
    """Register objects that lie in a store.

    Each is stat'ed and its header read, for duration and channels, before it is ready. Doing it again changes nothing,
    unless an object was replaced. Exit 1 where one failed, 69 where one could not be decided; the rest is done.
    """
    if (manifest is None) == (columns["key"] is None):
        raise click.UsageError("give either --key, for one recording, or --manifest, for many")
    if manifest is None:
        lines = _one(columns)
    elif others := [name for name, value in columns.items() if name != "store" and value not in (None, ())]:
        raise click.UsageError(f"{', '.join(others)}: goes with --key; in a manifest it is a column")
    else:
        lines = _many(manifest, columns["store"])
    config = choice.load()
    console = stderr()
    lines = _noting(lines, console)
    with bar(console, hidden=manifest is None) as progress:
        doing = progress.add_task("recordings", total=_total(manifest))

        def tell(done: Done) -> None:
            progress.advance(doing)
            if as_json:
                click.echo(orjson.dumps(asdict(done)))
            elif done.reason:
                where = "" if manifest is None else f"line {done.number}: "
                console.print(f"{where}{done.fate}: {done.reason}", markup=False, soft_wrap=True)

        fates = run(_register(config, tenant, lines, concurrency=concurrency, fail_missing=fail_missing, tell=tell))
    console.print(", ".join(f"{count} {fate}" for fate, count in sorted(fates.items())) or "nothing to do")
    if fates.keys() & {Fate.FAILED, Fate.INVALID}:
        raise SystemExit(int(Exit.FAILED))
    if Fate.UNDECIDED in fates:
        raise SystemExit(int(Exit.UNAVAILABLE))


def _noting(lines: Iterator[Line], console: Console) -> Iterator[Line]:
    """The same. Says once of each surface that is none here: the catalog takes any name, and one may be misspelt."""
    told = set(SURFACES)
    for line in lines:
        given = () if isinstance(line.content, str) else line.content.aliases
        for surface in given:
            if surface not in told:
                told.add(surface)
                console.print(
                    f"note: no surface is called {surface!r}, so its ids are known to native alone; there are {', '.join(SURFACES)}",
                    soft_wrap=True,
                )
        yield line


def _one(columns: Mapping[str, Any]) -> Iterator[Line]:
    """A manifest of one line."""
    return read_json_lines(
        [orjson.dumps({name: value for name, value in columns.items() if value is not None}).decode()]
    )


def _many(manifest: TextIO, store: str | None) -> Iterator[Line]:
    if (name := _name(manifest)).lower().endswith(".csv"):
        try:
            return read_csv(manifest, store=store)
        except NoManifest as error:
            raise Stop(f"{name}: {error}") from error
    return read_json_lines(manifest, store=store)


def _name(manifest: TextIO) -> str:
    """What comes by a pipe need have none."""
    return str(getattr(manifest, "name", "-"))


def _total(manifest: TextIO | None) -> int | None:
    """How many lines there will be, about; None where that cannot be known beforehand."""
    if manifest is None or not (file := Path(_name(manifest))).is_file():
        return None
    with file.open("rb") as again:
        return sum(1 for _ in again) - file.name.lower().endswith(".csv")


async def _register(
    config: Config,
    tenant: str,
    lines: Iterator[Line],
    *,
    concurrency: int,
    fail_missing: bool,
    tell: Callable[[Done], None],
) -> Counter[Fate]:
    fates: Counter[Fate] = Counter()
    async with AsyncExitStack() as stack:
        registry, asked = await stack.enter_async_context(opened(config))
        owner = await tenant_of(asked, tenant)
        stores = await stack.enter_async_context(open_stores(config.stores, config.origin))
        pipeline = Pipeline(stores, registry, asked)
        async for done in run_all(pipeline, owner.id, lines, concurrency=concurrency, fail_missing=fail_missing):
            fates[done.fate] += 1
            tell(done)
    return fates
