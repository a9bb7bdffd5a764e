"""``serve``: the gateway itself."""

from __future__ import annotations

import errno

import click

from ..app import serve as serve_until_told
from .common import Chosen, Stop, chosen, examples, refusals, run

_UNBINDABLE = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}


@click.command(
    epilog=examples(
        "recording-gateway --config /etc/recording-gateway.toml serve",
        "RECORDING_GATEWAY__SERVER__PORT=9000 recording-gateway serve",
    )
)
@chosen
def serve(choice: Chosen) -> None:
    """Serve until SIGTERM, then drain.

    Readiness fails first, downloads in flight complete, the audit is flushed, exit 0. Starts while Postgres or a store
    is away; /readyz says which.
    """
    config = choice.load()
    with refusals():
        try:
            run(serve_until_told(config))
        except OSError as error:
            if error.errno not in _UNBINDABLE:
                raise
            place = f"{config.server.host}:{config.server.port}"
            raise Stop(f"cannot listen on {place}: {error.strerror}; change server.host or server.port") from error
