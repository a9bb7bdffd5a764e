"""The audit's vocabulary: one event for each request that touched a recording, and who makes it durable."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from .values import value


class Method(StrEnum):
    """How a recording was touched."""

    LINK = "link"
    STREAM = "stream"
    PROBE = "probe"
    METADATA = "metadata"
    LIST = "list"
    BATCH = "batch"
    TRANSCRIPT = "transcript"
    DELETION = "deletion"
    REVOCATION = "revocation"
    HOLD = "hold"
    REGISTRATION = "registration"
    AUDIT = "audit"
    WEBHOOKS = "webhooks"
    SETTINGS = "settings"


class Result(StrEnum):
    """How an access ended."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    ORIGIN_FAILED = "origin_failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    """The gateway's own process ended first; how many bytes left is not known."""


COMPLETE, CLIENT_GONE, ORIGIN_FAILED, REFUSED, INTERRUPTED = Result
"""Under names of the module: to read a member off its class takes ten times as long, and every body ends as one of them."""


@value
class Intent:
    """Who is about to get what. Durable before a byte or a link leaves.

    Never holds a token, a signed URL, a phone number or transcript text.
    """

    event_id: UUID
    """UUIDv7"""
    occurred_at: datetime
    surface: str
    method: Method
    tenant: UUID | None
    actor_kind: str
    """api_key · user · link · anonymous · system (the gateway itself)"""
    actor_id: str | None
    credential_id: str | None
    auth_method: str | None
    scopes: tuple[str, ...]
    role: str | None
    address: str
    peer: str
    user_agent: str | None
    request_id: str
    trace_id: str | None = None
    call: UUID | None = None
    recording: UUID | None = None
    etag: str | None = None
    range: str | None = None
    """The Range field as sent. One of more than 200 characters: the ranges it was resolved to, or, if none, its beginning."""
    session: UUID | None = None
    """Requests of one playback share it."""


@value
class Outcome:
    """How the event of an Intent ended. ``bytes_sent`` counts the object's bytes handed to the client's socket."""

    event_id: UUID
    occurred_at: datetime
    """The intent's: the two share a partition."""
    completed_at: datetime
    status: int
    bytes_sent: int | None
    """None: not known (interrupted)."""
    result: Result
    reason: str | None = None


class Trail(Protocol):
    """The audit as the one path sees it."""

    @property
    def admits_unproven(self) -> bool:
        """Is there room to record denials of callers who proved nothing? False before the journal is full: a flood must not fill it."""
        ...

    def intend(self, intent: Intent) -> Awaitable[None]:
        """Hands the intent to the journal; it is durable on this machine once the returned awaitable is done.

        Both the call and the awaitable raise Unavailable: then nothing may leave. Await it once. An event whose awaitable
        was never awaited, or was cancelled, is concluded like any other.
        """
        ...

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        """Both at once, durable when it returns: for an access that is over before its answer leaves."""
        ...

    async def record_all(self, accesses: Sequence[tuple[Intent, Outcome]]) -> None:
        """Several that leave in one answer: all of them, or none."""
        ...

    def conclude(self, outcome: Outcome) -> None:
        """Takes the outcome of an intended event. Never blocks, never raises, never loses it while the process lives."""
        ...

    async def settled(self) -> None:
        """Returns once everything concluded so far is durable on this machine. Raises Unavailable: it is not yet."""
        ...


class Sink(Protocol):
    """Where audit records end up. Writing the same record twice leaves one; the first outcome of an event counts."""

    async def write(self, intents: Sequence[bytes], outcomes: Sequence[bytes]) -> None:
        """All of them or none. Each is a JSON object: an Intent's or an Outcome's fields, UUIDs and times as text.

        Raises Unavailable (try again), Rejected (at least one can never be taken as it is).
        """
        ...
