"""Where a process serves its figures, and that nothing is spent on them where it serves none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from .. import config
from .figures import Told, page
from .listener import SOCKET, serve_page


@asynccontextmanager
async def serve_figures(settings: config.Metrics, told: Told) -> AsyncIterator[None]:
    """Serves them while the context lasts: at the socket that a supervisor named, else at the port, if there is one.

    Raises ConfigError where the port can't be had.
    """
    path = os.environ.get(SOCKET)
    if not path and settings.port is None:
        yield
        return
    figures = partial(page, told)
    if path:
        serving = serve_page(figures, path=Path(path))
    else:
        serving = serve_page(figures, host=settings.host, port=settings.port or 0)
    async with told.lag, serving:
        yield
