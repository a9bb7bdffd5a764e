"""Connections to Postgres as ``config.Database`` describes them, and what counts as Postgres being away."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg import exceptions as pg

from .config import ConfigError, Database
from .errors import Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pooled: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

APPLICATION = "recording-gateway"
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""In capitals and with PG before them they are libpq's variables."""
_UNPLACED = (FileNotFoundError, PermissionError, ConnectionRefusedError, socket.gaierror)
"""Errors of making a connection whose words lack where to: a socket's folder, a name that nobody knows."""
_WITH_FILES = frozenset({"require", "verify-ca", "verify-full"})

_AWAY = (
    OSError,
    TimeoutError,
    pg.PostgresConnectionError,  # class 08, and connections cut in the middle
    pg.InsufficientResourcesError,  # class 53: too many connections, disk full
    pg.OperatorInterventionError,  # class 57: shutting down, starting up, cancelled for its length
    pg.InvalidAuthorizationSpecificationError,  # class 28: the login is refused, perhaps while its password is changed
    pg.ClientConfigurationError,  # a certificate's file isn't there, perhaps while it is replaced
    pg.InvalidCatalogNameError,  # the database isn't there, perhaps while it is restored
    pg.ReadOnlySQLTransactionError,  # a standby that is about to be promoted
    pg.TargetServerAttributeNotMatched,  # the same, where the URL asks for a primary
    pg.SerializationError,
    pg.DeadlockDetectedError,
    pg.LockNotAvailableError,  # this and the next two: an operator's limit, set for the login or the database
    pg.TransactionTimeoutError,
    pg.IdleInTransactionSessionTimeoutError,
)

_PARTING = "another operation (2) is in progress"
"""asyncpg's message for a connection that the server is ending: its reason has been read, the end of the stream not yet."""


def is_outage(error: BaseException) -> bool:
    """Whether asking again later may help. False: a defect of the statement, the schema or the caller."""
    if isinstance(error, _AWAY):
        return True
    # asyncpg has one class for a connection closed under its user and for its misuse; only the text tells them apart.
    if isinstance(error, pg.InternalClientError):
        return _PARTING in str(error)
    return isinstance(error, pg.InterfaceError) and "clos" in str(error)


