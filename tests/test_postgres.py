"""Who connects to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import pytest
from asyncpg.exceptions import IdleInTransactionSessionTimeoutError, TransactionTimeoutError
from parts.postgres import StoppablePostgres
from structlog.testing import capture_logs

from gateway.catalog.listener import Hearers, Listener
from gateway.config import ConfigError, Database
from gateway.errors import Unavailable
from gateway.postgres import Connection, borrow, connect, is_outage, open_pool, outages, refuse_unusable


def nameless() -> str:
    raise KeyError("uid not found")


async def test_a_uid_without_a_name_is_told_to_write_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.delenv("PGUSER", raising=False)
    with pytest.raises(ConfigError, match=r"database\.url: names no user"):
        await open_pool(Database.model_validate({"url": "postgresql://127.0.0.1:1/gateway"}))


@pytest.mark.parametrize("url", ["postgresql://me@127.0.0.1:1/gateway", "postgresql:///gateway?host=/nowhere&user=me"])
async def test_a_url_that_names_a_user_needs_no_other(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setattr("getpass.getuser", nameless)
    pool = await open_pool(Database.model_validate({"url": url, "connect_s": 0.2}))
    await pool.close()


async def test_a_user_in_the_environment_is_as_good(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setenv("PGUSER", "me")
    refuse_unusable("postgresql://127.0.0.1:1/gateway")


@pytest.mark.parametrize(
    ("mode", "refused"),
    [("", False), ("&sslmode=prefer", False), ("&sslmode=require", True), ("&sslmode=verify-full", True)],
)
def test_a_certificate_that_is_not_there_is_missed_where_it_would_be_read(mode: str, *, refused: bool):
    url = f"postgresql://me@127.0.0.1:1/gateway?sslrootcert=/nowhere/root.pem{mode}"
    with pytest.raises(ConfigError, match=r"/nowhere/root\.pem") if refused else nullcontext():
        refuse_unusable(url)


def test_so_is_one_that_a_variable_of_libpq_s_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGSSLMODE", "verify-ca")
    monkeypatch.setenv("PGSSLROOTCERT", "/nowhere/root.pem")
    with pytest.raises(ConfigError, match=r"database\.url: PGSSLROOTCERT=/nowhere/root\.pem cannot be read"):
        refuse_unusable("postgresql://me@127.0.0.1:1/gateway")
    refuse_unusable("postgresql://me@127.0.0.1:1/gateway?sslmode=disable")


async def test_a_server_that_bars_the_way_in_is_away_to_every_kind_of_connection(database: str):
    """As one is before its migrations have made the service's role."""
    place = Database.model_validate({"url": database, "role": "nobody_has_this_role"})
    pool = await open_pool(place)
    with pytest.raises(Unavailable, match="nobody_has_this_role"):
        async with borrow(pool, "asking", wait_s=5):
            pass
    await pool.close()

    tried, again = 0, asyncio.Event()

    async def connecting() -> Connection:
        nonlocal tried
        tried += 1
        if tried == 2:
            again.set()
        return await connect(place)

    with capture_logs() as told:
        async with Listener(connecting, Hearers()):
            await asyncio.wait_for(again.wait(), 5)
    assert [(line["event"], "nobody_has_this_role" in line["error"]) for line in told] == [
        ("catalog.listener_lost", True)
    ]


@pytest.mark.parametrize(
    ("role", "fix"),
    [
        ("nobody_has_this_role", "database.role: .*migrate` makes recording_gateway"),
        ("pg_monitor", "database.role: grant it to the login of database.url"),
    ],
)
async def test_a_role_that_cannot_be_taken_on_is_told_with_its_key_and_the_fix(database: str, role: str, fix: str):
    operator = await asyncpg.connect(database)
    await operator.execute("CREATE ROLE newcomer LOGIN PASSWORD 'new'")
    parts = urlsplit(database)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=f"newcomer:new@{host}").geturl()
    try:
        pool = await open_pool(Database.model_validate({"url": url, "role": role}))
        with pytest.raises(Unavailable, match=fix):
            async with borrow(pool, "asking", wait_s=5):
                pass
        await pool.close()
    finally:
        await operator.execute("DROP ROLE newcomer")
        await operator.close()


async def test_a_connection_that_may_only_read_is_not_kept(database: str):
    """As those are that were made to a standby, or while writing was forbidden; asking over them again would not help."""
    name = urlsplit(database).path[1:]
    operator = await asyncpg.connect(database)
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    pool = await open_pool(Database.model_validate({"url": database, "pool_min": 1, "pool_max": 1}))
    await operator.execute("SET default_transaction_read_only = off")
    await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    write = "INSERT INTO tenants (slug, name) VALUES ('acme', 'Acme')"
    with pytest.raises(Unavailable, match="read-only"):
        async with borrow(pool, "writing", wait_s=5) as connection, connection.transaction():
            await connection.execute(write)
    async with borrow(pool, "writing", wait_s=5) as connection:
        assert await connection.execute(write) == "INSERT 0 1"
    await pool.close()
    await operator.close()


async def test_who_waits_for_a_lock_longer_than_the_operator_lets_him_is_told_of_an_outage(database: str):
    """``lock_timeout`` as ``ALTER DATABASE`` or ``ALTER ROLE`` sets it; whoever holds the lock will have done in a moment."""
    name = urlsplit(database).path[1:]
    operator = await asyncpg.connect(database)
    await operator.execute(f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    pool = await open_pool(Database.model_validate({"url": database, "pool_min": 1, "pool_max": 1}))
    async with operator.transaction():
        await operator.execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="lock timeout"):
            async with borrow(pool, "asking", wait_s=5) as connection, connection.transaction():
                await connection.execute("SELECT FROM tenants")
    async with borrow(pool, "asking", wait_s=5) as connection:
        assert await connection.execute("SELECT FROM tenants") == "SELECT 0"
    await pool.close()
    await operator.close()


