"""``recordings add``, ``recordings list`` and ``recordings show``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.table import Table

from ..catalog.store import LIMIT
from ..config import Config
from ..model import CallRef, Entry, Listing, State
from . import params
from .catalog import opened, tenant_of
from .common import Chosen, chosen, examples, run, stdout, timestamp, visible
from .recordings_add import add

TIMES = ("started_at", "created_at", "ready_at", "expires_at")


@click.group()
def recordings() -> None:
    """Register recordings, and see what is known of them."""


recordings.add_command(add)


@recordings.command(
    name="list",
    epilog=examples(
        "recording-gateway recordings list -t acme --state failed --since 7d",
        "recording-gateway recordings list -t acme --limit 100000 --json | jq .key",
    ),
)
@click.option("--tenant", "-t", required=True, metavar="SLUG", help="Whose.")
@click.option("--state", type=click.Choice([str(s) for s in State if s is not State.ABSENT]), help="Only these.")
@click.option(
    "--since", type=params.when, metavar="TIME", help="Registered then or later: a time, or 7d for seven days ago."
)
@click.option("--until", type=params.when, metavar="TIME", help="Registered before then.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@chosen
def list_(
    choice: Chosen,
    *,
    tenant: str,
    state: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Recordings, the last registered first."""
    wanted = Listing(limit=min(limit, LIMIT), state=State(state) if state else None, since=since, until=until)
    table = Table("call", "state", "store", "key", "size", "seconds", "ids", box=None, pad_edge=False)
    for entry in run(_list(choice.load(), tenant, wanted, limit)):
        plain = _plain(entry)
        if as_json:
            click.echo(orjson.dumps(plain))
            continue
        seconds = "" if plain["duration_ms"] is None else f"{plain['duration_ms'] / 1000:.0f}"
        ids = " ".join(f"{surface}:{external}" for surface, external in plain["aliases"].items())
        cells = (plain["call"], plain["state"], plain["store"], plain["key"], plain["size"], seconds, ids)
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    if not as_json:
        stdout().print(table)


async def _list(config: Config, tenant: str, wanted: Listing, limit: int) -> list[Entry]:
    found: list[Entry] = []
    async with opened(config) as (_, asked):
        owner = await tenant_of(asked, tenant)
        while True:
            page = await asked.list(owner.id, wanted)
            found += page.entries
            if page.cursor is None or len(found) >= limit:
                return found[:limit]
            wanted = replace(wanted, cursor=page.cursor)


@recordings.command(
    epilog=examples(
        "recording-gateway recordings show -t acme yotel:call_a1",
        "recording-gateway recordings show -t acme 0b6f5c0e-2a1d-5d7e-9a58-6f0c4c1f7b11 --json",
    )
)
@click.argument("call", type=params.call)
@click.option("--tenant", "-t", required=True, metavar="SLUG", help="Whose.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@chosen
def show(choice: Chosen, call: CallRef, *, tenant: str, as_json: bool) -> None:
    """What is known of CALL's recording. CALL is its UUID, or SURFACE:ID."""
    config = choice.load()

    async def work() -> Entry:
        async with opened(config) as (_, asked):
            owner = await tenant_of(asked, tenant)
            return await asked.find(owner.id, call)

    plain = _plain(run(work()))
    if as_json:
        click.echo(orjson.dumps(plain))
        return
    for name, value in plain.items():
        shown = " ".join(f"{k}:{v}" for k, v in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name:<12} {'-' if shown is None else visible(str(shown))}")


def _plain(entry: Entry) -> dict[str, Any]:
    """Nothing of who called whom: that is the tenant's business."""
    call, recording = entry.call, entry.recording
    plain: dict[str, Any] = {
        "call": str(call.id),
        "state": str(entry.state(datetime.now(UTC))),
        "aliases": dict(call.aliases),
        "voice_agent": call.voice_agent,
        **dict.fromkeys(("store", "key", "media_type", "size", "etag")),
        **dict.fromkeys(("duration_ms", "channels", "hold", "failure")),
        **dict.fromkeys(TIMES),
    }
    if recording is not None:
        plain |= {name: getattr(recording, name) for name in ("duration_ms", "channels", "hold", "failure")}
        plain |= {name: timestamp(getattr(recording, name)) for name in TIMES}
        if (known := recording.object) is not None:
            plain |= {"store": known.store, "key": known.key, "media_type": known.media_type}
            plain |= {"size": known.stat.size, "etag": known.stat.etag}
    return plain
