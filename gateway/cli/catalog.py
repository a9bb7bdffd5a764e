"""The catalog as commands use it: one pool, its schema checked first, one tenant by its slug."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..catalog.registry import Conflict, Registry
from ..catalog.store import PostgresCatalog
from ..config import Config
from ..errors import NotFound, Unavailable
from ..model import Tenant
from ..postgres import open_pool
from .common import OutOfReach, Stop


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[tuple[Registry, PostgresCatalog]]:
    """The writing and the asking side. Turns outages, conflicts and what isn't there into Stop."""
    pool = await open_pool(config.database)
    asked = PostgresCatalog(pool, config.database)
    try:
        await asked.check()
        yield Registry(pool, config.database), asked
    except Unavailable as error:
        hint = "see database.url; a new database wants `recording-gateway migrate` first"
        raise OutOfReach(f"Postgres is out of reach: {error.detail}\n  {hint}") from error
    except Conflict as error:
        raise Stop(str(error)) from error
    except NotFound as error:
        raise Stop(f"not found: {error.detail}") from error
    finally:
        await asked.close()
        pool.terminate()


async def tenant_of(asked: PostgresCatalog, slug: str) -> Tenant:
    """Stops where there is no such tenant."""
    tenant = await asked.tenant(slug)
    if tenant is None:
        raise Stop(f"there is no tenant {slug!r}; `recording-gateway tenants list` shows those there are")
    return tenant
