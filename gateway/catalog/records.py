"""What rows of Postgres become."""

from __future__ import annotations

from uuid import UUID

import orjson
from asyncpg import Record

from ..model import Call, CallRef, Entry, IssuedLink, Key, Object, Recording, Segment, Stat, State, Tenant, Transcript


def entry(row: Record, ref: CallRef | None = None) -> Entry:
    """A row of queries.COLUMNS. Where a call has several ids on one surface, the one asked by (``ref``) stands for it."""
    aliases: dict[str, str] = {}
    if ref is not None and ref.surface is not None:
        aliases[ref.surface] = ref.id
    for surface, external_id in row["aliases"] or ():
        aliases.setdefault(surface, external_id)
    call = Call(
        id=uuid(row["id"]),
        tenant=uuid(row["tenant_id"]),
        aliases=aliases,
        direction=row["direction"],
        from_number=row["from_number"],
        to_number=row["to_number"],
        voice_agent=row["voice_agent"],
        department=None if row["department_id"] is None else uuid(row["department_id"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        created_at=row["created_at"],
    )
    account = Tenant(
        id=call.tenant,
        slug=row["tenant_slug"],
        name=row["tenant_name"],
        recording_enabled=row["recording_enabled"],
        transcription_enabled=row["transcription_enabled"],
        retention_days=row["tenant_retention_days"],
    )
    return Entry(
        call,
        None if row["recording_id"] is None else recording(row),
        account,
        row["transcript_status"] if account.transcription_enabled else None,
    )


def recording(row: Record) -> Recording:
    return Recording(
        id=uuid(row["recording_id"]),
        state=State(row["state"]),
        object=_object(row),
        duration_ms=row["duration_ms"],
        channels=row["channels"],
        seekable=row["seekable"],
        created_at=row["recording_created_at"],
        started_at=row["recording_started_at"],
        ready_at=row["ready_at"],
        expires_at=row["expires_at"],
        hold=row["hold"],
        failure=row["failure"],
    )


def _object(row: Record) -> Object | None:
    if row["version"] is None:  # the table's checks: the rest is known exactly where this is
        return None
    stat = Stat(size=row["size"], etag=row["etag"], version=row["version"], modified=row["modified"])
    return Object(store=row["store"], key=row["key"], stat=stat, media_type=row["media_type"])


def key(row: Record) -> Key:
    return Key(
        id=uuid(row["id"]),
        tenant=uuid(row["tenant_id"]),
        tenant_slug=row["slug"],
        name=row["name"],
        hint=row["hint"],
        scopes=frozenset(row["scopes"]),
        role=row["role"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def tenant(row: Record) -> Tenant:
    return Tenant(
        id=uuid(row["id"]),
        slug=row["slug"],
        name=row["name"],
        recording_enabled=row["recording_enabled"],
        transcription_enabled=row["transcription_enabled"],
        retention_days=row["retention_days"],
    )


def link(row: Record) -> IssuedLink:
    return IssuedLink(
        id=uuid(row["id"]),
        tenant=uuid(row["tenant_id"]),
        call=uuid(row["call_id"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        network=row["ip_cidr"],
        revoked_at=row["revoked_at"],
    )


def transcript(row: Record) -> Transcript:
    segments = orjson.loads(row["segments"]) if row["segments"] is not None else []
    return Transcript(
        status=row["status"],
        language=row["language"],
        text=row["text"],
        segments=tuple(Segment(**segment) for segment in segments),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def uuid(asyncpgs: UUID) -> UUID:
    """A plain UUID: asyncpg has a class of its own, which orjson refuses."""
    return UUID(bytes=asyncpgs.bytes)
