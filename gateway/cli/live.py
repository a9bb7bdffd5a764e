"""``config check --live``: whether everything is within reach from this machine."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from tempfile import TemporaryFile

from rich.console import Console

from ..audit.folders import refuse_barred
from ..catalog.store import PostgresCatalog
from ..config import Config, ConfigError
from ..edge.limits import RateLimits
from ..errors import OriginFailed, OriginTimeout, Unavailable
from ..identity import Identity
from ..postgres import open_pool
from ..stores import open_store
from ..telemetry.tracing import untaken
from .common import OutOfReach, refused

_PAGE = 4096
"""Bytes, less than which no disk gives."""


async def reach(config: Config, console: Console) -> None:
    """Looks at all of them before it stops. Raises OutOfReach naming each that is out of reach; Refused, ConfigError, as a start does."""
    failed: list[str] = []
    wrong: list[str] = []

    def tell(name: str, problem: str | ConfigError | None) -> None:
        told = "; ".join(problem.problems) if isinstance(problem, ConfigError) else problem
        console.print(f"{name}: {told or 'ok'}", soft_wrap=True)
        if isinstance(problem, ConfigError):
            wrong.extend(problem.problems)
        elif problem is not None:
            failed.append(name)

    async with AsyncExitStack() as stack:
        pool = await open_pool(config.database)
        stack.callback(pool.terminate)
        catalog = PostgresCatalog(pool, config.database)
        stack.push_async_callback(catalog.close)
        tell("database", await _database(catalog))
        tell("identity", await _identity(config, catalog))
    for name in config.stores:
        tell(f"stores.{name}", await _store(config, name))
    tell("audit.journal_dir", _journal(config))
    tell("limits.url", await _limits(config))
    if config.tracing.endpoint is not None:
        untold = await _tracing(config)
        if isinstance(untold, str):  # a gateway serves all the same
            console.print(f"tracing.endpoint: warning: traces are lost, requests are not: {untold}", soft_wrap=True)
        else:
            tell("tracing.endpoint", untold)
    if wrong:
        raise refused(wrong)
    if failed:
        raise OutOfReach(f"out of reach: {', '.join(failed)}")


async def _database(catalog: PostgresCatalog) -> str | None:
    try:
        await catalog.check()
    except Unavailable as error:
        return error.detail
    return None


async def _identity(config: Config, catalog: PostgresCatalog) -> str | ConfigError | None:
    """Key files are read, and key sets that issuers publish are asked for."""
    try:
        identity = await Identity.open(config.identity, catalog)
        try:
            await identity.check()
        finally:
            await identity.close()
    except ConfigError as error:
        return error
    except Unavailable as error:
        return error.detail
    return None


async def _store(config: Config, name: str) -> str | ConfigError | None:
    try:
        store = await open_store(name, config.stores[name], config.origin)
        try:
            await store.check()
        finally:
            await store.close()
    except ConfigError as error:
        return error
    except (Unavailable, OriginFailed, OriginTimeout) as error:
        return str(error) or type(error).__name__
    return None


async def _limits(config: Config) -> str | ConfigError | None:
    try:
        limits = RateLimits.open(config.limits)
        try:
            await limits.check()
        finally:
            await limits.close()
    except ConfigError as error:
        return error
    except Unavailable as error:
        return error.detail
    return None


async def _tracing(config: Config) -> str | ConfigError | None:
    try:
        return await untaken(config.tracing)
    except ConfigError as error:
        return error


def _journal(config: Config) -> str | ConfigError | None:
    """Tried with a file without a name, which is gone when it is closed; nothing is made that is not there.

    On a full disk a file can still be made, but nothing be written to it.
    """
    folder = config.audit.journal_dir
    try:
        refuse_barred(folder)
        there = next(step for step in (folder, *folder.parents) if step.exists())
        with TemporaryFile(buffering=0, dir=there) as file:
            file.write(bytes(_PAGE))
            os.fsync(file.fileno())
    except ConfigError as error:
        return error
    except OSError as error:
        return f"cannot be written ({error}); {folder} must belong to the service's user, and its disk have room"
    return None
