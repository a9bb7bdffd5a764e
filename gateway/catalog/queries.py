"""What is asked of Postgres. The tenant stands in every question about a call."""

from __future__ import annotations

KEPT_UNTIL = """
    kept_until(
        r.expires_at, r.kept_from, r.retention_days, (SELECT p.retention_days FROM tenants p WHERE p.id = r.tenant_id)
    )
"""
"""Until when recordings r are kept: as long as their tenant's days, their own and the time they were given; null: for ever."""
OVER = f"coalesce({KEPT_UNTIL} <= now() AND NOT r.hold, false)"
"""Retention has run out, whether or not anything has swept it: as Entry.state has it."""

_YEAR_10000 = "timestamptz '10000-01-01 00:00:00+00'"
_TOLD_UNTIL = f"nullif(least({KEPT_UNTIL}, {_YEAR_10000}), {_YEAR_10000})"
"""An end that no datetime holds is as good as none."""

RECORDING = f"""
    r.id AS recording_id, r.state, r.store, r.key, r.media_type, r.size, r.etag, r.version, r.modified,
    r.duration_ms, r.channels, r.seekable, r.created_at AS recording_created_at, r.started_at AS recording_started_at,
    r.ready_at, {_TOLD_UNTIL} AS expires_at, r.hold, r.failure
"""
"""The columns that ``recording`` reads, of recordings r."""

COLUMNS = f"""
    c.id, c.tenant_id, c.department_id, c.direction, c.from_number, c.to_number, c.voice_agent,
    c.started_at, c.ended_at, c.created_at, {RECORDING},
    t.slug AS tenant_slug, t.name AS tenant_name, t.recording_enabled, t.transcription_enabled,
    t.retention_days AS tenant_retention_days,
    (SELECT array_agg(ARRAY[a.surface, a.external_id] ORDER BY a.created_at, a.external_id)
        FROM call_aliases a WHERE a.tenant_id = c.tenant_id AND a.call_id = c.id) AS aliases,
    (SELECT x.status FROM transcripts x WHERE x.call_id = c.id AND x.tenant_id = c.tenant_id) AS transcript_status
"""  # noqa: S608  constants only

FIND_BY_ID = f"""
    SELECT {COLUMNS} FROM calls c JOIN tenants t ON t.id = c.tenant_id
    LEFT JOIN recordings r ON r.tenant_id = c.tenant_id AND r.call_id = c.id
    WHERE c.tenant_id = $1 AND c.id = $2
"""  # noqa: S608  constants only

FIND_BY_ALIAS = f"""
    SELECT {COLUMNS} FROM call_aliases n
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


def for_each(statement: str, *types: str) -> str:
    """``statement`` for many keys at once: its parameters, of these types, become arrays, one element a key.

    It has at most one row a key, and each comes with ``place``: which key's it is, from 1. It is planned as for one key:
    OFFSET 0 keeps the planner from joining the keys with whole tables.
    """
    for number in range(1, len(types) + 1):
        statement = statement.replace(f"${number}", f"asked.part_{number}")
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
    parts = ", ".join(f"part_{number}" for number in range(1, len(types) + 1))
    return f"""
        SELECT asked.place, found.* FROM unnest({arrays}) WITH ORDINALITY AS asked({parts}, place)
        CROSS JOIN LATERAL ({statement} OFFSET 0) AS found
    """  # noqa: S608  constants only


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


TRANSCRIPT = f"""
    SELECT x.status, x.language, x.text, x.segments, x.created_at, x.updated_at
    FROM transcripts x JOIN tenants t ON t.id = x.tenant_id
    LEFT JOIN recordings r ON r.tenant_id = x.tenant_id AND r.call_id = x.call_id
    WHERE x.tenant_id = $1 AND x.call_id = $2 AND t.transcription_enabled AND coalesce(r.state <> 'expired', true) AND NOT {OVER}
"""  # noqa: S608  constants only
"""What the account has told, as long as its recording is kept: as things stand now, whatever is remembered of either."""


def place_lock(store: str, key: str) -> str:
    """The advisory lock of a place: shared by all who register there, and of one alone who deletes there."""
    return f"hashtextextended({store} || '/' || {key}, 1)"
