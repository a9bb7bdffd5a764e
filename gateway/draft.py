"""The audit event of a request that is still being answered."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from uuid_utils.compat import uuid7

from .contract import Route
from .errors import Refusal
from .event import Intent, Method, Outcome, Result, Trail
from .model import Caller, CallRef, Entry, Head, LinkUse, Span, Verb

_METHODS = {
    Verb.PLAY: Method.STREAM,
    Verb.LINK: Method.LINK,
    Verb.DESCRIBE: Method.METADATA,
    Verb.LIST: Method.LIST,
    Verb.BATCH: Method.BATCH,
    Verb.DELETE: Method.DELETION,
    Verb.ACT: Method.SETTINGS,
}
_RANGE_KEPT = 200
AGENT_KEPT = 300


@dataclass(slots=True)
class Draft:
    """What is known so far of a request, from which its Intent and its Outcome are made."""

    surface: str
    method: Method
    head: Head
    event_id: UUID
    occurred_at: datetime
    caller: Caller | None = None
    ref: CallRef | None = None
    """By what the call was looked for."""
    entry: Entry | None = None
    etag: str | None = None
    session: UUID | None = None
    use: LinkUse | None = None
    """The use of a link that this answer counts as, where uses are counted."""
    spans: Sequence[Span] = ()
    """What the Range field was resolved to; empty: it is ignored."""
    public: bool = False
    """No credential is asked for."""
    intended: bool = False
    """The intent is in the journal, and waits for its outcome."""
    begun: Awaitable[None] | None = None
    """As ``intend`` gives it, where the intent was told before this was begun."""
    begun_of: tuple[UUID, str] | None = None
    """Recording and etag in that intent."""

    @classmethod
    def begin(cls, surface: str, method: Method, head: Head) -> Draft:
        return cls(surface, method, head, uuid7(), datetime.now(UTC))

    def go_on(self, event: UUID, occurred_at: datetime, durable: Awaitable[None], of: tuple[UUID, str]) -> None:
        """This request's intent was told as that event's, ``of`` a recording and an etag."""
        self.event_id, self.occurred_at, self.begun, self.intended = event, occurred_at, durable, True
        self.begun_of = of

    def renew(self) -> None:
        """Begins another event for the same request, after this one was concluded."""
        self.event_id, self.occurred_at, self.intended = uuid7(), datetime.now(UTC), False
        self.begun = None
        self.spans = ()

    def intent(self) -> Intent:
        caller, entry, headers = self.caller, self.entry, self.head.headers
        agent, asked = headers.get("User-Agent"), headers.get("Range")
        return Intent(
            event_id=self.event_id,
            occurred_at=self.occurred_at,
            surface=self.surface,
            method=self.method,
            tenant=caller.tenant if caller else None,
            actor_kind=caller.kind if caller else "anonymous",
            actor_id=caller.subject if caller else None,
            credential_id=caller.credential if caller else None,
            auth_method=caller.method if caller else None,
            scopes=_sorted(caller.scopes) if caller else (),
            role=caller.role if caller else None,
            address=self.head.address,
            peer=self.head.peer,
            user_agent=agent[:AGENT_KEPT] if agent else None,
            request_id=self.head.request_id,
            trace_id=self.head.trace_id,
            call=entry.call.id if entry else (caller.call if caller else None),
            recording=entry.recording.id if entry and entry.recording else None,
            etag=self.etag,
            range=_told(asked, self.spans) if asked else None,
            session=self.session,
        )

    def intend(self, trail: Trail) -> Awaitable[None]:
        """Hands the intent to the journal; await what is returned through ``made_durable``.

        Raises Unavailable: the journal did not take it, and the event needs no outcome.
        """
        if self.begun is not None:
            durable, self.begun = self.begun, None
            return durable
        durable = trail.intend(self.intent())
        self.intended = True
        return durable

    async def made_durable(self, durable: Awaitable[None]) -> None:
        """Waits until the intent is on disk. Raises Unavailable: it is not, and the trail has concluded the event itself."""
        try:
            await durable
        except Refusal:
            self.intended = False
            raise

    def outcome(self, status: int, result: Result, *, bytes_sent: int = 0, reason: str | None = None) -> Outcome:
        return Outcome(self.event_id, self.occurred_at, datetime.now(UTC), status, bytes_sent, result, reason)


def _told(asked: str, spans: Sequence[Span]) -> str:
    """The Range field as sent; one too long to keep is replaced by the ranges it was resolved to, as a part of it would mislead."""
    if len(asked) <= _RANGE_KEPT or not spans:
        return asked[:_RANGE_KEPT]
    return "bytes=" + ",".join(f"{span.start}-{span.stop - 1}" for span in spans)


@lru_cache(maxsize=256)
def _sorted(scopes: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(scopes))


def method_of(route: Route, head: Head) -> Method:
    """How the audit calls what is asked."""
    if head.method == "HEAD":
        return Method.PROBE
    return route.audited or _METHODS[route.verb]
