"""``keys create``, ``keys list`` and ``keys revoke``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click
from rich.table import Table

from ..identity.keys import Minted
from ..issuing import SCOPES, issue_key
from ..model import Key
from . import params
from .catalog import opened, tenant_of
from .common import Chosen, Stop, chosen, examples, json_line, run, stderr, stdout


@click.group()
def keys() -> None:
    """API keys: made, listed, revoked."""


@keys.command(
    epilog=examples(
        "recording-gateway keys create --tenant acme --name player --scope recordings:download",
        "recording-gateway keys create -t acme -n desk --role supervisor",
        "KEY=$(recording-gateway keys create -t acme -n ci -s calls:read -s recordings:download --expires 90d)",
    )
    + "\n\n\b\nScopes:\n"
    + "\n".join(f"  {scope:<20} {what}" for scope, what in SCOPES.items())
)
@click.option("--tenant", "-t", required=True, metavar="SLUG", help="Whose key it is.")
@click.option("--name", "-n", required=True, type=params.name, help="What it is for, to tell keys apart.")
@click.option(
    "--scope",
    "-s",
    "scopes",
    multiple=True,
    type=click.Choice(list(SCOPES)),
    metavar="SCOPE",
    help="What it permits; may be given several times.",
)
@click.option("--role", help="One of identity.roles, for surfaces that ask for one; it permits what those below it do.")
@click.option("--expires", type=params.length, metavar="LENGTH", help="Good for so long, as 90d or 12h; else for ever.")
@click.option("--prefix", help="Its recognisable beginning; else the first of identity.keys.prefixes.")
@click.option("--json", "as_json", is_flag=True, help="The key and its secret as a JSON object.")
@chosen
def create(
    choice: Chosen,
    *,
    tenant: str,
    name: str,
    scopes: tuple[str, ...],
    role: str | None,
    expires: timedelta | None,
    prefix: str | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, once: it is kept nowhere.

    Stdout holds the secret and nothing else.
    """
    if not scopes and role is None:
        raise click.UsageError("give at least one --scope, or a --role: the key would permit nothing")
    config = choice.load()
    known = config.identity.keys.prefixes
    if prefix is not None and prefix not in known:
        raise click.BadParameter(
            f"{prefix!r} is none of identity.keys.prefixes ({', '.join(known)}): the gateway would not know the key",
            param_hint="--prefix",
        )
    if role is not None and role not in config.identity.roles:
        raise click.BadParameter(
            f"{role!r} is none of identity.roles ({', '.join(config.identity.roles)}): it would permit nothing",
            param_hint="--role",
        )

    async def work() -> tuple[Key, Minted]:
        async with opened(config) as (registry, asked):
            owner = await tenant_of(asked, tenant)
            return await issue_key(
                registry, owner, name, scopes, prefix=prefix or known[0], role=role, good_for=expires
            )

    key, minted = run(work())
    if as_json:
        click.echo(json_line({**_plain(key), "secret": minted.secret}))
        return
    stderr().print(f"key {key.id} ({key.hint}) of {tenant}: {_until(key)}. Its secret is shown once:")
    click.echo(minted.secret)


@keys.command(name="list", epilog=examples("recording-gateway keys list", "recording-gateway keys list -t acme --json"))
@click.option("--tenant", "-t", metavar="SLUG", help="Only this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@chosen
def list_(choice: Chosen, *, tenant: str | None, as_json: bool) -> None:
    """Keys with their hints, never their secrets; revoked and expired ones too."""
    config = choice.load()

    async def work() -> list[Key]:
        async with opened(config) as (registry, asked):
            owner = await tenant_of(asked, tenant) if tenant is not None else None
            return await registry.list_keys(owner.id if owner else None)

    found = run(work())
    if as_json:
        for key in found:
            click.echo(json_line(_plain(key)))
        return
    table = Table("id", "tenant", "name", "hint", "scopes", "role", "created", "state", box=None, pad_edge=False)
    for key in found:
        created = f"{key.created_at:%Y-%m-%d}"
        table.add_row(
            str(key.id),
            key.tenant_slug,
            key.name,
            key.hint,
            " ".join(sorted(key.scopes)),
            key.role or "-",
            created,
            _until(key),
        )
    stdout().print(table)


@keys.command(epilog=examples("recording-gateway keys revoke 01936f2e-8d3b-7c11-9a52-0d6f5be0c0de"))
@click.argument("key", type=params.id_of("key", "keys list"))
@chosen
def revoke(choice: Chosen, key: UUID) -> None:
    """Revoke a key by its id: every replica refuses it within a second or two."""
    config = choice.load()

    async def work() -> Key:
        async with opened(config) as (registry, _):
            revoked = await registry.revoke_key(key)
            if revoked is None:
                raise Stop(f"there is no key {key}; `recording-gateway keys list` shows those there are")
            return revoked

    revoked = run(work())
    stderr().print(f"key {revoked.id} ({revoked.hint}) of {revoked.tenant_slug}: {_until(revoked)}")


def _until(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC"
    if key.expires_at is None:
        return "good until revoked"
    over = "expired" if key.expires_at <= datetime.now(UTC) else "good until"
    return f"{over} {key.expires_at:%Y-%m-%d %H:%M} UTC"


def _plain(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant_slug,
        "name": key.name,
        "hint": key.hint,
        "scopes": sorted(key.scopes),
        "role": key.role,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
