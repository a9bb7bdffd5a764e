"""``tenants create``, ``list``, ``show`` and ``set``."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import click
from rich.table import Table

from ..asks.tenants import ChangeTenant
from ..catalog.registry import Registry
from ..catalog.statements import SLUG
from ..catalog.tenants import Tenants
from ..model import Tenant
from . import params
from .catalog import accounts, opened, pooled, tenant_of
from .common import Chosen, chosen, examples, json_line, run, stdout


@click.group()
def tenants() -> None:
    """The accounts whose calls are kept apart."""


def _settings(command: Any) -> Any:  # click's own decorators take and give anything
    """The options that say how a tenant shall be."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The tenant as a JSON object."),
        click.option(
            "--retention-days",
            type=params.days,
            metavar="DAYS|forever",
            help="How long recordings are kept; at first for ever.",
        ),
        click.option(
            "--transcription/--no-transcription", default=None, help="Whether transcripts are told; at first not."
        ),
        click.option(
            "--recording/--no-recording",
            default=None,
            help="Whether recordings are public to whoever knows a call's agentphone id; at first not.",
        ),
    ):
        command = option(command)
    return command


def _new_slug(text: str) -> str:
    if not SLUG.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is no slug; write lower-case letters, digits, - and _, 63 at most, and the name for people behind it"
        )
    return text


@tenants.command(
    epilog=examples(
        "recording-gateway tenants create acme 'Acme Ltd' --retention-days 365",
        "recording-gateway tenants create acme --json | jq -r .id",
    )
)
@click.argument("slug", type=_new_slug)
@click.argument("name", required=False, type=params.name)
@_settings
@chosen
def create(choice: Chosen, /, *, slug: str, name: str | None, as_json: bool, **settings: Any) -> None:
    """Make the tenant SLUG, or bring it up to date."""
    config = choice.load()

    async def work() -> Tenant:
        async with pooled(config) as (pool, asked):
            known = await asked.tenant(slug)
            named = name or (known.name if known else slug)
            made = await Registry(pool, config.database).create_tenant(slug, named)
            return await Tenants(pool, config.database).change(made.id, _change(slug, None, **settings))

    _tell(run(work()), as_json=as_json)


_add = copy.copy(create)
_add.hidden = True
tenants.add_command(_add, "add")  # its first name, for scripts that use it


@tenants.command(
    name="set",
    epilog=examples(
        "recording-gateway tenants set acme --recording --retention-days 90",
        "recording-gateway tenants set acme --retention-days forever --no-transcription",
    ),
)
@click.argument("slug")
@click.option("--name", type=params.name, help="What people call it.")
@_settings
@chosen
def set_(choice: Chosen, /, *, slug: str, name: str | None, as_json: bool, **settings: Any) -> None:
    """Change settings of the tenant SLUG: every replica feels it at once. What is not named stays."""
    if name is None and all(value is None for value in settings.values()):
        raise click.UsageError("name what shall change: --name, --recording, --transcription or --retention-days")
    config = choice.load()

    async def work() -> Tenant:
        async with accounts(config) as (own, _, asked):
            return await own.change((await tenant_of(asked, slug)).id, _change(slug, name, **settings))

    _tell(run(work()), as_json=as_json)


@tenants.command(
    epilog=examples("recording-gateway tenants show acme", "recording-gateway tenants show acme --json | jq .")
)
@click.argument("slug")
@click.option("--json", "as_json", is_flag=True, help="The tenant as a JSON object.")
@chosen
def show(choice: Chosen, *, slug: str, as_json: bool) -> None:
    """One tenant's settings."""
    config = choice.load()

    async def work() -> Tenant:
        async with opened(config) as (_, asked):
            return await tenant_of(asked, slug)

    _tell(run(work()), as_json=as_json)


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
    if not as_json:
        _table(found)
        return
    for tenant in found:
        click.echo(json_line(tenant))


def _change(
    slug: str,
    name: str | None,
    *,
    recording: bool | None,
    transcription: bool | None,
    retention_days: params.Days | None,
) -> ChangeTenant:
    days = retention_days.number if retention_days is not None else None
    return ChangeTenant(
        slug, name, recording, transcription, days, for_ever=retention_days is not None and days is None
    )


def _tell(tenant: Tenant, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(tenant))
    else:
        _table([tenant])


def _table(found: Iterable[Tenant]) -> None:
    table = Table("slug", "name", "recording", "transcription", "kept", "id", box=None, pad_edge=False)
    for tenant in found:
        table.add_row(
            tenant.slug,
            tenant.name,
            "on" if tenant.recording_enabled else "off",
            "on" if tenant.transcription_enabled else "off",
            "for ever" if tenant.retention_days is None else f"{tenant.retention_days} d",
            str(tenant.id),
        )
    stdout().print(table)
