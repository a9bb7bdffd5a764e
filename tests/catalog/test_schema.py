"""Migrations: how they are applied. What the schema then refuses is in test_rules.py."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from parts.postgres import Databases, StoppablePostgres

from gateway.catalog.schema import MIGRATIONS, MigrationFailed, migrate, pending
from gateway.config import Database
from gateway.errors import Unavailable
from gateway.postgres import connect

FILES = [path.name for path in sorted(MIGRATIONS.glob("*.sql"))]
PASSWORD = "p@ss/w:rd %25#?é"


async def test_five_racing_replicas_apply_each_migration_once(databases: Databases):
    url = databases.url(await databases.empty())
    applied = await asyncio.gather(*(migrate(Database(url=url)) for _ in range(5)))
    assert sorted(name for names in applied for name in names) == FILES
    assert await migrate(Database(url=url)) == []
    await databases.drop(url)


async def test_what_is_pending_is_known_at_every_step(databases: Databases):
    url = databases.url(await databases.empty())
    connection = await asyncpg.connect(url)
    assert await pending(connection) == FILES
    await migrate(Database(url=url))
    assert await pending(connection) == []
    await connection.execute("DELETE FROM schema_migrations WHERE version > '0001'")
    assert await pending(connection) == FILES[1:]
    await connection.close()
    await databases.drop(url)


async def test_a_login_that_may_read_nothing_is_told_which_role_it_lacks(databases: Databases):
    url = databases.url(await databases.empty())
    await migrate(Database(url=url))
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE stranger; SET ROLE stranger")
    with pytest.raises(Unavailable, match=r"see database\.role: grant recording_gateway to the login"):
        await pending(connection)
    await connection.execute("RESET ROLE; DROP ROLE stranger")
    await connection.close()
    await databases.drop(url)


async def test_an_ordinary_owner_migrates_over_tcp_with_a_password_that_no_other_process_sees():
    """On a server that knows nothing of the gateway yet, as a login that may make roles and is no superuser."""
    server = StoppablePostgres(password=PASSWORD)
    try:
        server.start()
        admin = await asyncpg.connect(server.url())
        await admin.execute(f"CREATE ROLE keeper LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        await admin.execute("CREATE DATABASE gateway OWNER keeper")
        await admin.close()
        place = Database(url=server.url("gateway").replace("//postgres:", "//keeper:"))
        seen: list[str] = []

        async def watch() -> None:
            while True:
                seen.extend(command for command in _commands() if "dbmate" in command)
                await asyncio.sleep(0.002)

        watching = asyncio.create_task(watch())
        assert await migrate(place) == FILES
        watching.cancel()
        assert seen
        assert not any("postgresql://" in command or PASSWORD in command for command in seen)
        service = await connect(place)
        assert await service.fetchval("SELECT current_user") == "recording_gateway"
        await service.close()
        wrong = place.url.get_secret_value().replace(":p%40ss", ":wrong")
        with pytest.raises(MigrationFailed) as caught:
            await migrate(Database(url=wrong))
        assert "authentication failed" in str(caught.value)
        assert "wrong" not in str(caught.value)
    finally:
        server.close()


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


async def test_a_setting_of_dbmates_own_in_the_environment_changes_nothing(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DBMATE_MIGRATIONS_TABLE", "elsewhere")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("DATABASE_URL=postgresql://nobody@127.0.0.1:1/none\n")
    url = databases.url(await databases.empty())
    assert await migrate(Database(url=url)) == FILES
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    await databases.drop(url)


@pytest.mark.parametrize("password", ["pa ss", "pa^ss", "pa%ss", 'pa"ss', "páss", "p:a:ss", "p%40ss", "pa%25ss"])
async def test_a_password_as_the_service_takes_it_is_taken_by_migrations_too_and_told_by_none(password: str):
    with pytest.raises(MigrationFailed) as caught:
        await migrate(Database(url=f"postgresql://keeper:{password}@127.0.0.1:1/gateway"))
    assert "connection refused" in str(caught.value)
    assert "ss" not in str(caught.value)


@pytest.mark.usefixtures("database")  # its migrations have made the role
async def test_migrations_run_as_their_own_login(databases: Databases):
    """An owner that is no superuser migrates; a login that owns nothing serves."""
    name = await databases.empty()
    url = databases.url(name)
    owner, login = f"{name}_owner", f"{name}_login"
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'secret'")
        await admin.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'secret'")
        await admin.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
        # Elsewhere on this server a superuser has made the role; whoever is to migrate here must be let in on it.
        await admin.execute(f"GRANT recording_gateway TO {owner} WITH ADMIN OPTION")
        place = Database(url=_as(url, login), migrate_url=_as(url, owner))
        assert await migrate(place) == FILES
        await admin.execute(f"GRANT recording_gateway TO {login}")
        service = await connect(place)
        assert await pending(service) == []
        assert await service.fetchval("SELECT ensure_access_partitions(6)") > 0
        await service.close()
    finally:
        await admin.close()
        await databases.drop(url)
        admin = await asyncpg.connect(databases.base_url)
        await admin.execute(f"DROP ROLE IF EXISTS {owner}, {login}")
        await admin.close()


def _as(url: str, login: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{login}:secret@{rest.partition('@')[2]}"


async def test_the_way_back_leads_to_an_empty_database(databases: Databases):
    url = databases.url(await databases.empty())
    await migrate(Database(url=url))
    connection = await asyncpg.connect(url)
    for path in sorted(MIGRATIONS.glob("*.sql"), reverse=True):
        await connection.execute(path.read_text().partition("-- migrate:down")[2])
    left = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    assert {row["relname"] for row in left} == {"schema_migrations", "schema_migrations_pkey"}
    await connection.close()
    await databases.drop(url)
