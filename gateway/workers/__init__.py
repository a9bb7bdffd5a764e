"""Several processes on one port: started, watched, restarted, replaced without a dropped request."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from ..config import Config, ConfigError, load
from ..loading import uncollected
from .cpus import usable_cpus
from .given import Given
from .supervisor import supervise


async def serve(config: Config, *, path: Path | None = None, workers: int | None = None) -> int:
    """Serves until a signal says otherwise; the exit status. Raises ConfigError; OSError where the port is taken.

    ``path`` is where the configuration was read, for whoever has to read it again; ``workers`` outdoes the
    configuration's. One worker needs no supervisor: it is this process.
    """
    given = Given.take()
    count = workers or (usable_cpus() if config.server.workers == "auto" else config.server.workers)
    if given.slot is None and len(given.sockets) > count:
        raise ConfigError(
            [f"LISTEN_FDS: {len(given.sockets)} sockets and {count} workers; a worker serves one, give fewer"]
        )
    if given.slot is not None or count == 1:
        with uncollected():
            from .process import serve_alone  # noqa: PLC0415  a supervisor holds nothing of what its workers serve with
        await serve_alone(config, given)
        return 0
    chosen = [] if path is None else ["--config", str(path)]
    # -P: a folder that happens to be the current one must not stand in for a library.
    command = [sys.executable, "-P", "-m", "gateway", *chosen, "serve"]
    return await supervise(config, given, count, command, partial(load, path))


__all__ = ["serve"]
