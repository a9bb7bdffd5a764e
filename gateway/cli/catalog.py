"""The catalog as commands use it: one pool, its schema checked first, one tenant by its slug."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..catalog.departments import Departments
from ..catalog.registry import Registry
from ..catalog.store import PostgresCatalog
from ..catalog.tenants import Tenants
from ..config import Config
from ..errors import Conflict, Contradicts, NotFound, Unavailable
from ..model import Tenant
from ..postgres import Pool, open_pool
from .common import OutOfReach, Stop

_NO_SUCH = re.compile(r"no such (\w+)")
_LISTS = {
    "call": "recordings list",
    "delivery": "webhooks deliveries",
    "department": "departments list",
    "webhook": "webhooks list",
}


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[tuple[Registry, PostgresCatalog]]:
    """The writing and the reading side. Turns outages, conflicts and what isn't there into Stop."""
    async with pooled(config) as (pool, asked):
        yield Registry(pool, config.database), asked


@asynccontextmanager
async def accounts(config: Config) -> AsyncIterator[tuple[Tenants, Departments, PostgresCatalog]]:
    """Settings and departments. Ends as ``opened`` does."""
    async with pooled(config) as (pool, asked):
        yield Tenants(pool, config.database), Departments(pool, config.database), asked


@asynccontextmanager
async def pooled(config: Config) -> AsyncIterator[tuple[Pool, PostgresCatalog]]:
    """The pool, and the reading side of the catalog. Ends as ``opened`` does."""
    pool = await open_pool(config.database)
    asked = PostgresCatalog(pool, config.database)
    try:
        await asked.check()
        yield pool, asked
    except Unavailable as error:
        hint = "see database.url; a new database wants `recording-gateway migrate` first"
        raise OutOfReach(f"Postgres cannot be used: {error.detail}\n  {hint}") from error
    except Conflict as error:
        raise Stop(str(error)) from error
    except Contradicts as error:
        raise Stop(error.message) from error
    except NotFound as error:
        raise Stop(f"not found: {error.detail}{_shown_by(error.detail)}") from error
    finally:
        await asked.close()
        pool.terminate()


def _shown_by(detail: str) -> str:
    """The command that shows what there is instead."""
    missing = _NO_SUCH.match(detail)
    command = None if missing is None else _LISTS.get(missing[1])
    return "" if command is None else f"; `recording-gateway {command}` shows those there are"


async def tenant_of(asked: PostgresCatalog, slug: str) -> Tenant:
    """Stops where there is no such tenant."""
    tenant = await asked.tenant(slug)
    if tenant is None:
        raise Stop(f"there is no tenant {slug!r}; `recording-gateway tenants list` shows those there are")
    return tenant
