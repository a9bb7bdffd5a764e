"""``retention``: ends what is past its retention now, or shows what would end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import click
import orjson
from rich.filesize import decimal
from rich.table import Table

from ..audit import Audit
from ..catalog.retention import leased, opened
from ..config import Config
from ..errors import Unavailable
from ..lifecycle.places import alike
from ..lifecycle.retention import Done, Fate, Sweeper
from ..model import Due, Outlook, State
from ..postgres import open_pool
from ..stores import open_stores
from . import params
from .catalog import opened as catalog_opened
from .catalog import tenant_of
from .common import Chosen, Exit, OutOfReach, chosen, examples, run, stderr, stdout, timestamp
from .progress import bar

WORDS = {
    Fate.DELETED: "deleted",
    Fate.EMPTY: "ended without an object",
    Fate.SHARED: "ended, object in use",
    Fate.KEPT: "held or prolonged meanwhile",
    Fate.FAILED: "failed",
    Fate.PUT_OFF: "put off",
}
REASONS_SHOWN = 5


@dataclass(slots=True)
class _Tally:
    """What became, or would become, of what was due. ``fates``: (tenant's slug, fate, or "due") → how many."""

    outlook: Sequence[Outlook] = ()
    fates: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def note(self, due: Due, fate: str, reason: str = "") -> None:
        self.fates[due.tenant_slug, fate] += 1
        if fate in {Fate.DELETED, "due"}:
            self.bytes[due.tenant_slug] += _size(due)
        if reason:
            self.reasons[reason] += 1

    def count(self, fate: str) -> int:
        return sum(count for (_, one), count in self.fates.items() if one == fate)


@click.command(
    epilog=examples(
        "recording-gateway retention --dry-run",
        "recording-gateway retention -t acme --limit 1000",
        "recording-gateway retention --json | jq 'select(.fate == \"failed\") | .reason'",
    )
)
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would end.")
@click.option("--tenant", "-t", type=params.stored, metavar="SLUG", help="This tenant's alone.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many recordings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each, as it is done.")
@chosen
def retention(choice: Chosen, *, dry_run: bool, tenant: str | None, limit: int | None, as_json: bool) -> None:
    """End recordings that are past their retention.

    The row stays and says expired, the object is deleted at its store, and each is audited. What is held stays. A running
    gateway does this by itself: see [retention]. Exit 1 where an object could not be deleted: the next run tries again.
    """
    config = choice.load()
    console = stderr()
    tally = _Tally()
    with bar(console) as progress:
        doing = progress.add_task("recordings", total=None)

        def begin(outlook: Sequence[Outlook]) -> None:
            tally.outlook = outlook
            total = sum(look.due + look.left for look in outlook)
            progress.update(doing, total=total if limit is None else min(total, limit))

        def note(due: Due, fate: str, reason: str = "") -> None:
            tally.note(due, fate, reason)
            progress.advance(doing)
            if as_json:
                click.echo(orjson.dumps(_plain(due, fate, reason)))

        if dry_run:
            run(_look(config, tenant, limit, begin, note))
        else:
            run(_sweep(config, tenant, limit, begin, note, partial(progress.update, doing)))
    if not as_json:
        stdout().print(_table(tally, dry_run=dry_run))
    console.print(_said(tally, dry_run=dry_run), markup=False)
    for reason, count in tally.reasons.most_common(REASONS_SHOWN):
        console.print(f"  {count} × {reason}", markup=False, soft_wrap=True)
    if tally.count(Fate.FAILED) or tally.count(Fate.PUT_OFF):
        raise SystemExit(int(Exit.FAILED))


Begin = Callable[[Sequence[Outlook]], None]
Note = Callable[[Due, str, str], None]


async def _look(config: Config, tenant: str | None, limit: int | None, begin: Begin, note: Note) -> None:
    async with catalog_opened(config) as (_, asked), opened(config.database) as book:
        if tenant is not None:
            await tenant_of(asked, tenant)
        begin(await book.outlook(tenant))
        left = limit
        async for batch in book.due(tenant, config.retention.batch):
            for due in batch[:left]:
                note(due, "due", "")
            left = None if left is None else left - len(batch[:left])
            if left == 0:
                return


async def _sweep(
    config: Config, tenant: str | None, limit: int | None, begin: Begin, note: Note, show: Callable[..., None]
) -> None:
    def tell(done: Done) -> None:
        note(done.due, done.fate, done.reason)

    async with AsyncExitStack() as stack:
        _, asked = await stack.enter_async_context(catalog_opened(config))
        if tenant is not None:
            await tenant_of(asked, tenant)
        book = await stack.enter_async_context(opened(config.database))
        begin(await book.outlook(tenant))
        stores = await stack.enter_async_context(open_stores(config.stores, config.origin))
        pool = await open_pool(config.database)
        stack.callback(pool.terminate)
        audit = await stack.enter_async_context(Audit(config.audit, pool, flush_s=config.server.flush_s))
        await _admits(audit)
        for wait in (False, True):
            lease = partial(leased, config.database, wait=wait)
            sweeper = Sweeper(stores, audit.trail, lease, batch=config.retention.batch, alike=alike(config.stores))
            if await sweeper.sweep(tenant=tenant, limit=limit, tell=tell) is not None:
                return
            show(description="waiting for the sweep of another process")


async def _admits(audit: Audit) -> None:
    try:
        await audit.check()
    except Unavailable as error:
        raise OutOfReach(f"the audit's journal takes nothing: {error.detail}\n  see audit.journal_dir") from error


def _table(tally: _Tally, *, dry_run: bool) -> Table:
    """One line for each tenant that has anything to tell."""
    words = {"due": "would end"} if dry_run else {str(fate): word for fate, word in WORDS.items() if tally.count(fate)}
    table = Table("tenant", *words.values(), "held", "bytes", box=None, pad_edge=False)
    by_tenant: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (slug, fate), count in tally.fates.items():
        by_tenant[slug][fate] = count
    for look in tally.outlook:
        told = by_tenant[look.tenant_slug]
        if told or look.held:
            counts = (str(told[fate]) for fate in words)
            table.add_row(look.tenant_slug, *counts, str(look.held), str(tally.bytes[look.tenant_slug]))
    return table


def _said(tally: _Tally, *, dry_run: bool) -> str:
    """One line of it all."""
    held = sum(look.held for look in tally.outlook)
    freed = decimal(sum(tally.bytes.values()))
    if dry_run:
        return f"dry run: {tally.count('due')} would end, {freed}; {held} held; nothing was changed"
    counted = ", ".join(f"{tally.count(fate)} {word}" for fate, word in WORDS.items() if tally.count(fate))
    return f"{counted or 'nothing was due'}; {freed} freed; {held} held"


def _plain(due: Due, fate: str, reason: str) -> dict[str, Any]:
    known = due.object
    return {
        "tenant": due.tenant_slug,
        "call": str(due.call),
        "recording": str(due.recording.id),
        "kept_until": timestamp(due.recording.expires_at),
        "expired_before": due.recording.state is State.EXPIRED,
        "store": None if known is None else known.store,
        "key": None if known is None else known.key,
        "bytes": _size(due),
        "fate": fate,
        "reason": reason or None,
    }


def _size(due: Due) -> int:
    return 0 if due.object is None else due.object.stat.size
