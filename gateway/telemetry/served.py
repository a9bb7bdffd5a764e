"""Serving a process's figures, where one is configured to; otherwise nothing is spent on them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from .. import config
from .figures import Sources, page
from .listener import SOCKET, refuse_taken, serve_page

log = structlog.get_logger("gateway.metrics")


async def refuse_unservable(settings: config.Metrics) -> None:
    """Raises ConfigError where the port can't be had. Checked before anything starts that other replicas notice."""
    if settings.port is not None and not os.environ.get(SOCKET):
        await refuse_taken(host=settings.host, port=settings.port)


@asynccontextmanager
async def serve_figures(settings: config.Metrics, sources: Sources) -> AsyncIterator[None]:
    """Serves them while the context lasts, where a port is set: at the socket that a supervisor named instead, else there.

    Raises ConfigError where the port can't be had. A worker whose socket can't be serves its clients all the same.
    """
    if settings.port is None:
        yield
        return
    figures, path = partial(page, sources), os.environ.get(SOCKET)
    if path:
        serving = serve_page(figures, path=Path(path))
    else:
        serving = serve_page(figures, host=settings.host, port=settings.port)
    async with sources.lag, AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving)
        except OSError as error:
            log.warning("no figures", path=path, problem=str(error))
        yield
