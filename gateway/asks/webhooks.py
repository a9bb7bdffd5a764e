"""Endpoints that are told of events, and the log of what was delivered to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

OVERLAP_MAX_S = 7 * 86_400
"""The longest that a former secret may go on signing."""


class DeliveryState(StrEnum):
    """A delivery is in exactly one of these."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """The schedule is used up."""
    DROPPED = "dropped"
    """The endpoint was switched off, or deleted, first."""


OffReason = Literal["asked", "gone", "failing"]
"""Why an endpoint is switched off: somebody asked for it, it answered 410, it has been failing for days."""


# --- what comes back ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant's events go. Never holds its secret."""

    id: UUID
    url: str = field(repr=False)
    description: str
    enabled: bool
    disabled_reason: OffReason | None
    failing_since: datetime | None
    """The first failure since it last took anything."""
    former_until: datetime | None
    """Until when the secret before the present one signs as well."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Secreted:
    """An endpoint with a secret that nobody is shown again."""

    endpoint: Endpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that ended."""

    number: int
    at: datetime
    took_ms: int
    status: int | None
    """None: there was no answer."""
    error: str | None
    """One of the words in docs/webhooks.md. None: it was taken."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    id: UUID
    event: UUID
    """The webhook-id."""
    type: str
    call: UUID | None
    state: DeliveryState
    next_attempt_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    attempts: Sequence[Attempt]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """One page of the log, newest first."""

    deliveries: Sequence[Delivery]
    cursor: str | None


# --- what is asked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateEndpoint:
    """Gives back Secreted. Raises Malformed (the URL leads where none may), Contradicts (there are too many)."""

    url: str = field(repr=False)
    description: str = ""


@dataclass(frozen=True, slots=True)
class ListEndpoints:
    """All of the caller's tenant. Gives back a sequence of Endpoint, oldest first."""


@dataclass(frozen=True, slots=True)
class ShowEndpoint:
    """Gives back Endpoint. Raises NotFound, as all of the following."""

    endpoint: UUID


@dataclass(frozen=True, slots=True)
class ChangeEndpoint:
    """None stays as it is. Switched off, what is pending is dropped. Gives back Endpoint. Raises Malformed."""

    endpoint: UUID
    url: str | None = field(default=None, repr=False)
    description: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteEndpoint:
    """What is pending is dropped; its log goes too. Gives back nothing."""

    endpoint: UUID


@dataclass(frozen=True, slots=True)
class RotateSecret:
    """A new secret; the present one signs as well for ``overlap_s`` seconds, else as configured. Gives back Secreted."""

    endpoint: UUID
    overlap_s: int | None = None


@dataclass(frozen=True, slots=True)
class PingEndpoint:
    """A ``webhook.ping`` on the way of every event. Gives back Delivery. Raises Contradicts (it is switched off)."""

    endpoint: UUID


@dataclass(frozen=True, slots=True)
class ListDeliveries:
    """Gives back Deliveries. Raises Malformed (no cursor of this listing)."""

    endpoint: UUID
    limit: int = 50
    cursor: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class Redeliver:
    """On the schedule again from its beginning, under the same webhook-id. Gives back Delivery. Raises Contradicts (off)."""

    endpoint: UUID
    delivery: UUID
