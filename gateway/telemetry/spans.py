"""What the rest of the gateway knows of tracing: a span for each request that is traced, and steps within it.

Nothing of OpenTelemetry is imported here, and nothing here runs where ``tracing.endpoint`` is unset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar
from uuid import UUID

from ..event import Intent, Outcome, Result, Trail
from ..model import Caller, CallRef, Catalog, Entry, Listing, Page, Presented, Source, Span, Store, Transcript

T = TypeVar("T")


class RequestSpan(Protocol):
    """A request being traced."""

    tenant: UUID | None
    """Whose request it is, once that is known."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """A child span for as long as the context lasts. What is raised in it marks it as failed, by its class alone."""
        ...

    def end(self, status: int, result: Result, sent: int, reason: str | None) -> None:
        """To be called once, in the task that began it. ``status`` 0: no answer left; ``sent``: bytes of an object."""
        ...


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, method: str, surface: str, route: str, traceparent: str | None) -> RequestSpan | None:
        """None: this request is not traced. ``traceparent``: the field of a trusted proxy, and of nobody else."""
        ...


CURRENT: ContextVar[RequestSpan | None] = ContextVar("request_span", default=None)
"""The span of the request that this task answers."""


async def _stepped(span: RequestSpan, name: str, doing: Awaitable[T]) -> T:
    with span.step(name):
        return await doing


class Proving(Protocol):
    """What proves a credential."""

    async def prove(self, presented: Presented, address: str) -> Caller: ...


class TracedProver:
    """A prover whose work is a step, and whose findings the span is told."""

    def __init__(self, prover: Proving) -> None:
        self._prover = prover

    async def prove(self, presented: Presented, address: str) -> Caller:
        """As the prover's own."""
        span = CURRENT.get()
        if span is None:
            return await self._prover.prove(presented, address)
        caller = await _stepped(span, "prove", self._prover.prove(presented, address))
        span.tenant = caller.tenant
        return caller


class TracedCatalog:
    """A catalog whose answers are steps."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def find(self, tenant: UUID | None, ref: CallRef) -> Entry:
        """As the catalog's own."""
        span = CURRENT.get()
        if span is None:
            return await self._catalog.find(tenant, ref)
        entry = await _stepped(span, "find", self._catalog.find(tenant, ref))
        span.tenant = entry.call.tenant
        return entry

    async def list(self, tenant: UUID, listing: Listing) -> Page:
        """As the catalog's own."""
        span = CURRENT.get()
        asked = self._catalog.list(tenant, listing)
        return await (asked if span is None else _stepped(span, "list", asked))

    async def transcript(self, tenant: UUID, call: UUID) -> Transcript | None:
        """As the catalog's own."""
        span = CURRENT.get()
        asked = self._catalog.transcript(tenant, call)
        return await (asked if span is None else _stepped(span, "transcript", asked))


class _Committing:
    """What ``intend`` gives, as a step: begun with it, and over when the request goes on. Left unawaited it is no step."""

    __slots__ = ("_begun", "_step")

    def __init__(self, span: RequestSpan, begun: Awaitable[None]) -> None:
        self._begun = begun
        self._step = span.step("journal")
        self._step.__enter__()

    def __await__(self) -> Generator[Any, None, None]:
        try:
            yield from self._begun.__await__()
        except BaseException as error:
            self._step.__exit__(type(error), error, error.__traceback__)
            raise
        self._step.__exit__(None, None, None)


class TracedTrail:
    """A trail whose waiting for the disk is a step."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self.conclude = trail.conclude
        self.settled = trail.settled

    @property
    def admits_unproven(self) -> bool:
        """As the trail's own."""
        return self._trail.admits_unproven

    def intend(self, intent: Intent) -> Awaitable[None]:
        """As the trail's own."""
        span = CURRENT.get()
        begun = self._trail.intend(intent)
        return begun if span is None else _Committing(span, begun)

    async def record(self, intent: Intent, outcome: Outcome) -> None:
        """As the trail's own."""
        span = CURRENT.get()
        recording = self._trail.record(intent, outcome)
        await (recording if span is None else _stepped(span, "journal", recording))

    async def record_all(self, accesses: Sequence[tuple[Intent, Outcome]]) -> None:
        """As the trail's own."""
        span = CURRENT.get()
        recording = self._trail.record_all(accesses)
        await (recording if span is None else _stepped(span, "journal", recording))


class Opening(Protocol):
    """What opens a body at its store."""

    def __call__(self, store: Store, key: str, span: Span, version: str, /) -> Awaitable[Source]: ...


class TracedOpening:
    """An opening that is a step."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    async def __call__(self, store: Store, key: str, part: Span, version: str, /) -> Source:
        """As the opening's own."""
        span = CURRENT.get()
        opening = self._opening(store, key, part, version)
        return await (opening if span is None else _stepped(span, "open", opening))
