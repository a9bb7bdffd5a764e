"""``webhooks add``, ``list``, ``change``, ``rotate``, ``ping``, ``deliveries``, ``redeliver`` and ``delete``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import click
import orjson
from rich.table import Table

from ..asks.webhooks import (
    OVERLAP_MAX_S,
    ChangeEndpoint,
    CreateEndpoint,
    DeleteEndpoint,
    Delivery,
    DeliveryState,
    Endpoint,
    ListDeliveries,
    ListEndpoints,
    PingEndpoint,
    Redeliver,
    RotateSecret,
    Secreted,
)
from ..catalog.webhooks import WebhookBook
from ..config import Config
from ..errors import Malformed
from ..lifecycle.webhooks import Desk, Lookup, open_desk
from . import params
from .catalog import pooled, tenant_of
from .common import Chosen, Stop, chosen, examples, json_line, run, stderr, stdout

T = TypeVar("T")

_ID = "01936f2e-8d3b-7c11-9a52-0d6f5be0c0de"


@click.group()
def webhooks() -> None:
    """Where events are sent, and what became of them."""


_tenant = click.option("--tenant", "-t", "slug", required=True, metavar="SLUG", help="Whose it is.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_webhook = click.argument("webhook", type=params.id_of("webhook", "webhooks list"))


@webhooks.command(
    epilog=examples("SECRET=$(recording-gateway webhooks add -t acme https://hooks.example.com/recordings)")
)
@click.argument("url")
@_tenant
@click.option("--description", "-d", default="", type=params.note, help="For people.")
@click.option("--json", "as_json", is_flag=True, help="The webhook and its secret as a JSON object.")
@chosen
def add(choice: Chosen, url: str, *, slug: str, description: str, as_json: bool) -> None:
    """Send events to URL from now on, and print its secret, once.

    Stdout holds the secret and nothing else.
    """
    made = _at_desk(choice, slug, lambda desk, tenant: desk.create(tenant, CreateEndpoint(url, description)))
    _show_secret(made, as_json=as_json)


@webhooks.command(name="list", epilog=examples("recording-gateway webhooks list -t acme"))
@_tenant
@_json
@chosen
def list_(choice: Chosen, *, slug: str, as_json: bool) -> None:
    """A tenant's webhooks, never their secrets."""
    found = _at_desk(choice, slug, lambda desk, tenant: desk.all(tenant, ListEndpoints()))
    if as_json:
        for endpoint in found:
            click.echo(json_line(endpoint))
        return
    table = Table("id", "url", "description", "state", box=None, pad_edge=False)
    for endpoint in found:
        table.add_row(str(endpoint.id), endpoint.url, endpoint.description, _state(endpoint))
    stdout().print(table)


@webhooks.command(
    epilog=examples(
        f"recording-gateway webhooks change -t acme {_ID} --on",
        f"recording-gateway webhooks change -t acme {_ID} --url https://hooks.example.com/other",
    )
)
@_webhook
@_tenant
@click.option("--url", help="Send events there instead.")
@click.option("--description", "-d", type=params.note, help="For people.")
@click.option(
    "--on/--off", "enabled", default=None, help="Off drops what is pending; on begins with what happens then."
)
@chosen
def change(
    choice: Chosen, webhook: UUID, *, slug: str, url: str | None, description: str | None, enabled: bool | None
) -> None:
    """Change a webhook, or switch it on or off; what is not given stays as it is."""
    if url is None and description is None and enabled is None:
        raise click.UsageError("name what shall change: --url, --description, --on or --off")
    ask = ChangeEndpoint(webhook, url, description, enabled)
    changed = _at_desk(choice, slug, lambda desk, tenant: desk.change(tenant, ask))
    stderr().print(f"webhook {changed.id}: {_state(changed)}")


@webhooks.command(epilog=examples(f"recording-gateway webhooks rotate -t acme {_ID} --overlap 2h"))
@_webhook
@_tenant
@click.option(
    "--overlap",
    type=params.length,
    metavar="LENGTH",
    help="How long the old one signs as well; else webhooks.overlap_s.",
)
@click.option("--at-once", is_flag=True, help="The old one signs nothing any more.")
@click.option("--json", "as_json", is_flag=True, help="The webhook and its secret as a JSON object.")
@chosen
def rotate(
    choice: Chosen, webhook: UUID, *, slug: str, overlap: timedelta | None, at_once: bool, as_json: bool
) -> None:
    """Give a webhook another secret, and print it, once."""
    if at_once and overlap is not None:
        raise click.UsageError("--at-once and --overlap exclude each other")
    if overlap is not None and overlap.total_seconds() > OVERLAP_MAX_S:
        raise click.BadParameter(f"write a week at most: {OVERLAP_MAX_S // 86_400}d", param_hint="--overlap")
    seconds = 0 if at_once else None if overlap is None else int(overlap.total_seconds())
    made = _at_desk(choice, slug, lambda desk, tenant: desk.rotate(tenant, RotateSecret(webhook, seconds)))
    _show_secret(made, as_json=as_json)


