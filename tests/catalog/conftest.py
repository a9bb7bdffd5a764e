"""A catalog without a memory, somebody to write into it, and bare connections."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from parts.catalog import Replica, replica

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.config import Database
from gateway.model import Tenant
from gateway.postgres import Connection, Pool, connect


@pytest.fixture
async def owner(database: str) -> AsyncIterator[Connection]:
    """As who owns the database: nothing bars it."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def onlooker(database: str) -> AsyncIterator[Connection]:
    """As ``owner``, for what is to be seen while that is at work."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def service(database: str) -> AsyncIterator[Connection]:
    """As the gateway itself connects, with the rights that it has."""
    connection = await connect(Database(url=database))
    yield connection
    await connection.close()


@pytest.fixture
def catalog(pool: Pool, database: str) -> PostgresCatalog:
    return PostgresCatalog(pool, Database(url=database))


@pytest.fixture
def registry(pool: Pool, database: str) -> Registry:
    return Registry(pool, Database(url=database))


@pytest.fixture
async def acme(registry: Registry) -> Tenant:
    return await registry.create_tenant("acme", "Acme")


@pytest.fixture
async def other(registry: Registry) -> Tenant:
    return await registry.create_tenant("other", "Another")


@pytest.fixture
async def one(database: str) -> AsyncIterator[Replica]:
    async with replica(database) as made:
        yield made
