"""What is asked of Postgres, and what its rows become. The tenant stands in every question about a call."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import orjson
from asyncpg import Record

from ..model import (
    Call,
    CallRef,
    Entry,
    IssuedLink,
    Key,
    Listing,
    Object,
    Recording,
    Segment,
    Stat,
    State,
    Tenant,
    Transcript,
)

KEPT_UNTIL = """
    kept_until(
        r.expires_at, r.kept_from, r.retention_days, (SELECT p.retention_days FROM tenants p WHERE p.id = r.tenant_id)
    )
"""
"""Until when recordings r are kept: as long as their tenant's days, their own and the time they were given; null: for ever."""
OVER = f"coalesce({KEPT_UNTIL} <= now() AND NOT r.hold, false)"
"""Retention has run out, whether or not anything has swept it: as Entry.state has it."""

RECORDING = f"""
    r.id AS recording_id, r.state, r.store, r.key, r.media_type, r.size, r.etag, r.version, r.modified,
    r.duration_ms, r.channels, r.seekable, r.created_at AS recording_created_at, r.started_at AS recording_started_at,
    r.ready_at, {KEPT_UNTIL} AS expires_at, r.hold, r.failure
"""
"""The columns that ``recording`` reads, of recordings r."""

_COLUMNS = f"""
    c.id, c.tenant_id, c.department_id, c.direction, c.from_number, c.to_number, c.voice_agent,
    c.started_at, c.ended_at, c.created_at, {RECORDING},
    t.slug AS tenant_slug, t.name AS tenant_name, t.recording_enabled, t.transcription_enabled,
    t.retention_days AS tenant_retention_days,
    (SELECT array_agg(ARRAY[a.surface, a.external_id] ORDER BY a.created_at, a.external_id)
        FROM call_aliases a WHERE a.tenant_id = c.tenant_id AND a.call_id = c.id) AS aliases,
    (SELECT x.status FROM transcripts x WHERE x.call_id = c.id AND x.tenant_id = c.tenant_id) AS transcript_status
"""  # noqa: S608  constants only

FIND_BY_ID = f"""
    SELECT {_COLUMNS} FROM calls c JOIN tenants t ON t.id = c.tenant_id
    LEFT JOIN recordings r ON r.tenant_id = c.tenant_id AND r.call_id = c.id
    WHERE c.tenant_id = $1 AND c.id = $2
"""  # noqa: S608  constants only

FIND_BY_ALIAS = f"""
    SELECT {_COLUMNS} FROM call_aliases n
    JOIN calls c ON c.tenant_id = n.tenant_id AND c.id = n.call_id
    JOIN tenants t ON t.id = c.tenant_id
    LEFT JOIN recordings r ON r.tenant_id = c.tenant_id AND r.call_id = c.id
    WHERE n.tenant_id = $1 AND n.surface = $2 AND n.external_id = $3
"""  # noqa: S608  constants only
FIND_PUBLIC = FIND_BY_ALIAS.replace(
    "n.tenant_id = $1 AND n.surface = $2 AND n.external_id = $3",
    """
    n.surface = 'agentphone' AND n.surface = $1 AND n.external_id = $2
""",
)
"""Whoever's: the index that makes an id unique among all tenants is this one surface's."""

FIND_BY_LINK = FIND_BY_ID.replace("c.id = $2", "c.id = (SELECT l.call_id FROM links l WHERE l.id = $2)")

KEY = """
    SELECT k.id, k.tenant_id, t.slug, k.name, k.hint, k.scopes, k.role, k.created_at, k.expires_at, k.revoked_at
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
"""
KEY_BY_SHA256 = KEY + "WHERE k.sha256 = $1"

TENANT = "id, slug, name, recording_enabled, transcription_enabled, retention_days"
"""The columns that ``tenant`` reads."""
TENANT_BY_SLUG = f"SELECT {TENANT} FROM tenants WHERE slug = $1"  # noqa: S608  constants only

LINK = "id, tenant_id, call_id, created_at, created_by, expires_at, max_uses, ip_cidr, revoked_at"
"""The columns that ``link`` reads."""
LINK_BY_ID = f"SELECT {LINK} FROM links WHERE id = $1"  # noqa: S608  constants only


TRANSCRIBES = "SELECT transcription_enabled FROM tenants WHERE id = $1"