@webhooks.command(epilog=examples(f"recording-gateway webhooks ping -t acme {_ID}"))
@_webhook
@_tenant
@chosen
def ping(choice: Chosen, webhook: UUID, *, slug: str) -> None:
    """Queue a test event; a running gateway sends it, and `deliveries` tells what became of it."""
    queued = _at_desk(choice, slug, lambda desk, tenant: desk.ping(tenant, PingEndpoint(webhook)))
    click.echo(queued.id)


@webhooks.command(
    epilog=examples(
        f"recording-gateway webhooks deliveries -t acme {_ID}",
        f"recording-gateway webhooks deliveries -t acme {_ID} --state failed --json",
    )
)
@_webhook
@_tenant
@click.option("--state", type=click.Choice([str(state) for state in DeliveryState]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="So many at most.")
@_json
@chosen
def deliveries(choice: Chosen, webhook: UUID, *, slug: str, state: str | None, limit: int, as_json: bool) -> None:
    """What was sent, newest first."""
    ask = ListDeliveries(webhook, limit=limit, state=None if state is None else DeliveryState(state))
    found = _at_desk(choice, slug, lambda desk, tenant: desk.deliveries(tenant, ask)).deliveries
    if as_json:
        for delivery in found:
            click.echo(json_line(delivery))
        return
    table = Table("id", "event", "call", "created", "state", "tries", "last", box=None, pad_edge=False)
    for delivery in found:
        created = f"{delivery.created_at:%Y-%m-%d %H:%M:%S}"
        call = "-" if delivery.call is None else str(delivery.call)
        tries = str(len(delivery.attempts))
        table.add_row(str(delivery.id), delivery.type, call, created, delivery.state, tries, _last(delivery))
    stdout().print(table)


@webhooks.command(epilog=examples(f"recording-gateway webhooks redeliver -t acme {_ID} {_ID.replace('c0de', 'beef')}"))
@_webhook
@click.argument("delivery", type=params.id_of("delivery", "webhooks deliveries"))
@_tenant
@chosen
def redeliver(choice: Chosen, webhook: UUID, delivery: UUID, *, slug: str) -> None:
    """Put a delivery on the schedule again, under the same webhook-id."""
    queued = _at_desk(choice, slug, lambda desk, tenant: desk.redeliver(tenant, Redeliver(webhook, delivery)))
    click.echo(queued.id)


@webhooks.command(epilog=examples(f"recording-gateway webhooks delete -t acme {_ID}"))
@_webhook
@_tenant
@chosen
def delete(choice: Chosen, webhook: UUID, *, slug: str) -> None:
    """Delete a webhook; what is pending is dropped."""
    _at_desk(choice, slug, lambda desk, tenant: desk.delete(tenant, DeleteEndpoint(webhook)))


def _at_desk(choice: Chosen, slug: str, act: Callable[[Desk, UUID], Awaitable[T]]) -> T:
    config = choice.load()

    async def work() -> T:
        async with _desk(config, slug) as (desk, tenant):
            return await act(desk, tenant)

    return run(work())


@asynccontextmanager
async def _desk(config: Config, slug: str) -> AsyncIterator[tuple[Desk, UUID]]:
    lookup = Lookup()
    try:
        async with pooled(config) as (pool, asked):
            owner = await tenant_of(asked, slug)
            yield open_desk(config.webhooks, WebhookBook(pool, config.database), lookup), owner.id
    except Malformed as error:
        raise Stop(f"{error.field[-1]}: {error.message}") from error
    finally:
        lookup.close()


def _show_secret(made: Secreted, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {**orjson.loads(json_line(made.endpoint)), "secret": made.secret}
        click.echo(json_line(told))
        return
    stderr().print(f"webhook {made.endpoint.id}: its secret is shown once:")
    click.echo(made.secret)


def _state(endpoint: Endpoint) -> str:
    if not endpoint.enabled:
        return f"off ({endpoint.disabled_reason})"
    if endpoint.failing_since is not None:
        return f"failing since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC"
    return "on"


def _last(delivery: Delivery) -> str:
    """How the last try ended."""
    if not delivery.attempts:
        return "-"
    last = delivery.attempts[-1]
    return " ".join(filter(None, [str(last.status or ""), last.error]))
