"""Traces by OpenTelemetry, which is imported when ``tracing.endpoint`` is set and at no other time.

Whether a request that begins a trace is sampled is decided before OpenTelemetry is asked: by chance, which is what
its ratio sampler makes of a random trace id. A parent's decision stands (W3C Trace Context, the sampled flag).
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Token
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from .. import config
from ..config import ConfigError
from ..event import Result
from .meter import METHODS
from .spans import CURRENT, RequestSpan

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.trace import Tracer as OtelTracer

log = structlog.get_logger("gateway.tracing")

SERVICE = "recording-gateway"

_EXPORTING = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_MODULES = (
    "opentelemetry.trace",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.resources",
    "opentelemetry.sdk.trace.sampling",
)

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII
)
_SAMPLED = 0x01
_EXPORT_S = 5
"""Seconds that a batch has to reach the collector, tries included."""
_LOOK_S = 2
"""The same, where it is only asked whether it takes any."""
_BATCH = 128
"""Spans encoded at once: 1.5 ms in which the exporter's thread may keep the event loop from running."""
_SERVER_ERROR = 500


class _RequestSpan:
    """One request's span. See RequestSpan."""

    __slots__ = ("_api", "_context", "_kept", "_otel", "_span", "tenant")

    def __init__(
        self, api: Any, otel: OtelTracer, span: Span
    ) -> None:  # Any: the module is not there without the extra
        self._api = api
        self._otel = otel
        self._span = span
        self._context = api.set_span_in_context(span)
        self._kept: Token[RequestSpan | None] = CURRENT.set(self)
        self.tenant: UUID | None = None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def step(self, name: str) -> _Step:
        """A child span."""
        return _Step(self._api, self._otel.start_span(name, self._context))

    def end(self, status: int, result: Result, sent: int, reason: str | None) -> None:
        """The request is over."""
        CURRENT.reset(self._kept)
        span = self._span
        if status:
            span.set_attribute("http.response.status_code", status)
        span.set_attribute("recording_gateway.result", result.value)
        span.set_attribute("recording_gateway.bytes_sent", sent)
        if self.tenant is not None:
            span.set_attribute("recording_gateway.tenant", str(self.tenant))
        if reason is not None:
            span.set_attribute("recording_gateway.reason", reason)
        if status >= _SERVER_ERROR or result is Result.ORIGIN_FAILED:
            span.set_attribute("error.type", reason or str(status))
            span.set_status(self._api.StatusCode.ERROR)
        span.end()


class _Step:
    """A child span for as long as the context lasts."""

    __slots__ = ("_api", "_span")

    def __init__(self, api: Any, span: Span) -> None:
        self._api = api
        self._span = span

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: object) -> None:
        if kind is not None:  # not its text: that may name an object, or whatever a client sent
            self._span.set_attribute("error.type", kind.__name__)
            self._span.set_status(self._api.StatusCode.ERROR)
        self._span.end()


class _Exporter:
    """OpenTelemetry's, which would say of each batch that comes after ``shutdown`` that it drops it."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._over = False

    def export(self, spans: Any) -> Any:
        """Nobody looks at what it gives."""
        return None if self._over else self._exporter.export(spans)

    def shutdown(self) -> None:
        """Cuts short what is under way. May be repeated."""
        if not self._over:
            self._over = True
            self._exporter.shutdown()


class OpenTelemetryTracer:
    """Begins a span for a request that is sampled. See Tracer."""

    def __init__(self, api: Any, otel: OtelTracer, *, sample: float, scheme: str) -> None:
        self._api = api
        self._otel = otel
        self._sample = sample
        self._scheme = scheme

    def begin(self, method: str, surface: str, route: str, traceparent: str | None) -> RequestSpan | None:
        """None: not sampled."""
        parent = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
        if parent is None:
            if random.random() >= self._sample:  # noqa: S311  a sample, no secret
                return None
        elif not int(parent[3], 16) & _SAMPLED:
            return None
        api = self._api
        known = method if method in METHODS else "_OTHER"
        span = self._otel.start_span(
            f"{known if known != '_OTHER' else 'HTTP'} {route}",
            None if parent is None else _remote(api, parent),
            api.SpanKind.SERVER,
            {
                "http.request.method": known,
                "http.route": route,
                "url.scheme": self._scheme,
                "recording_gateway.surface": surface,
            },
        )
        return _RequestSpan(api, self._otel, span)


async def untaken(settings: config.Tracing) -> str | None:
    """Why the collector takes no spans, found out by sending it none; None: it would take them. Raises ConfigError, as ``open_tracer``."""
    if settings.endpoint is None:
        return None
    exporter, heard = _exporter(settings.endpoint, within_s=_LOOK_S), _Heard()
    library = logging.getLogger(_EXPORTING)
    library.addHandler(heard)
    try:
        await asyncio.to_thread(exporter.export, ())
    finally:
        library.removeHandler(heard)
        exporter.shutdown()
    return heard.words


class _Heard(logging.Handler):
    """Keeps the first that OpenTelemetry's exporter says: it tells nobody else why it failed."""

    words: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.words = self.words or record.getMessage()


def _exporter(endpoint: str, *, within_s: float = _EXPORT_S) -> _Exporter:
    """Raises ConfigError where OpenTelemetry is not installed."""
    exporting = _module(_EXPORTING)
    return _Exporter(exporting.OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=within_s))


def _module(name: str) -> Any:  # Any: it is not there without the extra
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            ["tracing.endpoint: OpenTelemetry is not installed; pip install 'recording-gateway[tracing]'"]
        ) from None


@asynccontextmanager
async def open_tracer(
    settings: config.Tracing, *, scheme: str, version: str
) -> AsyncIterator[OpenTelemetryTracer | None]:
    """A tracer while the context lasts, and what is left sent at its end; None: no endpoint is set.

    Raises ConfigError where OpenTelemetry is not installed.
    """
    if settings.endpoint is None:
        yield None
        return
    exporter = _exporter(settings.endpoint)
    api, sdk, batching, resources, sampling = map(_module, _MODULES)
    provider = sdk.TracerProvider(
        sampler=sampling.ParentBased(sampling.ALWAYS_ON),
        resource=resources.Resource.create({"service.name": SERVICE, "service.version": version}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(batching.BatchSpanProcessor(exporter, max_export_batch_size=_BATCH))
    try:
        yield OpenTelemetryTracer(api, provider.get_tracer(SERVICE, version), sample=settings.sample, scheme=scheme)
    finally:
        ending = threading.Thread(target=provider.shutdown, name="tracing-end", daemon=True)
        ending.start()  # it sends what is left, and tries as long as _EXPORT_S with each batch
        await asyncio.to_thread(ending.join, _EXPORT_S)
        exporter.shutdown()


def _remote(api: Any, parent: re.Match[str]) -> Any:
    """The context of a span that began elsewhere."""
    context = api.SpanContext(int(parent[1], 16), int(parent[2], 16), True, api.TraceFlags(int(parent[3], 16)))
    return api.set_span_in_context(api.NonRecordingSpan(context))
