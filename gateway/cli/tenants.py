"""``tenants add`` and ``tenants list``."""

from __future__ import annotations

import click
import orjson
from rich.table import Table

from ..model import Tenant
from .catalog import opened
from .common import Chosen, chosen, examples, run, stdout


@click.group()
def tenants() -> None:
    """The accounts whose calls are kept apart."""


@tenants.command(epilog=examples("recording-gateway tenants add acme 'Acme Ltd' --retention-days 365"))
@click.argument("slug")
@click.argument("name", required=False)
@click.option("--retention-days", type=click.IntRange(min=1), help="Days recordings are kept; else for ever.")
@click.option("--json", "as_json", is_flag=True, help="The tenant as a JSON object.")
@chosen
def add(choice: Chosen, slug: str, name: str | None, *, retention_days: int | None, as_json: bool) -> None:
    """Make the tenant SLUG, or bring it up to date."""
    config = choice.load()

    async def work() -> Tenant:
        async with opened(config) as (registry, _):
            return await registry.create_tenant(slug, name or slug, retention_days=retention_days)

    tenant = run(work())
    click.echo(_json(tenant) if as_json else f"{tenant.slug}  {tenant.id}")


@tenants.command(
    name="list", epilog=examples("recording-gateway tenants list", "recording-gateway tenants list --json")
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@chosen
def list_(choice: Chosen, *, as_json: bool) -> None:
    """Every tenant, by slug."""
    config = choice.load()

    async def work() -> list[Tenant]:
        async with opened(config) as (registry, _):
            return await registry.tenants()

    found = run(work())
    if as_json:
        for tenant in found:
            click.echo(_json(tenant))
        return
    table = Table("slug", "name", "id", box=None, pad_edge=False)
    for tenant in found:
        table.add_row(tenant.slug, tenant.name, str(tenant.id))
    stdout().print(table)


def _json(tenant: Tenant) -> bytes:
    return orjson.dumps(tenant)
