"""What a tenant's webhooks ask of Postgres. The tenant stands in every statement about what is his."""

from __future__ import annotations

_ENDPOINT = """
    id, url, description, enabled, disabled_reason, failing_since, created_at, updated_at,
    CASE WHEN former_until > now() THEN former_until END AS former_until
"""
_LIVE = "tenant_id = $1 AND deleted_at IS NULL"

LOCK_TENANT = "SELECT FROM tenants WHERE id = $1 FOR NO KEY UPDATE"
COUNT_ENDPOINTS = f"SELECT count(*) FROM webhook_endpoints WHERE {_LIVE}"  # noqa: S608  constants only
ADD_ENDPOINT = f"""
    INSERT INTO webhook_endpoints (id, tenant_id, url, description, secret) VALUES ($1, $2, $3, $4, $5)
    RETURNING {_ENDPOINT}
"""  # noqa: S608  constants only
ENDPOINTS = f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_LIVE} ORDER BY created_at, id"  # noqa: S608  constants only
ENDPOINT = f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_LIVE} AND id = $2"  # noqa: S608  constants only
HOLD_ENDPOINT = f"{ENDPOINT} FOR SHARE"
CHANGE_ENDPOINT = f"""
    UPDATE webhook_endpoints SET
        url = coalesce($3, url),
        description = coalesce($4, description),
        enabled = coalesce($5, enabled),
        disabled_reason = CASE WHEN $5 THEN NULL WHEN NOT $5 THEN coalesce(disabled_reason, 'asked') ELSE disabled_reason END,
        failing_since = CASE WHEN $5 OR $3 <> url THEN NULL ELSE failing_since END,
        updated_at = now()
    WHERE {_LIVE} AND id = $2
    RETURNING {_ENDPOINT}
"""  # noqa: S608  constants only
DELETE_ENDPOINT = f"""
    UPDATE webhook_endpoints SET
        secret = NULL, former_secret = NULL, former_until = NULL,
        enabled = false, disabled_reason = coalesce(disabled_reason, 'asked'),
        updated_at = now(), deleted_at = now()
    WHERE {_LIVE} AND id = $2
    RETURNING {_ENDPOINT}
"""  # noqa: S608  constants only
ROTATE_SECRET = f"""
    UPDATE webhook_endpoints SET
        former_secret = CASE WHEN $4::float8 > 0 THEN secret END,
        former_until = CASE WHEN $4::float8 > 0 THEN now() + make_interval(secs => $4) END,
        secret = $3,
        updated_at = now()
    WHERE {_LIVE} AND id = $2
    RETURNING {_ENDPOINT}
"""  # noqa: S608  constants only
DROP_PENDING = """
    UPDATE webhook_deliveries SET state = 'dropped', settled_at = now() WHERE endpoint_id = $1 AND state = 'pending'
"""

ADD_PING = "INSERT INTO webhook_outbox (id, tenant_id, type, payload, endpoint_id) VALUES ($1, $2, $3, $4, $5)"
_DELIVERY = """
    SELECT d.id, d.event_id, o.type, o.payload #>> '{data,call_id}' AS call_id, d.state, d.due_at, d.created_at,
        d.settled_at, a.*
    FROM webhook_deliveries d JOIN webhook_outbox o ON o.id = d.event_id
    CROSS JOIN LATERAL (
        SELECT array_agg(number ORDER BY number) AS numbers, array_agg(at ORDER BY number) AS times,
            array_agg(took_ms ORDER BY number) AS took, array_agg(status ORDER BY number) AS statuses,
            array_agg(error ORDER BY number) AS errors
        FROM webhook_attempts WHERE delivery_id = d.id
    ) a
    WHERE d.tenant_id = $1 AND d.endpoint_id = $2
"""
DELIVERY = f"{_DELIVERY} AND d.id = $3"
DELIVERY_OF_EVENT = f"{_DELIVERY} AND d.event_id = $3"
DELIVERIES = f"""
    {_DELIVERY}
    AND ($3::text IS NULL OR d.state = $3)
    AND ($4::timestamptz IS NULL OR (d.created_at, d.id) < ($4, $5::uuid))
    ORDER BY d.created_at DESC, d.id DESC LIMIT $6
"""
REOPEN = """
    UPDATE webhook_deliveries SET
        state = 'pending', settled_at = NULL, tries = 0,
        due_at = CASE WHEN lease IS NOT NULL AND due_at > now() THEN due_at ELSE now() END
    WHERE tenant_id = $1 AND endpoint_id = $2 AND id = $3
    RETURNING pg_notify('recording_gateway', 'webhook:due')::text
"""
"""One that somebody is just trying stays his."""
