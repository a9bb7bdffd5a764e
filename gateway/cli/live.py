"""``config check --live``: whether everything is within reach from this machine."""

from __future__ import annotations

import os

from rich.console import Console

from ..catalog.store import PostgresCatalog
from ..config import Config, ConfigError
from ..errors import OriginFailed, OriginTimeout, Unavailable
from ..postgres import open_pool
from ..stores import open_store
from .common import OutOfReach


async def reach(config: Config, console: Console) -> None:
    """Looks at all of them before it stops. Raises OutOfReach naming each that is out of reach."""
    failed: list[str] = []

    def tell(name: str, problem: str | None) -> None:
        console.print(f"{name}: {problem or 'ok'}", soft_wrap=True, markup=False)
        if problem is not None:
            failed.append(name)

    tell("database", await _database(config))
    for name in config.stores:
        tell(f"stores.{name}", await _store(config, name))
    tell("audit.journal_dir", _journal(config))
    if failed:
        raise OutOfReach(f"out of reach: {', '.join(failed)}")


async def _database(config: Config) -> str | None:
    pool = await open_pool(config.database)
    catalog = PostgresCatalog(pool, config.database)
    try:
        await catalog.check()
    except Unavailable as error:
        return error.detail
    else:
        return None
    finally:
        await catalog.close()
        pool.terminate()


async def _store(config: Config, name: str) -> str | None:
    try:
        store = await open_store(name, config.stores[name], config.origin)
        try:
            await store.check()
        finally:
            await store.close()
    except (Unavailable, OriginFailed, OriginTimeout, ConfigError) as error:
        return str(error) or type(error).__name__
    return None


def _journal(config: Config) -> str | None:
    folder = config.audit.journal_dir
    there = next(step for step in (folder, *folder.parents) if step.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written; {folder} must belong to the service's user"
    return None
