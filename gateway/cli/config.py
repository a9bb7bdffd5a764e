"""``config check`` and ``config show``."""

from __future__ import annotations

import click
import orjson

from ..mounting import router
from . import annotated
from .common import Chosen, chosen, examples, refusals, run, stderr
from .live import reach


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command(
    epilog=examples(
        "recording-gateway --config gateway.toml config check",
        "RECORDING_GATEWAY__SERVER__PORT=9000 recording-gateway config check --live",
    )
)
@click.option(
    "--live",
    is_flag=True,
    help="Also reach Postgres, issuers, every store, the journal, the Redis of limits and the collector from here.",
)
@chosen
def check(choice: Chosen, *, live: bool) -> None:
    """Refuse a wrong or unknown key, naming it and the fix.

    Without --live nothing but the file and the environment is looked at. Exit 78: refused; 69: not reached. A
    collector of traces that is not reached is a warning: no request needs it.
    """
    config = choice.load()
    with refusals():
        router(config)
    console = stderr()
    for mount in config.mounts:
        console.print(f"{mount.surface:<10} {config.public_url(mount)}/", soft_wrap=True)
    for name, store in config.stores.items():
        console.print(f"store {name}: {store.kind}", soft_wrap=True)
    if not config.stores:
        console.print("no store is configured, so there is nothing to play: add [stores.NAME]")
    if live:
        run(reach(config, console))
    console.print("configuration: ok")


@config.command(
    epilog=examples(
        "recording-gateway --config gateway.toml config show",
        "recording-gateway config show --json | python -m json.tool",
        "recording-gateway config show --defaults > gateway.toml",
    )
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, without the explanations.")
@click.option("--defaults", is_flag=True, help="Every key at its default instead of what counts here.")
@chosen
def show(choice: Chosen, *, as_json: bool, defaults: bool) -> None:
    """Print every key with its value, unit and reason, as TOML. Secrets are masked."""
    if defaults and as_json:
        raise click.UsageError("--defaults is TOML; leave out --json")
    if defaults:
        click.echo(annotated.defaults(), nl=False)
    elif as_json:
        click.echo(orjson.dumps(annotated.plain(choice.load())))
    else:
        click.echo(annotated.effective(choice.load()), nl=False)
