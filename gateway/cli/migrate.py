"""``migrate``: the schema."""

from __future__ import annotations

import click

from ..catalog.schema import MigrationFailed, pending
from ..catalog.schema import migrate as bring_up_to_date
from ..config import Database
from ..errors import Unavailable
from ..postgres import connect, outages, refuse_misconfigured, refuse_unusable
from .common import Chosen, Exit, OutOfReach, Stop, chosen, examples, refusals, run

_DENIED = "42501"
"""SQLSTATE insufficient_privilege."""


@click.command(
    epilog=examples(
        "recording-gateway --config gateway.toml migrate",
        "recording-gateway --config gateway.toml migrate --check || echo 'not yet'",
    )
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where a migration is pending.")
@chosen
def migrate(choice: Chosen, *, check: bool) -> None:
    """Bring the schema up to date, as database.migrate_url (else url).

    May run on any number of machines at once; one does the work.
    """
    database = choice.load().database
    with refusals():
        key = "url" if check or database.migrate_url is None else "migrate_url"
        refuse_unusable(getattr(database, key).get_secret_value(), key=f"database.{key}")
    if not check:
        run(_migrate(database, key))
        return
    waiting = run(_pending(database, key))
    for name in waiting:
        click.echo(f"pending: {name}")
    raise SystemExit(int(Exit.FAILED if waiting else Exit.OK))


async def _pending(database: Database, key: str) -> list[str]:
    """Asked as the login itself: a new database does not have the role yet."""
    try:
        with outages("schema"):
            connection = await connect(database.model_copy(update={"role": None}))
            try:
                return await pending(connection)
            finally:
                await connection.close()
    except Unavailable as error:
        refuse_misconfigured(error, key=f"database.{key}")
        raise OutOfReach(f"Postgres cannot be used: {error.detail}\n  see database.url and migrate_url") from error


async def _migrate(database: Database, key: str) -> None:
    owner = database.model_copy(update={"url": database.migrate_url or database.url, "role": None})
    # A connection first: dbmate words an outage in its own way, and this in one we know.
    waiting = await _pending(owner, key)
    try:
        applied = await bring_up_to_date(database) if waiting else []
    except MigrationFailed as error:
        hint = "; see database.migrate_url: the database's owner migrates" if _DENIED in str(error) else ""
        raise Stop(f"migration failed: {error}{hint}") from error
    for name in applied:
        click.echo(f"applied: {name}")
    click.echo("schema: up to date", err=True)
