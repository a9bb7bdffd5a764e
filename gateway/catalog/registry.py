"""The catalog's writing side: tenants, calls, recordings, keys. Doing the same thing twice does it once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import EllipsisType
from uuid import UUID, uuid4

import orjson
from asyncpg import Record
from asyncpg.exceptions import (
    CheckViolationError,
    ForeignKeyViolationError,
    RestrictViolationError,
    UniqueViolationError,
)
from uuid_utils.compat import uuid7

from ..aliases import PUBLIC, kept
from ..config import Database
from ..errors import Changed, Conflict, NotFound, Unavailable
from ..model import NOTHING_TOLD, Key, Lifetime, NewCall, Object, Recording, State, Tenant
from ..postgres import Pool, Pooled, borrow
from . import queries, records, statements
from .store import storable

READY_EVENT = "call.recording_ready"


class Registry:
    """Every method raises Unavailable while Postgres is away; what names a place, also while retention deletes there."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool = pool
        self._wait_s = database.connect_s

    # --- tenants

    async def create_tenant(
        self,
        slug: str,
        name: str,
        *,
        recording_enabled: bool | None = None,
        transcription_enabled: bool | None = None,
        retention_days: int | None = None,
    ) -> Tenant:
        """By slug; what is given of an existing tenant is brought up to date. Raises Conflict (no fit slug)."""
        if not statements.SLUG.fullmatch(slug):
            raise Conflict(f"{slug!r} is no slug; write lower-case letters, digits, - and _, 63 at most")
        async with self._writing() as connection:
            row = await connection.fetchrow(
                statements.UPSERT_TENANT, slug, name, recording_enabled, transcription_enabled, retention_days
            )
        return records.tenant(_one(row))

    async def tenants(self) -> list[Tenant]:
        """All of them, by slug."""
        async with self._writing() as connection:
            return [records.tenant(row) for row in await connection.fetch(statements.TENANTS)]

    # --- calls

    async def create_call(self, tenant: UUID, call: NewCall) -> UUID:
        """The call that has this id or one of these aliases, made if there is none; returns its id.

        Raises Conflict: an id or alias is another call's. NotFound: no such tenant or department.
        """
        return (await self.put_call(tenant, call))[0]

    async def put_call(self, tenant: UUID, call: NewCall) -> tuple[UUID, bool]:
        """As ``create_call``; tells besides whether the call was made."""
        call = replace(call, aliases={surface: kept(surface, id_) for surface, id_ in call.aliases.items()})
        for surface, external_id in call.aliases.items():
            if not statements.SURFACE.fullmatch(surface) or not external_id or not storable(external_id):
                raise Conflict(f"{surface}:{external_id[:64]!r} can be nobody's alias")
        try:
            return await self._upsert_call(tenant, call)
        except UniqueViolationError:
            pass  # perhaps somebody registered this very call at the same time; if so, it is found now
        try:
            return await self._upsert_call(tenant, call)
        except UniqueViolationError:
            raise Conflict("the call's id, or one of its aliases, is taken", "id_taken") from None

    async def _upsert_call(self, tenant: UUID, call: NewCall) -> tuple[UUID, bool]:
        async with self._writing() as connection:
            rows = await connection.fetch(
                statements.CALLS_OF_ALIASES, tenant, list(call.aliases), list(call.aliases.values())
            )
            found = {row["call_id"] for row in rows} | ({call.id} if call.id else set())
            if len(found) > 1:
                raise Conflict("these ids belong to different calls", "id_taken")
            try:
                row = await connection.fetchrow(
                    statements.UPSERT_CALL,
                    found.pop() if found else uuid4(),
                    tenant,
                    call.department,
                    call.direction,
                    call.from_number,
                    call.to_number,
                    call.voice_agent,
                    call.started_at,
                    call.answered_at,
                    call.ended_at,
                )
            except ForeignKeyViolationError:
                raise NotFound("no such tenant, or no such department of it") from None
            except CheckViolationError as error:
                raise Conflict(f"refused by {error.constraint_name}") from None
            except RestrictViolationError:
                raise Conflict("a call with a recording stays in its department", "department_fixed") from None
            if row is None:
                raise Conflict("the call's id is taken", "id_taken")
            known = {row["surface"]: row["external_id"] for row in rows}
            new = {surface: alias for surface, alias in call.aliases.items() if known.get(surface) != alias}
            await connection.execute(statements.ADD_ALIASES, tenant, list(new), list(new.values()), row["id"])
            return records.uuid(row["id"]), row["made"]

    # --- recordings

    async def put_recording(
        self,
        tenant: UUID,
        call: UUID,
        *,
        state: State | None = None,
        place: tuple[str, str] | None = None,
        object_: Object | None = None,
        lifetime: Lifetime = NOTHING_TOLD,
        moves: bool = True,
    ) -> Recording:
        """The call is being recorded, or its recording is being looked at (``state`` PENDING or PROCESSING).

        Without ``state`` the state stays as it is, PENDING at first. ``place`` is (store, key), where known; ``object_`` gives
        the place as well, and what the store says of the object. A ready recording stays ready unless another place is
        given. ``moves`` False: then, too, it stays ready where it is, and nothing changes.
        Raises NotFound (no such call of this tenant), Conflict (it has expired; it is held, and would move).
        """
        if state not in {None, State.PENDING, State.PROCESSING}:
            raise ValueError("mark_ready and mark_failed lead to the other states")
        if object_ is not None:
            place = object_.store, object_.key
        store, key = place or (None, None)
        async with self._writing() as connection:
            held = await self._held(connection, tenant, call)
            stays = held["state"] == State.READY and place in {None, (held["store"], held["key"])}
            if held["state"] == State.READY and not (stays or moves):
                stays, store, key, lifetime = True, None, None, NOTHING_TOLD
            if place is not None and not stays:
                await self._name(connection, held, place)
            told = lifetime.started_at, lifetime.retention_days, lifetime.expires_at
            asked = [held["id"], tenant, held["state"] if stays or state is None else str(state), store, key, *told]
            if stays or place is None:
                row = await connection.fetchrow(statements.PUT_RECORDING, *asked)
            else:
                row = await connection.fetchrow(statements.PLACE_RECORDING, *asked, *_stat(object_))
        return records.recording(_one(row))

    async def mark_ready(
        self,
        tenant: UUID,
        call: UUID,
        object_: Object,
        *,
        duration_ms: int | None = None,
        channels: int | None = None,
        seekable: bool | None = None,
        lifetime: Lifetime = NOTHING_TOLD,
        seen: str | EllipsisType | None = ...,
    ) -> Recording:
        """The recording can be fetched. If it could not before, the event for webhooks is written in the same transaction.

        No event is written for a recording that is past its retention by then, as an old one may be.

        ``seen``: the version that was ready as ``object_`` was looked at, None for none.
        Raises NotFound (no such call of this tenant), Conflict (it has expired), Changed (a version of the same object that was
        not ``seen`` is ready by now: nobody knows which of them is the newer).
        """
        async with self._writing() as connection:
            held = await self._held(connection, tenant, call)
            there = held["state"] == State.READY and (held["store"], held["key"]) == (object_.store, object_.key)
            if there and seen is not ... and held["version"] not in {seen, object_.stat.version}:
                raise Changed("the object was replaced, and registered by somebody else meanwhile")
            await self._name(connection, held, (object_.store, object_.key))
            row = await connection.fetchrow(
                statements.READY_RECORDING,
                held["id"],
                tenant,
                object_.store,
                object_.key,
                *_stat(object_),
                duration_ms,
                channels,
                seekable,
                lifetime.started_at,
                lifetime.expires_at,
                lifetime.retention_days,
            )
            if held["state"] != State.READY:
                await self._announce(connection, tenant, call)
        return records.recording(_one(row))

    async def mark_failed(self, tenant: UUID, call: UUID, failure: str) -> Recording:
        """There will be no recording; ``failure`` says why, to operators. Raises NotFound, Conflict (it is ready)."""
        async with self._writing() as connection:
            held = await self._held(connection, tenant, call)
            if held["state"] == State.READY:
                raise Conflict("the recording is ready", "recording_ready")
            row = await connection.fetchrow(statements.FAIL_RECORDING, held["id"], tenant, failure)
        return records.recording(_one(row))

    async def calls_at(self, tenant: UUID, store: str, key: str) -> list[UUID]:
        """The tenant's calls whose recordings lie there, as far as they have not expired."""
        async with self._writing() as connection:
            return [
                records.uuid(row["call_id"]) for row in await connection.fetch(statements.CALLS_AT, tenant, store, key)
            ]

    async def _held(self, connection: Pooled, tenant: UUID, call: UUID) -> Record:
        """The recording's row, made if need be, locked until the transaction ends."""
        try:
            await connection.execute(statements.ENSURE_RECORDING, uuid7(), tenant, call)
        except ForeignKeyViolationError:
            raise NotFound("no such call of this tenant") from None
        row = _one(await connection.fetchrow(statements.LOCK_RECORDING, tenant, call))
        if row["state"] == State.EXPIRED:
            raise Conflict("the recording has expired", "recording_expired")
        return row

    async def _name(self, connection: Pooled, held: Record, place: tuple[str, str]) -> None:
        """``place`` becomes the recording's. Raises Unavailable: retention is just deleting what lies there."""
        if (held["store"], held["key"]) != place and not await connection.fetchval(statements.NAME_PLACE, *place):
            raise Unavailable("catalog: the object is being deleted, as its recording has expired")

    async def _announce(self, connection: Pooled, tenant: UUID, call: UUID) -> None:
        row = _one(await connection.fetchrow(queries.FIND_BY_ID, tenant, call))
        entry, now = records.entry(row), datetime.now(UTC)
        if entry.state(now) is not State.READY:  # past its end as it comes: nobody could fetch it
            return
        # Receivers fetch with a credential of their own: an event gives them none.
        aliases = {surface: id_ for surface, id_ in entry.call.aliases.items() if surface != PUBLIC}
        payload = {
            "type": READY_EVENT,
            "timestamp": now,
            "data": {"call_id": call, "aliases": aliases},
        }
        text = orjson.dumps(payload, option=orjson.OPT_UTC_Z).decode()
        await connection.execute(statements.ADD_EVENT, uuid7(), tenant, READY_EVENT, text)

    # --- keys

    async def create_key(self, key: Key, sha256: bytes) -> None:
        """``sha256`` is the whole key's. Raises NotFound (no such tenant)."""
        async with self._writing() as connection:
            try:
                await connection.execute(
                    statements.ADD_KEY,
                    key.id,
                    key.tenant,
                    key.name,
                    key.hint,
                    sha256,
                    sorted(key.scopes),
                    key.role,
                    key.created_at,
                    key.expires_at,
                )
            except ForeignKeyViolationError:
                raise NotFound("no such tenant") from None

    async def list_keys(self, tenant: UUID | None = None) -> list[Key]:
        """A tenant's, or everybody's; revoked and expired ones too."""
        async with self._writing() as connection:
            return [records.key(row) for row in await connection.fetch(statements.KEYS, tenant)]

    async def revoke_key(self, key: UUID) -> Key | None:
        """Every replica hears of it at once. A key once revoked stays as it is. None: there is no such key."""
        async with self._writing() as connection:
            row = await connection.fetchrow(statements.REVOKE_KEY, key)
        return None if row is None else records.key(row)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Pooled]:
        async with borrow(self._pool, "catalog", wait_s=self._wait_s) as connection, connection.transaction():
            try:
                yield connection
            except RestrictViolationError:
                raise Conflict("the recording is held, and stays where it lies", "recording_held") from None


def _stat(object_: Object | None) -> tuple[object, ...]:
    """media_type, size, etag, version, modified; nulls where nothing is known."""
    if object_ is None:
        return (None,) * 5
    stat = object_.stat
    return object_.media_type, stat.size, stat.etag, stat.version, stat.modified


def _one(row: Record | None) -> Record:
    if row is None:
        raise LookupError("a row that was locked or upserted is not there")
    return row
