"""A new API key: minted by identity, kept by the catalog, its secret given back once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from uuid_utils.compat import uuid7

from .catalog.registry import Registry
from .identity.keys import Minted, mint
from .model import Key, Tenant

SCOPES = {
    "calls:read": "metadata, listings, and the signed links of surfaces that give them for it",
    "recordings:download": "audio, and links to it",
    "recordings:write": "registering calls and recordings",
    "recordings:hold": "placing and lifting legal holds",
    "audit:read": "who accessed what",
    "webhooks:manage": "where events are sent, and the log of what was delivered",
    "tenants:admin": "a tenant's own settings",
}
"""What a key may be given, and what for. None implies another."""


async def issue_key(
    registry: Registry,
    tenant: Tenant,
    name: str,
    scopes: Iterable[str],
    *,
    prefix: str,
    role: str | None = None,
    good_for: timedelta | None = None,
) -> tuple[Key, Minted]:
    """``role`` as configured, for surfaces that ask for one. Raises ValueError (no fit prefix), Unavailable."""
    minted = mint(prefix)
    now = datetime.now(UTC)
    key = Key(
        id=uuid7(),
        tenant=tenant.id,
        tenant_slug=tenant.slug,
        name=name,
        hint=minted.hint,
        scopes=frozenset(scopes),
        role=role,
        created_at=now,
        expires_at=None if good_for is None else now + good_for,
    )
    await registry.create_key(key, minted.sha256)
    return key, minted
