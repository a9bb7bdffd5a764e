"""The catalog as Postgres has it, asked afresh each time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import astuple, replace
from typing import Any, TypeVar
from uuid import UUID

from asyncpg import Record

from .. import cursor
from ..config import Database
from ..errors import Contradicts, Malformed, NotFound, Unavailable
from ..model import BY_LINK, CallRef, Entry, IssuedLink, Key, Listing, Page, State, Tenant, Transcript
from ..postgres import Pool, Pooled, borrow, planned_anew
from . import queries, records, search
from .schema import pending
from .tasks import Tasks
from .together import Together

LIMIT = 200
"""Entries of one page at most."""
ID_LENGTH = 255
"""Characters of an external id at most, as the table checks."""

T = TypeVar("T")


class PostgresCatalog:
    """model.Catalog and model.Credentials. Every outage is Unavailable; a defect is what asyncpg raises.

    A question, once asked, runs to its end in a task of its own: a caller that leaves neither cancels it halfway nor costs
    the pool a connection.
    """

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s
        self._searches = asyncio.Semaphore(max(1, database.pool_max // 2))
        self._tasks = Tasks()
        self._by_id = self._together(queries.FIND_BY_ID, "uuid", "uuid")
        self._by_alias = self._together(queries.FIND_BY_ALIAS, "uuid", "text", "text")
        self._by_link = self._together(queries.FIND_BY_LINK, "uuid", "uuid")
        self._public = self._together(queries.FIND_PUBLIC, "text", "text")
        self._keys = self._together(queries.KEY_BY_SHA256, "bytea")
        self._tenants = self._together(queries.TENANT_BY_SLUG, "text")
        self._links = self._together(queries.LINK_BY_ID, "uuid")

    async def find(self, tenant: UUID | None, ref: CallRef) -> Entry:
        """Raises NotFound (another tenant's call is one), Unavailable."""
        if tenant is None:
            if ref.surface is None or not storable(ref.id):
                raise NotFound("not an id that could be public")
            asked = self._public.ask((ref.surface, ref.id))
        elif ref.surface is None:
            asked = self._by_id.ask((tenant, _uuid(ref.id)))
        elif ref.surface == BY_LINK:
            asked = self._by_link.ask((tenant, _uuid(ref.id)))
        elif storable(ref.id):
            asked = self._by_alias.ask((tenant, ref.surface, ref.id))
        else:
            raise NotFound("not an id that could be kept")
        try:
            row = await asked
        finally:
            del asked  # what it raises leads back to here, and both would stay until a collection
        if row is None:
            raise NotFound("no such call of this tenant")
        return records.entry(row, None if ref.surface == BY_LINK else ref)

    async def list(self, tenant: UUID, listing: Listing) -> Page:
        """Recordings, those registered last first.

        Raises Malformed, Contradicts (words are asked for, and the account has no transcripts told), Unavailable.
        """
        if not 1 <= listing.limit <= LIMIT:
            raise Malformed("query", "limit", message=f"must lie between 1 and {LIMIT}")
        if listing.state is State.ABSENT:
            raise Malformed("query", "state", message="a call without a recording is in no listing of recordings")
        of = cursor.listing(tenant, "recordings", *astuple(replace(listing, limit=0, cursor=None)))
        after = None if listing.cursor is None else cursor.decode(of, listing.cursor)

        async def listed(connection: Pooled) -> list[Record]:
            async with planned_anew(connection):
                saying = None if listing.text is None else await _saying(connection, tenant, listing.text)
                statement, arguments = search.listing(tenant, listing, after, saying)
                return await connection.fetch(statement, *arguments)

        rows = await asyncio.shield(self._tasks.start(self._in_turn(listed)))
        entries = [records.entry(row) for row in rows[: listing.limit]]
        if len(rows) <= listing.limit:
            return Page(entries, None)
        last = rows[listing.limit - 1]
        return Page(entries, cursor.encode(of, last["recording_created_at"], last["recording_id"]))

    async def transcript(self, tenant: UUID, call: UUID) -> Transcript | None:
        """None: the call has none, or none that may be told. Raises Unavailable."""
        row = await self._ask(lambda connection: connection.fetchrow(queries.TRANSCRIPT, tenant, call))
        return None if row is None else records.transcript(row)

    async def key(self, sha256: bytes) -> Key | None:
        """Also one that is revoked or has expired: that is for identity to see. Raises Unavailable."""
        row = await self._keys.ask((sha256,))
        return None if row is None else records.key(row)

    async def tenant(self, slug: str) -> Tenant | None:
        """Raises Unavailable."""
        if not storable(slug):
            return None
        row = await self._tenants.ask((slug,))
        return None if row is None else records.tenant(row)

    async def link(self, link: UUID) -> IssuedLink | None:
        """Also one that was taken back: that is for identity to see. Raises Unavailable."""
        row = await self._links.ask((link,))
        return None if row is None else records.link(row)

    async def check(self) -> None:
        """Can the catalog be asked, and is its schema this version's? Raises Unavailable, saying why."""
        if behind := await self._ask(pending):
            raise Unavailable(f"the schema lacks {', '.join(behind)}; run `recording-gateway migrate`")

    async def close(self) -> None:
        """Waits for the questions under way: each ends within its timeouts."""
        await self._tasks.close()

    def _together(self, statement: str, *types: str) -> Together[tuple[object, ...], Record | None]:
        """For a statement that has at most one row, by the types of its parameters."""
        for_each = queries.for_each(statement, *types)

        async def carry(keys: Sequence[tuple[object, ...]]) -> Sequence[Record | None]:
            if len(keys) == 1:  # Postgres keeps this one's plan, and makes the other's anew each time
                return [await self._run(lambda connection: connection.fetchrow(statement, *keys[0]))]
            rows = await self._run(lambda connection: connection.fetch(for_each, *map(list, zip(*keys, strict=True))))
            found = {row["place"]: row for row in rows}
            return [found.get(place) for place in range(1, len(keys) + 1)]

        return Together(self._tasks, carry)

    async def _ask(self, question: Callable[[Pooled], Coroutine[Any, Any, T]]) -> T:
        return await asyncio.shield(self._tasks.start(self._run(question)))

    async def _in_turn(self, search: Callable[[Pooled], Awaitable[T]]) -> T:
        """Searches may take long: half of the pool is for everything else."""
        try:
            async with asyncio.timeout(self._wait_s):
                await self._searches.acquire()
        except TimeoutError:
            raise Unavailable("catalog: too many searches at once") from None
        try:
            return await self._run(search)
        finally:
            self._searches.release()

    async def _run(self, question: Callable[[Pooled], Awaitable[T]]) -> T:
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection:
            return await question(connection)


async def _saying(connection: Pooled, tenant: UUID, text: str) -> list[UUID] | None:
    """The calls in which ``text`` was said; None: more than a few. Raises Contradicts."""
    if not await connection.fetchval(queries.TRANSCRIBES, tenant):
        raise Contradicts("transcription_disabled", "The account has transcription switched off.")
    rows = await connection.fetch(search.SAYING, search.asked_for(text), search.whose(tenant))
    return [row["call_id"] for row in rows] if len(rows) <= search.FEW else None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("not a UUID") from None


def storable(text: str) -> bool:
    """Whether Postgres could hold ``text`` as an id: of bounded length, no NUL, no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= ID_LENGTH and "\0" not in text
