"""Spans, and when there are none."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from parts.collector import Collector, collecting

from gateway.config import ConfigError, Tracing
from gateway.errors import NotFound, Unavailable
from gateway.event import Intent, Outcome, Result
from gateway.model import Call, Caller, CallRef, Entry, Presented, Span, Tenant
from gateway.telemetry.spans import CURRENT, TracedCatalog, TracedOpening, TracedProver, TracedTrail
from gateway.telemetry.tracing import OpenTelemetryTracer, open_tracer

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROUTE = "/v1/recordings/{id}/audio"
TENANT = uuid4()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


@asynccontextmanager
async def tracer_to(collector: Collector, sample: float = 1.0) -> AsyncIterator[OpenTelemetryTracer]:
    settings = Tracing(endpoint=collector.url, sample=sample)
    async with open_tracer(settings, scheme="https", version="1.2.3") as tracer:
        assert tracer is not None
        yield tracer


async def test_a_request_is_a_server_span_in_the_words_of_the_conventions(collector: Collector):
    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        span.tenant = TENANT
        span.end(206, Result.COMPLETE, 65536, None)
    (told,) = collector.spans
    assert (told.name, told.kind, told.parent, told.failed) == (f"GET {ROUTE}", "SERVER", "", False)
    assert told.trace == span.trace_id
    assert told.attributes == {
        "http.request.method": "GET",
        "http.route": ROUTE,
        "http.response.status_code": 206,
        "url.scheme": "https",
        "recording_gateway.surface": "native",
        "recording_gateway.tenant": str(TENANT),
        "recording_gateway.result": "complete",
        "recording_gateway.bytes_sent": 65536,
    }
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.version"]) == ("recording-gateway", "1.2.3")


@pytest.mark.parametrize(
    ("status", "result", "reason", "failed"),
    [
        (404, Result.REFUSED, "not_found", False),
        (503, Result.REFUSED, "unavailable", True),
        (200, Result.ORIGIN_FAILED, "origin_broken", True),
        (0, Result.CLIENT_GONE, None, False),
    ],
)
async def test_a_span_fails_where_the_gateway_or_its_store_did(
    collector: Collector, status: int, result: Result, reason: str | None, *, failed: bool
):
    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        span.end(status, result, 0, reason)
    (told,) = collector.spans
    assert told.failed is failed
    assert told.attributes.get("error.type") == (reason if failed else None)
    assert told.attributes.get("http.response.status_code") == (status or None)
    assert told.attributes.get("recording_gateway.reason") == reason


async def test_methods_that_clients_invent_have_one_name(collector: Collector):
    async with tracer_to(collector) as tracer:
        span = tracer.begin("BREW", "native", "-", None)
        assert span is not None
        span.end(405, Result.REFUSED, 0, "method_not_allowed")
    (told,) = collector.spans
    assert (told.name, told.attributes["http.request.method"]) == ("HTTP -", "_OTHER")


@pytest.mark.parametrize("sample", [0.0, 1.0])
@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("02", False), ("03", True)])
async def test_a_parents_decision_stands_whatever_the_sample(
    collector: Collector, sample: float, flags: str, *, sampled: bool
):
    async with tracer_to(collector, sample) as tracer:
        span = tracer.begin("GET", "native", ROUTE, f"00-{TRACE}-{PARENT}-{flags}")
        assert (span is not None) is sampled
        if span is not None:
            span.end(200, Result.COMPLETE, 0, None)
    assert [(told.trace, told.parent) for told in collector.spans] == [(TRACE, PARENT)] * sampled


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
async def test_a_parent_that_is_none_begins_nothing(collector: Collector, traceparent: str):
    async with tracer_to(collector, sample=0.0) as tracer:
        assert tracer.begin("GET", "native", ROUTE, traceparent) is None


async def test_the_sample_is_the_part_of_requests_that_is_traced(collector: Collector):
    async with tracer_to(collector, sample=0.25) as tracer:
        begun = [tracer.begin("GET", "native", ROUTE, None) for _ in range(4000)]
        traced = [span for span in begun if span is not None]
        for span in reversed(traced):
            span.end(200, Result.COMPLETE, 0, None)
    assert 850 < len(traced) < 1150


CALLER = Caller(TENANT, kind="api_key", subject="1", credential="1", method="api_key")
CALL = CallRef(None, str(uuid4()))


class Parts:
    """What is put steps around: each answers, or raises, as it is told."""

    admits_unproven = True

    def __init__(self) -> None:
        self.concluded: list[Outcome] = []
        self.durable = asyncio.get_running_loop().create_future()

    async def prove(self, _presented: Presented, _address: str) -> Caller:
        return CALLER

    async def find(self, _tenant: UUID | None, _ref: CallRef) -> Entry:
        raise NotFound("call +15550123 is nobody's")

    def intend(self, _intent: Intent) -> asyncio.Future[None]:
        return self.durable

    def conclude(self, outcome: Outcome) -> None:
        self.concluded.append(outcome)

    async def settled(self) -> None: ...

    async def open(self, _store: object, _key: str, _span: Span, _version: str) -> str:
        return "a source"


def an_intent() -> Intent:
    now = datetime.now(UTC)
    return Intent(uuid4(), now, "native", "stream", None, "user", None, None, None, (), None, "", "", None, "r" * 32)


async def test_steps_are_children_and_the_tenant_is_who_proved_himself(collector: Collector):
    parts = Parts()
    trail = TracedTrail(parts)
    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        assert await TracedProver(parts).prove(Presented("secret-token"), "192.0.2.1") == CALLER
        with pytest.raises(NotFound):
            await TracedCatalog(parts).find(TENANT, CALL)
        durable = trail.intend(an_intent())
        assert await TracedOpening(parts.open)(object(), "calls/key.wav", Span(0, 1), "v") == "a source"
        await asyncio.sleep(0.02)
        parts.durable.set_result(None)
        await durable
        span.end(200, Result.COMPLETE, 1, None)
    by_name = {told.name: told for told in collector.spans}
    root = by_name.pop(f"GET {ROUTE}")
    assert set(by_name) == {"prove", "find", "journal", "open"} == {told.name for told in collector.children(root)}
    assert root.attributes["recording_gateway.tenant"] == str(TENANT)
    assert by_name["journal"].seconds >= 0.02, "it begins when the journal is told, not when that is awaited"
    assert {name for name, told in by_name.items() if told.failed} == {"find"}
    assert by_name["find"].attributes == {"error.type": "NotFound"}
    for secret in (b"secret-token", b"192.0.2.1", b"calls/key", b"+15550123", str(CALL.id).encode()):
        assert secret not in collector.wire


async def test_a_step_that_the_journal_failed_is_told_as_such(collector: Collector):
    parts = Parts()
    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        durable = TracedTrail(parts).intend(an_intent())
        parts.durable.set_exception(Unavailable("no space on /secret"))
        with pytest.raises(Unavailable):
            await durable
        span.end(503, Result.REFUSED, 0, "unavailable")
    (journal,) = [told for told in collector.spans if told.name == "journal"]
    assert (journal.failed, journal.attributes) == (True, {"error.type": "Unavailable"})


async def test_the_tenant_is_whose_the_call_is_where_anybody_may_ask(collector: Collector):
    found = Entry(Call(uuid4(), TENANT, {}), None, Tenant(TENANT, "acme", "Acme"))

    class Finding(Parts):
        async def find(self, _tenant: UUID | None, _ref: CallRef) -> Entry:
            return found

    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "agentphone", ROUTE, None)
        assert span is not None
        assert await TracedCatalog(Finding()).find(None, CALL) is found
        span.end(200, Result.COMPLETE, 1, None)
    assert collector.spans[-1].attributes["recording_gateway.tenant"] == str(TENANT)


async def test_an_intent_that_nobody_awaits_is_left_alone(collector: Collector):
    parts = Parts()
    async with tracer_to(collector) as tracer:
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        TracedTrail(parts).intend(an_intent())
        span.end(0, Result.CLIENT_GONE, 0, None)
    assert [told.name for told in collector.spans] == [f"GET {ROUTE}"]


async def test_outside_of_a_span_the_parts_are_as_without_steps():
    parts = Parts()
    trail = TracedTrail(parts)
    assert CURRENT.get() is None
    assert trail.intend(an_intent()) is parts.durable
    assert await TracedProver(parts).prove(Presented("x"), "") == CALLER
    assert await TracedOpening(parts.open)(object(), "k", Span(0, 1), "v") == "a source"
    with pytest.raises(NotFound):
        await TracedCatalog(parts).find(TENANT, CALL)
    assert trail.admits_unproven


async def test_the_span_of_one_request_is_not_the_next_ones(collector: Collector):
    async with tracer_to(collector) as tracer:
        for _ in range(2):
            span = tracer.begin("GET", "native", ROUTE, None)
            assert span is not None
            assert CURRENT.get() is span
            span.end(200, Result.COMPLETE, 0, None)
            assert CURRENT.get() is None
    first, second = collector.spans
    assert first.trace != second.trace
    assert (first.parent, second.parent) == ("", "")


async def test_a_collector_that_is_away_holds_up_nobody(unused_tcp_port: int):
    settings = Tracing(endpoint=f"http://127.0.0.1:{unused_tcp_port}", sample=1.0)
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(open_tracer(settings, scheme="http", version="1"))
        assert tracer is not None
        span = tracer.begin("GET", "native", ROUTE, None)
        assert span is not None
        span.end(200, Result.COMPLETE, 0, None)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 9.5, "two batches take 10"


async def test_a_collector_that_never_answers_holds_up_the_end_as_long_as_one_batch_however_many_wait():
    over = asyncio.Event()

    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    listener = await asyncio.start_server(never, "127.0.0.1", 0)
    settings = Tracing(endpoint=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", sample=1.0)
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(open_tracer(settings, scheme="http", version="1"))
        assert tracer is not None
        for _ in range(1000):
            span = tracer.begin("GET", "native", ROUTE, None)
            assert span is not None
            span.end(200, Result.COMPLETE, 0, None)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 9.5, "two batches take 10"
    listener.close()
    over.set()  # for whoever comes in this moment as well
    for thread in [thread for thread in threading.enumerate() if thread.name == "tracing-end"]:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def test_without_opentelemetry_an_endpoint_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"^tracing\.endpoint: .*pip install 'recording-gateway\[tracing\]'"):
        async with open_tracer(Tracing(endpoint="http://localhost:4318"), scheme="http", version="1"):
            pytest.fail("it traces")


def test_where_tracing_is_off_nothing_of_opentelemetry_is_imported():
    code = (
        "import asyncio, sys\n"
        "from gateway.config import Tracing\n"
        "from gateway.telemetry.tracing import open_tracer\n"
        "async def main():\n"
        "    async with open_tracer(Tracing(), scheme='http', version='1') as tracer:\n"
        "        assert tracer is None\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
