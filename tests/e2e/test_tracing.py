"""Traces of real requests, as a collector gets them."""

import asyncio

import pytest
from parts.calls import DATA, Calls
from parts.collector import Collector, Traced, collecting
from parts.house import House
from parts.stage import PROXY
from parts.wire import Wire

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
AUDIO = "/v1/recordings/{id}/audio"


async def traced(calls: Calls, collector: Collector, sample: float) -> House:
    tracing = {"endpoint": collector.url, "sample": sample}
    return await asyncio.to_thread(calls.stage.another, tracing=tracing)


def root(collector: Collector, trace: str) -> Traced:
    (found,) = [span for span in collector.spans if span.kind == "SERVER" and span.trace == trace]
    return found


async def test_a_request_is_a_span_with_its_steps_and_the_access_names_its_trace(calls: Calls):
    of, agent = calls.ready["s3"], "a traced client"
    async with collecting() as collector:
        house = await traced(calls, collector, 1.0)

        def ask() -> None:
            with Wire(house.base_url) as wire:
                lines = [("User-Agent", agent), *calls.full.items()]
                ranged = [*lines, ("Range", "bytes=0-9")]
                assert wire.ask("GET", f"{of.native}?token=hidden-in-a-query", lines).status == 200
                assert wire.ask("GET", of.native, ranged).status == 206
                assert wire.ask("GET", f"/v1/recordings/{of.id}/audio", [("User-Agent", agent)]).status == 401
                assert wire.ask("GET", "/healthz").status == 200

        await asyncio.to_thread(ask)
        rows = await calls.stage.accesses("user_agent", agent, 3)
        assert await asyncio.to_thread(house.stop) == 0  # what is left is sent at the end
        roots = [root(collector, row["trace_id"]) for row in rows]
        assert len([span for span in collector.spans if span.kind == "SERVER"]) == 3, "probes are not traced"
        for span, row in zip(roots, rows, strict=True):
            assert (span.name, span.parent, span.failed) == (f"GET {AUDIO}", "", False)
            assert span.attributes["http.response.status_code"] == row["status"]
            assert span.attributes["recording_gateway.bytes_sent"] == row["bytes_sent"]
            assert span.attributes["recording_gateway.result"] == row["result"]
            tenant = None if row["tenant"] is None else str(row["tenant"])
            assert span.attributes.get("recording_gateway.tenant") == tenant
        assert [span.attributes["recording_gateway.bytes_sent"] for span in roots] == [len(DATA), 10, 0]
        names = [{child.name for child in collector.children(span)} for span in roots]
        assert {"find", "journal", "open"} <= names[0]
        assert {"journal", "open"} <= names[1]
        assert "open" not in names[2]
        told = {resource["service.name"] for resource in collector.resources}
        assert told == {"recording-gateway"}
        secrets = [str(of.id), of.native, "hidden-in-a-query", agent, "127.0.0.1", *calls.full.values()]
        assert [text for text in secrets if text.removeprefix("Bearer ").encode() in collector.wire] == []


@pytest.mark.parametrize("sample", [0.0, 1.0])
async def test_a_trusted_proxys_trace_goes_on_and_nobody_elses(calls: Calls, sample: float):
    of = calls.ready["disk"]
    async with collecting() as collector:
        house = await traced(calls, collector, sample)

        def ask(flags: str, source: str | None) -> None:
            with Wire(house.base_url, source=source) as wire:
                lines = [("traceparent", f"00-{TRACE}-{PARENT}-{flags}"), *calls.full.items()]
                assert wire.ask("GET", of.native, lines).status == 200

        for flags, source in (("01", PROXY), ("00", PROXY), ("01", None)):
            await asyncio.to_thread(ask, flags, source)
        assert await asyncio.to_thread(house.stop) == 0
        servers = [span for span in collector.spans if span.kind == "SERVER"]
        assert [span.parent for span in servers if span.trace == TRACE] == [PARENT]
        assert len(servers) == 1 + round(sample), "the one from nowhere begins a trace of its own where all are sampled"


async def test_a_collector_that_is_away_costs_no_request(calls: Calls, unused_tcp_port: int):
    tracing = {"endpoint": f"http://127.0.0.1:{unused_tcp_port}", "sample": 1.0}
    house = await asyncio.to_thread(calls.stage.another, tracing=tracing)

    def ask() -> None:
        for _ in range(50):
            status, body = house.get(calls.ready["disk"].native, calls.full)
            assert (status, body) == (200, DATA)

    await asyncio.to_thread(ask)
    assert await asyncio.to_thread(house.stop) == 0
