"""``serve``: the gateway itself."""

from __future__ import annotations

import errno
import socket

import click

from ..workers import serve as serve_until_told
from ..workers.cpus import usable_cpus
from .common import Chosen, Stop, chosen, examples, refusals, run

_UNBINDABLE = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EAFNOSUPPORT, errno.EINVAL}
"""The last two: IPv6 where there is none, and of a link without naming it."""


class WorkersType(click.ParamType[int]):
    """A number of processes, or ``auto``."""

    name = "workers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """What ``auto`` comes to here is found out at once."""
        if value == "auto":
            return usable_cpus()
        number = int(text) if (text := str(value)).isascii() and text.isdigit() else 0
        if not number:
            self.fail(f"{text!r} is neither auto nor a number above 0", param, ctx)
        return number


@click.command(
    epilog=examples(
        "recording-gateway --config /etc/recording-gateway.toml serve --workers auto",
        "RECORDING_GATEWAY__SERVER__PORT=9000 recording-gateway serve",
    )
)
@click.option(
    "--workers",
    type=WorkersType(),
    metavar="N|auto",
    help="Processes on the one port, auto: one for each CPU; else server.workers. With two or more, SIGHUP reloads.",
)
@chosen
def serve(choice: Chosen, workers: int | None) -> None:
    """Serve until SIGTERM, then drain.

    Readiness fails first, downloads in flight complete, the audit is flushed, exit 0. Starts while Postgres or a store
    is away; /readyz says which.
    """
    config = choice.load()
    with refusals():
        try:
            status = run(serve_until_told(config, path=choice.path, workers=workers))
        except OSError as error:
            if error.errno not in _UNBINDABLE and not isinstance(
                error, socket.gaierror
            ):  # gaierror: a name nobody knows
                raise
            place = f"{config.server.host}:{config.server.port}"
            raise Stop(f"cannot listen on {place}: {error.strerror}; change server.host or server.port") from error
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            raise Stop("the system gives no more threads; raise their limit (TasksMax, pids.max, ulimit -u)") from error
    raise SystemExit(status)
