"""The command line: ``recording-gateway``. Commands are thin: the work is done by the packages below."""

from __future__ import annotations

import errno
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from .. import logs
from ..loading import uncollected
from .common import EXIT_CODES, Chosen, Exit, Stop, examples

_COMMANDS = (
    "audit",
    "config",
    "demo",
    "departments",
    "keys",
    "migrate",
    "recordings",
    "retention",
    "serve",
    "tenants",
    "webhooks",
)
"""Each is a module of this package, and the command of the same name in it."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
EPILOG = (
    examples(
        "recording-gateway demo",
        "recording-gateway --config gateway.toml migrate",
        "recording-gateway --config gateway.toml config check --live",
        "recording-gateway --config gateway.toml serve",
    )
    + "\n\n"
    + EXIT_CODES
)


class Commands(click.Group):
    """Loads a command's module when the command is asked for, so that a small command does not wait for what `serve` imports."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's own, which looks for similar names in ``commands`` alone: filled here with names only."""
        self.commands = {name: click.Command(name) for name in _COMMANDS}
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # as click declares it
        """As click's own, but a full disk (mostly the one that stdout is redirected to) ends a command without a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # beside ``run``, while modules load say: click has 1 for it
            raise SystemExit(int(Exit.INTERRUPTED)) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise Stop(
                f"{where}{error.strerror}; make room and run it again: what was done until here stays done"
            ) from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click declares it
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as click declares it
        if cmd_name not in _COMMANDS:
            return None
        with uncollected():
            command: click.Command = getattr(import_module(f".{cmd_name}", __name__), cmd_name)
        return command


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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
