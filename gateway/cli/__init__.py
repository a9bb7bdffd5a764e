"""The command line: ``recording-gateway``. Commands are thin; what they do lives in the rooms below."""

from __future__ import annotations

from pathlib import Path

import click

from .. import logs
from .audit import audit
from .common import EXIT_CODES, Chosen, examples
from .config import config
from .demo import demo
from .departments import departments
from .keys import keys
from .migrate import migrate
from .recordings import recordings
from .retention import retention
from .serve import serve
from .tenants import tenants
from .webhooks import webhooks

EPILOG = (
    examples(
        "recording-gateway demo",
        "recording-gateway --config gateway.toml config check --live",
        "recording-gateway --config gateway.toml migrate",
        "recording-gateway --config gateway.toml serve",
    )
    + "\n\n"
    + EXIT_CODES
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file; else $RECORDING_GATEWAY_CONFIG, else defaults and environment alone.",
)
@click.version_option(package_name="recording-gateway", prog_name="recording-gateway")
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """Serve the recordings of calls: one gateway, several vendors' contracts, every access on record."""
    logs.for_commands()
    context.obj = Chosen(path)


for command in (serve, demo, migrate, config, tenants, departments, keys, recordings, webhooks, retention, audit):
    main.add_command(command)