async def test_a_connection_that_ended_by_itself_after_a_timeout_is_an_outage_as_well(
    stoppable_postgres: StoppablePostgres,
):
    """The library asks a frozen server to cancel what timed out, and ends the connection when that times out, too."""
    settings = {"url": stoppable_postgres.url(), "role": None, "query_s": 0.3, "pool_min": 1, "pool_max": 1}
    pool = await open_pool(Database.model_validate(settings))
    ended = asyncio.Event()

    async def ask() -> None:
        async with borrow(pool, "asking", wait_s=5) as connection:
            connection.add_termination_listener(lambda _: ended.set())
            try:
                await connection.execute("SELECT 1")
            finally:
                await ended.wait()  # as long as a transaction may take to end

    with stoppable_postgres.frozen(), pytest.raises(Unavailable):
        await asyncio.wait_for(ask(), 20)
    async with borrow(pool, "asking", wait_s=5) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_connection_that_the_server_has_said_it_ends_is_an_outage_and_not_kept(
    stoppable_postgres: StoppablePostgres,
):
    """Between the server's word and the end of the connection a question may come; the end itself may never."""
    async with deaf_to_the_end(stoppable_postgres.port) as (port, ended):
        url = stoppable_postgres.url().replace(str(stoppable_postgres.port), str(port))
        pool = await open_pool(Database.model_validate({"url": url, "role": None, "pool_min": 1, "pool_max": 1}))
        async with borrow(pool, "asking", wait_s=5) as connection:
            served_by = connection.get_server_pid()
        operator = await asyncpg.connect(stoppable_postgres.url())
        await operator.execute("SELECT pg_terminate_backend($1)", served_by)
        await operator.close()
        await ended.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # the word has been sent by now, and is read
        with pytest.raises(Unavailable):
            async with borrow(pool, "asking", wait_s=5) as connection, connection.transaction():
                pytest.fail("the connection took a question")
        async with borrow(pool, "asking", wait_s=5) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        pool.terminate()  # in order it would wait for the server's end


@asynccontextmanager
async def deaf_to_the_end(server: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that leads to ``server``, but tells no client that the server has closed; the event, set instead, does."""
    ended = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def relay(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        tasks.add(cast("asyncio.Task[None]", asyncio.current_task()))
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server)
        answering = asyncio.create_task(pump(from_server, to_client))
        answering.add_done_callback(lambda _: ended.set())
        await pump(client, to_server)
        for writer in (to_server, to_client):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await answering

    async with await asyncio.start_server(relay, "127.0.0.1") as listener:
        yield listener.sockets[0].getsockname()[1], ended
        await asyncio.gather(*tasks)


async def test_while_none_of_the_servers_is_the_one_that_is_wanted_postgres_is_away(database: str):
    """As between a primary's end and the promotion of its standby, for a URL that names both."""
    name = urlsplit(database).path[1:]
    operator = await asyncpg.connect(database)
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    pool = await open_pool(
        Database.model_validate({"url": with_parameter(database, "target_session_attrs=read-write")})
    )
    with pytest.raises(Unavailable, match="None of the hosts match"):
        async with borrow(pool, "asking", wait_s=5):
            pass
    await operator.execute("SET default_transaction_read_only = off")
    await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    async with borrow(pool, "asking", wait_s=5) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()
    await operator.close()


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), False),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (12) is in progress"), False),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), True),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), True),
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), True),
        (asyncpg.DeadlockDetectedError("deadlock detected"), True),
        (asyncpg.SerializationError("could not serialize access"), True),
        (asyncpg.LockNotAvailableError("canceling statement due to lock timeout"), True),
        (TransactionTimeoutError("terminating connection due to transaction timeout"), True),
        (IdleInTransactionSessionTimeoutError("terminating connection due to idle-in-transaction timeout"), True),
        (asyncpg.InvalidCatalogNameError("database does not exist"), True),
        (asyncpg.ClientConfigurationError("no such certificate"), True),
        (asyncpg.InvalidPasswordError("password authentication failed"), True),
        (ConnectionRefusedError(111, "refused"), True),
        (asyncpg.InsufficientPrivilegeError("permission denied for table links"), False),
        (asyncpg.UndefinedColumnError("column does not exist"), False),
        (asyncpg.UniqueViolationError("duplicate key"), False),
    ],
)
def test_what_may_be_over_by_itself_is_an_outage_and_a_defect_is_none(error: Exception, *, away: bool):
    assert is_outage(error) is away


def test_an_outage_says_when_to_ask_again():
    with pytest.raises(Unavailable) as caught, outages("asking"):
        raise ConnectionRefusedError
    assert caught.value.retry_after == 5


async def test_who_finds_every_connection_taken_is_told_in_time(database: str):
    pool = await open_pool(Database.model_validate({"url": database, "pool_min": 1, "pool_max": 1}))
    async with borrow(pool, "asking", wait_s=5):
        with pytest.raises(Unavailable, match="asking"):
            async with asyncio.timeout(20), borrow(pool, "asking", wait_s=0.05):
                pass
    await pool.close()


async def test_the_server_ends_what_nobody_waits_for_any_more(database: str):
    pool = await open_pool(Database.model_validate({"url": database, "query_s": 3}))
    async with borrow(pool, "asking", wait_s=5) as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "3s"
    await pool.close()


def with_parameter(url: str, parameter: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameter}"
