"""A collector of traces that takes OTLP over HTTP."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wired


@dataclass(frozen=True)
class Traced:
    """A span as it arrived."""

    name: str
    kind: str
    """SERVER · INTERNAL"""
    trace: str
    id: str
    parent: str
    """Empty: it has none."""
    attributes: Mapping[str, Any]
    failed: bool
    seconds: float


@dataclass
class Collector:
    """``url`` is what the gateway is told; ``spans`` grow as they arrive."""

    url: str = ""
    spans: list[Traced] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    wire: bytes = b""
    """All that arrived."""
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait(self, count: int) -> list[Traced]:
        """All spans, once there are ``count``."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.spans) >= count)
        return self.spans

    def children(self, of: Traced) -> list[Traced]:
        return [span for span in self.spans if span.parent == of.id and span.trace == of.trace]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.wire += body
        asked = ExportTraceServiceRequest.FromString(body)
        async with self._arrived:
            for resource in asked.resource_spans:
                self.resources.append(_plain(resource.resource.attributes))
                self.spans += [_traced(span) for scope in resource.scope_spans for span in scope.spans]
            self._arrived.notify_all()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector, while the context lasts."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        collector.url = f"http://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()


def _traced(span: Wired) -> Traced:
    return Traced(
        span.name,
        Wired.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _plain(span.attributes),
        span.status.code == 2,  # STATUS_CODE_ERROR
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
