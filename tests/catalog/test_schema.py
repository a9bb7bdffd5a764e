import asyncio

import asyncpg
from parts.postgres import Databases

from gateway.catalog.schema import MIGRATIONS, migrate, pending
from gateway.config import Database

FILES = [path.name for path in sorted(MIGRATIONS.glob("*.sql"))]


async def test_five_racing_replicas_apply_each_migration_once(databases: Databases):
    url = databases.url(await databases.empty())
    connection = await asyncpg.connect(url)
    assert await pending(connection) == FILES
    applied = await asyncio.gather(*(migrate(Database(url=url)) for _ in range(5)))
    assert sorted(name for names in applied for name in names) == FILES
    assert await pending(connection) == []
    await connection.close()
    await databases.drop(url)
