"""``audit list`` and ``audit follow``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click
import orjson
from rich.table import Table

from ..audit import reader
from ..audit.reader import Access, Wanted
from ..config import Config
from ..postgres import Connection, connect
from . import params
from .catalog import opened, tenant_of
from .common import Chosen, chosen, examples, run, stdout, visible

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = (
    "occurred_at",
    "tenant_slug",
    "surface",
    "method",
    "actor_id",
    "call",
    "range",
    "status",
    "bytes_sent",
    "result",
)


def filters(command: F) -> F:
    """Which accesses."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line, every field."),
        click.option("--actor", type=params.stored, metavar="ID", help="By this actor: a key's id, a token's sub."),
        click.option("--call", type=click.UUID, help="Of this call."),
        click.option("--tenant", "-t", type=params.stored, metavar="SLUG", help="Of this tenant's recordings."),
    ):
        command = option(command)
    return command


@click.group()
def audit() -> None:
    """Who accessed what, and how it ended."""


@audit.command(
    name="list",
    epilog=examples(
        "recording-gateway audit list -t acme --since 24h",
        "recording-gateway audit list --call 0b6f5c0e-2a1d-5d7e-9a58-6f0c4c1f7b11 --json | jq .actor_id",
    ),
)
@filters
@click.option("--since", type=params.when, metavar="TIME", help="Then or later: a time, or 24h for a day ago.")
@click.option("--until", type=params.when, metavar="TIME", help="Before then.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000_000), help="At most so many.")
@chosen
def list_(
    choice: Chosen,
    *,
    tenant: str | None,
    call: UUID | None,
    actor: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Accesses that have reached Postgres, the newest first."""
    config = choice.load()

    async def work() -> list[Access]:
        async with _connected(config, tenant) as connection:
            return await reader.list_accesses(connection, Wanted(tenant, call, actor, since, until), limit=limit)

    found = run(work())
    if as_json:
        for access in found:
            click.echo(orjson.dumps(access))
        return
    table = Table(*SHOWN, box=None, pad_edge=False)
    for access in found:
        table.add_row(*(_cell(access[name]) for name in SHOWN))
    stdout().print(table)


@audit.command(
    epilog=examples("recording-gateway audit follow -t acme", "recording-gateway audit follow --json > accesses.jsonl")
)
@filters
@chosen
def follow(choice: Chosen, *, tenant: str | None, call: UUID | None, actor: str | None, as_json: bool) -> None:
    """Accesses as they reach Postgres, until Ctrl-C.

    A long one comes twice: when it has begun, its result open, and when it has ended.
    """
    config = choice.load()

    async def work() -> None:
        async with _connected(config, tenant) as connection:
            async for access in reader.follow(connection, Wanted(tenant, call, actor)):
                if as_json:
                    click.echo(orjson.dumps(access))
                else:
                    click.echo(visible("  ".join(_cell(access[name]) for name in SHOWN)))

    run(work())


@asynccontextmanager
async def _connected(config: Config, tenant: str | None) -> AsyncIterator[Connection]:
    async with opened(config) as (_, asked):
        if tenant is not None:
            await tenant_of(asked, tenant)
        connection = await connect(config.database)
        try:
            yield connection
        finally:
            await connection.close()


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