_SPOKEN = "JOIN transcripts x ON x.tenant_id = r.tenant_id AND x.call_id = r.call_id"


TRANSCRIPT = f"""
    SELECT x.status, x.language, x.text, x.segments, x.created_at, x.updated_at
    FROM transcripts x JOIN tenants t ON t.id = x.tenant_id
    LEFT JOIN recordings r ON r.tenant_id = x.tenant_id AND r.call_id = x.call_id
    WHERE x.tenant_id = $1 AND x.call_id = $2 AND t.transcription_enabled AND coalesce(r.state <> 'expired', true) AND NOT {OVER}
"""  # noqa: S608  constants only
"""What the account has told, as long as its recording is kept: as things stand now, whatever is remembered of either."""


_OVER_OF_ONE = OVER.replace("p.id = r.tenant_id", "p.id = $1")
"""The same for recordings of the one tenant $1, whose days are looked up once."""

FEW = 2000
"""Calls that words lead to, beyond which looking at one recording after the other, newest first, soon fills a page."""
SAYING = f"""
    SELECT x.call_id FROM transcripts x
    WHERE numnode(websearch_to_tsquery('simple', $1)) > 0
        AND x.words @@ (websearch_to_tsquery('simple', $1) && $2::text::tsquery)
    LIMIT {FEW + 1}
"""  # noqa: S608  constants only
"""The calls in which ``folded`` words ($1) were said, by the account ($2: as ``whose`` names it). More than FEW: some of them."""


def whose(tenant: UUID) -> str:
    """The word that stands in each transcript of ``tenant``'s beside those that were said, as a tsquery."""
    return f"'@{tenant}'"


def listing(
    tenant: UUID, asked: Listing, after: tuple[datetime, UUID] | None, saying: Sequence[UUID] | None = None
) -> tuple[str, list[object]]:
    """The statement and arguments for one row more than a page of recordings, newest first.

    ``saying``: the calls in which ``asked.text`` was said, where they are few.
    """
    arguments: list[object] = [tenant]

    def argument(value: object) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    where = ["r.tenant_id = $1"]
    if asked.state is State.EXPIRED:
        where.append(f"(r.state = 'expired' OR {_OVER_OF_ONE})")
    elif asked.state is not None:
        where.append(f"(r.state = {argument(str(asked.state))} AND NOT {_OVER_OF_ONE})")
    bounds = (
        ("r.created_at >=", asked.since),
        ("r.created_at <", asked.until),
        ("c.started_at >=", asked.started_since),
        ("c.started_at <", asked.started_until),
        ("c.department_id =", asked.department),
    )
    where += [f"{bound} {argument(value)}" for bound, value in bounds if value is not None]
    if asked.number is not None:
        number = argument(asked.number)
        sides = [f"number_key(c.{side}) = number_key({number})" for side in ("from_number", "to_number")]
        where.append(f"({' OR '.join(sides)})")
    if asked.text is not None:
        if saying is not None:
            where.append(f"r.call_id = ANY({argument(saying)}::uuid[])")
        else:
            words = f"websearch_to_tsquery('simple', {argument(folded(asked.text))})"
            where.append(f"x.words @@ ({words} && {argument(whose(tenant))}::text::tsquery)")
        # The words of what retention has ended lead to nothing, whether or not anything has swept it.
        where.append(f"x.status = 'ready' AND t.transcription_enabled AND r.state <> 'expired' AND NOT {_OVER_OF_ONE}")
    if after is not None:
        where.append(f"(r.created_at, r.id) < ({argument(after[0])}, {argument(after[1])})")
    statement = f"""
        SELECT {_COLUMNS} FROM recordings r JOIN calls c ON c.tenant_id = r.tenant_id AND c.id = r.call_id
        JOIN tenants t ON t.id = r.tenant_id
        {_SPOKEN if asked.text is not None else ""}
        WHERE {" AND ".join(where)}
        ORDER BY r.created_at DESC, r.id DESC LIMIT {argument(asked.limit + 1)}
    """  # noqa: S608  constants and placeholders only
    return statement, arguments


def folded(text: str) -> str:
    """``text`` as words are kept and looked for: without regard to case and to how a letter is put together."""
    return unicodedata.normalize("NFKC", text).casefold()


def entry(row: Record, ref: CallRef | None = None) -> Entry:
    """A row of _COLUMNS. Where a call has several ids on one surface, the one asked by (``ref``) stands for it."""
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
