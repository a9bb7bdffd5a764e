"""What the registry writes. An argument that is null leaves what is known as it is."""

from __future__ import annotations

import re

from .queries import KEY, RECORDING, TENANT, place_lock

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SURFACE = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""As the tables check them."""

UPSERT_TENANT = f"""
    INSERT INTO tenants AS t (slug, name, recording_enabled, transcription_enabled, retention_days)
    VALUES ($1, $2, coalesce($3, false), coalesce($4, false), $5)
    ON CONFLICT (slug) DO UPDATE SET
        name = excluded.name,
        recording_enabled = coalesce($3, t.recording_enabled),
        transcription_enabled = coalesce($4, t.transcription_enabled),
        retention_days = coalesce($5, t.retention_days)
    RETURNING {TENANT}
"""  # noqa: S608  constants only
TENANTS = f"SELECT {TENANT} FROM tenants ORDER BY slug"  # noqa: S608  constants only

CALLS_OF_ALIASES = """
    SELECT a.surface, a.external_id, a.call_id FROM call_aliases a
    JOIN unnest($2::text[], $3::text[]) AS asked (surface, external_id) USING (surface, external_id)
    WHERE a.tenant_id = $1
"""
UPSERT_CALL = """
    INSERT INTO calls AS c (
        id, tenant_id, department_id, direction, from_number, to_number, voice_agent, started_at, answered_at, ended_at
    ) VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, false), $8, $9, $10)
    ON CONFLICT (id) DO UPDATE SET
        department_id = coalesce($3, c.department_id),
        direction = coalesce($4, c.direction),
        from_number = coalesce($5, c.from_number),
        to_number = coalesce($6, c.to_number),
        voice_agent = coalesce($7, c.voice_agent),
        started_at = coalesce($8, c.started_at),
        answered_at = coalesce($9, c.answered_at),
        ended_at = coalesce($10, c.ended_at)
    WHERE c.tenant_id = $2
    RETURNING id, xmax = 0 AS made
"""
ADD_ALIASES = """
    INSERT INTO call_aliases (tenant_id, surface, external_id, call_id)
    SELECT $1, surface, external_id, $4 FROM unnest($2::text[], $3::text[]) AS new (surface, external_id)
"""

ENSURE_RECORDING = """
    INSERT INTO recordings (id, tenant_id, call_id, state) VALUES ($1, $2, $3, 'pending')
    ON CONFLICT (tenant_id, call_id) DO NOTHING
"""
LOCK_RECORDING = """
    SELECT id, state, store, key, version FROM recordings WHERE tenant_id = $1 AND call_id = $2 FOR UPDATE
"""

NAME_PLACE = f"SELECT pg_try_advisory_xact_lock_shared({place_lock('$1::text', '$2::text')})"
"""Whether a recording may be registered at ($1, $2): until the transaction ends, no retention deletes there."""

_PUT = """
    UPDATE recordings r SET
        state = $3,
        store = coalesce($4, r.store),
        key = coalesce($5, r.key),
        started_at = coalesce($6, r.started_at),
        retention_days = coalesce($7, r.retention_days),
        expires_at = coalesce($8, r.expires_at),
        failure = CASE WHEN $3 = 'failed' THEN r.failure END
"""
_THIS = f"WHERE r.id = $1 AND r.tenant_id = $2 RETURNING {RECORDING}"
PUT_RECORDING = _PUT + _THIS
PLACE_RECORDING = f"""
    {_PUT},
        media_type = $9, size = $10, etag = $11, version = $12, modified = $13,
        duration_ms = NULL, channels = NULL, seekable = NULL, ready_at = NULL
    {_THIS}
"""
"""What was known of the object is void, but for what is told now."""
CALLS_AT = "SELECT call_id FROM recordings WHERE tenant_id = $1 AND store = $2 AND key = $3 AND state <> 'expired'"
READY_RECORDING = f"""
    UPDATE recordings r SET
        state = 'ready',
        store = $3,
        key = $4,
        media_type = $5,
        size = $6,
        etag = $7,
        version = $8,
        modified = $9,
        duration_ms = $10,
        channels = $11,
        seekable = $12,
        started_at = coalesce($13, r.started_at),
        ready_at = coalesce(r.ready_at, now()),
        expires_at = coalesce($14, r.expires_at),
        retention_days = coalesce($15, r.retention_days),
        failure = NULL
    {_THIS}
"""  # noqa: S608  constants only
FAIL_RECORDING = f"""
    UPDATE recordings r SET state = 'failed', failure = $3
    {_THIS}
"""  # noqa: S608  constants only

ADD_EVENT = "INSERT INTO webhook_outbox (id, tenant_id, type, payload) VALUES ($1, $2, $3, $4)"

ADD_KEY = """
    INSERT INTO api_keys (id, tenant_id, name, hint, sha256, scopes, role, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
KEYS = KEY + "WHERE $1::uuid IS NULL OR k.tenant_id = $1 ORDER BY t.slug, k.created_at, k.id"
REVOKE_KEY = f"""
    WITH revoked AS (
        UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING *
    )
    {KEY.replace("FROM api_keys k", "FROM revoked k")}
"""  # noqa: S608  constants only