@contextmanager
def outages(what: str, *, retry_after: int = 5) -> Iterator[None]:
    """Turns every outage of Postgres into Unavailable; any other exception is a defect and passes."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        raise Unavailable(f"{what}: {type(error).__name__}: {error}", retry_after=retry_after) from error


async def open_pool(database: Database) -> Pool:
    """A pool for the service, ``pool_min`` connections warm if Postgres is there: a gateway also starts while it is away.

    A connection once made is kept: one that a firewall forgot ends with the first question it doesn't carry.
    Raises ConfigError where nothing says who connects, or how is not to be had (a certificate's file, say).
    """
    refuse_unusable(database.url.get_secret_value())
    pool = await asyncpg.create_pool(
        database.url.get_secret_value(),
        connect=_connect,
        min_size=0,
        max_size=database.pool_max,
        max_inactive_connection_lifetime=0,
        timeout=database.connect_s,
        command_timeout=database.query_s,
        reset=_keep,
        server_settings=_settings(database, statement_s=database.query_s),
    )
    async with AsyncExitStack() as borrowed:
        try:
            for _ in range(database.pool_min):
                await borrowed.enter_async_context(borrow(pool, "warming up", wait_s=database.connect_s))
        except Unavailable as error:
            refuse_misconfigured(error, key="database.url")
    return pool


def refuse_misconfigured(error: Unavailable, *, key: str) -> None:
    """Raises ConfigError where a certificate's file that the value of ``key`` asks for is what there is not."""
    if isinstance(error.__cause__, pg.ClientConfigurationError):
        raise ConfigError([f"{key}: {error.__cause__.args[0]}; name one as sslrootcert=…"]) from None


async def _connect(dsn: str | None = None, **how: Any) -> Connection:  # asyncpg's own options
    """As asyncpg's, but whoever cannot be reached is named."""
    try:
        return await asyncpg.connect(dsn, **how)
    except _UNPLACED as error:
        if "Connect call failed" not in str(error):  # asyncio's words, which have the address in them
            error.filename = _hosts(dsn or "")
        raise


def _hosts(url: str) -> str:
    """Whom ``url`` names, or a variable of libpq's; never who connects."""
    parts = urlsplit(url)
    named = (parts.netloc.rpartition("@")[2], *parse_qs(parts.query).get("host", ()), os.environ.get("PGHOST", ""))
    return next(filter(None, map(unquote, named)), "localhost")


@asynccontextmanager
async def borrow(pool: Pool, what: str, *, wait_s: float) -> AsyncIterator[Pooled]:
    """A connection from the pool, had within ``wait_s`` seconds. Raises Unavailable where Postgres is away, also midway.

    To be used in a task that no client's leaving cancels.
    """
    with outages(what):
        try:
            connection = await pool.acquire(timeout=wait_s)
        except pg.PostgresError as error:
            raise _barred(what, error) from error
        try:
            yield connection
        except (TimeoutError, pg.ReadOnlySQLTransactionError, pg.InternalClientError):
            # The server hangs, or the line is dead: giving the connection back in order would wait for it once more. One that
            # may only read would stay so for as long as it is kept. One that the server has ended takes no question any more.
            with suppress(pg.InterfaceError):  # asyncpg ended it already, having failed to cancel what timed out
                connection.terminate()
            raise
        finally:
            await pool.release(connection)


def _barred(what: str, error: pg.PostgresError) -> Unavailable:
    """Postgres refused the connection, as it does while the role of the migrations is missing: an operator has to act first."""
    return Unavailable(f"{what}: {type(error).__name__}: {error}{_fix(error)}")


def _fix(error: pg.PostgresError) -> str:
    """What to do, where it is the role that the connection was to take on."""
    match error:
        case pg.InvalidParameterValueError():  # no other parameter of ours could have a wrong value
            return "; see database.role: `recording-gateway migrate` makes recording_gateway"
        case pg.InsufficientPrivilegeError() if "set role" in str(error):
            return "; see database.role: grant it to the login of database.url, or unset it"
        case _:
            return ""


@asynccontextmanager
async def planned_anew(connection: Pooled) -> AsyncIterator[None]:
    """A reading transaction whose statements see one moment, and are planned for the values they are asked with.

    For searches: the best plan for a rare value is the worst for one that is in every row.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off")
        yield


async def connect(database: Database) -> Connection:
    """A connection of the service's own, outside the pool, without a limit on its statements.

    Raises Unavailable where the server refuses the connection; OSError, TimeoutError where it cannot be reached.
    """
    try:
        return await _connect(
            database.url.get_secret_value(), timeout=database.connect_s, server_settings=_settings(database)
        )
    except pg.PostgresError as error:
        raise _barred("connecting", error) from error


def refuse_unusable(url: str, *, key: str = "database.url") -> None:
    """Raises ConfigError where ``url``, the value of ``key``, cannot work on this machine, whatever the server says."""
    _refuse_nameless(url, key)
    _refuse_unreadable(url, key)


def _refuse_unreadable(url: str, key: str) -> None:
    """Checks the certificate files that ``url`` names: where one is missing, the library does not say which."""
    query = parse_qs(urlsplit(url).query)
    if query.get("sslmode", [os.environ.get("PGSSLMODE", "prefer")])[-1] not in _WITH_FILES:
        return
    variables = {name: f"PG{name.upper()}" for name in _FILES if name not in query}
    named = {name: query[name][-1] for name in _FILES if name in query}
    named |= {name: os.environ[name] for name in variables.values() if os.environ.get(name)}
    if problems := [
        f"{key}: {name}={path} cannot be read; check the path and its permissions"
        for name, path in named.items()
        if not os.access(path, os.R_OK)
    ]:
        raise ConfigError(problems)


def _refuse_nameless(url: str, key: str) -> None:
    """A URL without a user means the process's own user name, and a container's uid may have no name."""
    parts = urlsplit(url)
    if parts.username or "user" in parse_qs(parts.query) or os.environ.get("PGUSER"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError):
        problem = f"{key}: names no user, and uid {os.getuid()} has no name; write postgresql://user@host/database"
        raise ConfigError([problem]) from None


def _settings(database: Database, *, statement_s: float | None = None) -> dict[str, str]:
    settings = {"application_name": APPLICATION}
    if database.role is not None:
        settings["role"] = database.role
    if statement_s is not None:
        # The server's end of query_s: a statement that nobody waits for any more stops.
        settings["statement_timeout"] = str(max(1, round(statement_s * 1000)))
    return settings


async def _keep(_connection: Connection) -> None:
    """No user of the pool sets session state, so the round trip that would clear it is saved.

    asyncpg itself drops listeners and rolls back what was left open.
    """
