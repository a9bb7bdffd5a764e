"""Figures against what clients did and what Postgres has."""

import asyncio
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import psutil
import pytest
from parts.calls import DATA, MISSING, Calls
from parts.doors import IMPATIENT, Doors
from parts.drinker import Client
from parts.faults import Fault, Kind
from parts.house import House, some_bytes
from parts.scrape import Figures, scrape, settled
from parts.stage import Stage
from parts.wire import Wire

from gateway.demo.ports import free_ports

AUDIO = "/v1/recordings/{id}/audio"
LONG = some_bytes(8_000_000)
_agents = count()


@dataclass
class Tally:
    """A client that keeps count of what it did. ``agent`` stands in the audit."""

    house: House
    agent: str = field(default_factory=lambda: f"tally {next(_agents)}")
    answers: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(surface, method, status)"""
    audited: int = 0

    def ask(
        self, surface: str, method: str, target: str, status: int, *lines: tuple[str, str], audited: bool = True
    ) -> None:
        with Wire(self.house.base_url) as wire:
            assert wire.ask(method, target, [("User-Agent", self.agent), *lines]).status == status
        self.answers[surface, method, str(status)] += 1
        self.audited += audited

    async def leave(self, path: str, key: dict[str, str], size: int) -> None:
        """Reads ``size`` bytes of the body, and is gone."""
        fields = {"User-Agent": self.agent, **key}
        async with await Client.ask(self.house.base_url, path, fields, receive_buffer=4096) as client:
            assert await client.head() == 200
            await client.exactly(size)
        self.answers["native", "GET", "200"] += 1
        self.audited += 1


def mixed(calls: Calls, client: Tally) -> None:
    """Something of everything, by one client after the other."""
    key, read_only, nobody = [*calls.full.items()], [*calls.read_only.items()], list[tuple[str, str]]()
    pending = f"/v1/recordings/{calls.by_state['pending'].native}/audio"
    for of in calls.ready.values():
        past = ("Range", f"bytes={len(DATA)}-")
        client.ask("native", "GET", of.native, 200, *key)
        client.ask("native", "GET", of.native, 206, *key, ("Range", "bytes=10-19"))
        client.ask("native", "GET", of.native, 206, *key, ("Range", "bytes=0-9,20-29"))
        client.ask("native", "HEAD", of.native, 200, *key)
        client.ask("native", "GET", of.native, 304, *key, ("If-None-Match", "*"))
        client.ask("native", "GET", of.native, 412, *key, ("If-Match", '"x"'))
        client.ask("native", "GET", of.native, 416, *key, past)
        client.ask("yotel", "GET", of.yotel, 200, *key)
        client.ask("yotel", "GET", of.yotel, 206, *key, ("Range", "bytes=-7"))
        client.ask("yotel", "GET", of.yotel.removesuffix("/audio"), 200, *key)
        client.ask("native", "GET", of.native, 401, *nobody)
        client.ask("native", "GET", of.native, 403, *read_only)
    client.ask("native", "GET", f"/v1/recordings/{MISSING}", 404, *key)
    client.ask("native", "GET", pending, 409, *key)
    client.ask("native", "GET", "/v1/recordings?limit=1", 200, *key)
    client.ask("native", "GET", "/nowhere", 404, *key, audited=False)
    client.ask("native", "PATCH", of.native, 405, *key, audited=False)
    client.ask("native", "OPTIONS", of.native, 204, audited=False)


async def observed(stage: Stage, **sections: dict[str, object]) -> tuple[House, int]:
    """A gateway of its own, and the port of its figures."""
    (port,) = free_ports(1)
    return await asyncio.to_thread(stage.another, metrics={"port": port}, **sections), port


def by_surface(rows: Sequence[asyncpg.Record]) -> dict[tuple[str, ...], float]:
    sums: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        sums[row["surface"],] += row["bytes_sent"] or 0
    return dict(sums)


def requests_of(figures: Figures) -> dict[tuple[str, ...], float]:
    return figures.by("requests_total", "surface", "method", "status")


async def test_the_figures_are_what_clients_did_and_what_postgres_has(calls: Calls):
    house, port = await observed(calls.stage)
    client = Tally(house)
    await asyncio.to_thread(mixed, calls, client)
    long = await calls.stage.file("s3", LONG)
    for pieces in (1, 2, 3):
        await client.leave(long.native, calls.full, pieces * 100_000)
    figures = await settled(
        port,
        lambda now: (
            now.sum("requests_total") >= client.answers.total()
            and now.sum("audit_delivered_records_total") >= client.audited * 2
            and now.sum("audit_journal_records") == 0
        ),
    )
    assert requests_of(figures) == dict(client.answers)
    rows = await calls.stage.accesses("user_agent", client.agent, client.audited)
    assert figures.sum("audit_delivered_records_total") == len(rows) * 2, "an intent and an outcome each"
    assert figures.by("bytes_sent_total", "surface") == by_surface(rows)
    ends = Counter((row["surface"], row["result"], row["reason"] or "") for row in rows if row["result"] != "complete")
    assert figures.by("requests_unserved_total", "surface", "result", "reason") == dict(ends)
    assert sum(ends[end] for end in ends if end[1] == "client_gone") == 3
    answered = Counter(row["surface"] for row in rows if row["bytes_sent"])
    assert figures.by("first_byte_seconds_count", "surface") == {(name,): number for name, number in answered.items()}
    by_name = {name: figures.sum("request_duration_seconds_count", surface=name) for name in ("native", "yotel")}
    assert by_name == {name: figures.sum("requests_total", surface=name) for name in by_name}
    for name in ("requests_in_flight", "streams_in_flight", "audit_open_events", "audit_journal_records"):
        assert figures.sum(name) == 0, name
    assert figures.sum("audit_admits") == 1
    assert figures.sum("cache_lookups_total", cache="keys", outcome="hit") > 0
    assert figures.sum("cache_lookups_total", cache="calls", outcome="hit") > 0
    assert figures.sum("catalog_changes_heard") == 1
    # Two bodies, two of one range and one of two, each of them; and those that were left.
    assert figures.by("origin_requests_total", "store") == {("s3",): 6 + 3, ("gcs",): 6, ("disk",): 6}
    for store in ("s3", "gcs"):
        over = [figures.sum(f"origin_{name}_total", store=store) for name in ("connections", "connections_reused")]
        assert sum(over) == figures.sum("origin_requests_total", store=store)


async def test_stores_are_told_with_what_was_read_of_them_and_how_it_failed(calls: Calls, tmp_path: Path):
    (port,) = free_ports(1)
    patient = IMPATIENT | {"progress_s": 20}  # whatever breaks is broken by the test
    doors = await asyncio.to_thread(Doors.open, calls.stage, tmp_path, origin=patient, metrics={"port": port})
    stage, key = calls.stage, f"figures/{uuid4().hex}.wav"
    for kind in ("s3", "gcs"):
        stage.shelves[kind].put(key, DATA)
        filed = await doors.file(f"{kind}-0", stage.stores[kind], key, DATA)
        async with doors.ajar(f"{kind}-0", stage.stores[kind]) as proxy:
            proxy.plan(None, Fault(Kind.CUT, at=50_000))
            for _ in range(2):
                assert await asyncio.to_thread(doors.house.get, filed.native, stage.full) == (200, DATA)
        assert (await asyncio.to_thread(doors.house.get, filed.native, stage.full))[0] == 503
    figures = await settled(port, lambda now: now.sum("requests_total") >= 6)
    for store in ("s3-0", "gcs-0"):
        assert figures.sum("origin_resumes_total", store=store) == 1
        assert figures.by("origin_errors_total", "reason", store=store) == {("origin_broken",): 1, ("unavailable",): 1}
        assert figures.sum("origin_retries_total", store=store) > 0
        requests = figures.sum("origin_requests_total", store=store)
        assert (
            3
            <= requests
            <= figures.sum("origin_connections_total", store=store)
            + figures.sum("origin_connections_reused_total", store=store)
        )
    assert figures.by("origin_requests_total", "store")["s3-1",] == 0
    assert figures.by("requests_unserved_total", "result", "reason") == {("refused", "unavailable"): 2}


async def test_no_client_can_add_a_label(calls: Calls):
    house, port = await observed(calls.stage)
    of, key = calls.ready["disk"], [*calls.full.items()]

    def invent() -> None:
        with Wire(house.base_url) as wire:
            for number in range(200):
                lines = [*key, ("User-Agent", f"u{number}"), ("X-Forwarded-For", f"192.0.2.{number}")]
                assert wire.ask("GET", f"/invented/{number}?q={number}", lines).status == 404
                assert wire.ask("GET", f"/v1/recordings/invented-{number}", lines).status == 422
            for method in ("PROPFIND", "MKCOL", "LOCK", "SEARCH"):
                assert wire.ask(method, of.native, key).status == 405
            assert wire.ask("GET", of.native, [("Host", "invented.example"), *key]).status == 200

    await asyncio.to_thread(invent)
    figures = await settled(port, lambda now: now.sum("requests_total") >= 405)
    assert figures.by("requests_total", "route", "method", "status") == {
        ("-", "GET", "404"): 200,
        ("/v1/recordings/{id}", "GET", "422"): 200,
        (AUDIO, "other", "405"): 4,
        (AUDIO, "GET", "200"): 1,
    }
    everything = {value for sample in figures.samples for value in sample.labels.values()}
    assert not [value for value in everything if "invented" in value or "192.0.2" in value]


async def test_figures_and_surfaces_are_never_on_each_others_port(stage: Stage):
    house, port = await observed(stage)
    assert (await asyncio.to_thread(house.get, "/metrics", stage.full))[0] == 404
    there = f"http://127.0.0.1:{port}"
    for path in ("/healthz", "/readyz", "/v1/recordings", "/openapi.json"):
        with Wire(there) as wire:
            assert wire.ask("GET", path, [*stage.full.items()]).status == 404
    silent = stage.house
    assert "metrics" not in silent.sections
    assert (await asyncio.to_thread(silent.get, "/metrics"))[0] == 404


async def test_scrapes_amid_load_hold_up_nobody(calls: Calls):
    house, port = await observed(calls.stage)
    long = await calls.stage.file("disk", LONG)
    stop = asyncio.Event()

    async def play() -> int:
        done = 0
        while not stop.is_set():
            async with await Client.ask(house.base_url, long.native, calls.full) as client:
                assert await client.head() == 200
                assert await client.rest() == LONG
            done += 1
        return done

    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(play()) for _ in range(4)]
        for _ in range(20):
            before = asyncio.get_running_loop().time()
            during = await asyncio.to_thread(scrape, port)
            assert asyncio.get_running_loop().time() - before < 5
            assert during.sum("streams_in_flight") <= 4
        idle = await asyncio.open_connection("127.0.0.1", port)  # asks for the page, and never reads it
        idle[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        assert (await asyncio.to_thread(scrape, port)).sum("connections") >= 1
        stop.set()
    idle[1].close()
    played = sum(task.result() for task in playing)
    figures = await settled(port, lambda now: now.sum("requests_total") >= played)
    assert requests_of(figures) == {("native", "GET", "200"): played}
    assert figures.sum("bytes_sent_total") == played * len(LONG)
    assert figures.sum("event_loop_lag_seconds_count") > 0


async def test_two_workers_give_one_page(calls: Calls):
    house, port = await observed(calls.stage, server={"workers": 2})
    of = calls.ready["s3"]

    def ask() -> None:
        for _ in range(60):
            assert house.get(of.native, calls.full)[0] == 200

    await asyncio.to_thread(ask)
    figures = await settled(port, lambda now: now.sum("requests_total") >= 60)
    up = figures.by("worker_up", "worker")
    assert sorted(up.values()) == [1, 1]
    each = figures.by("requests_total", "worker")
    assert each.keys() <= up.keys()
    assert sum(each.values()) == 60
    assert figures.sum("bytes_sent_total") == 60 * len(of.data)
    assert set(figures.by("build_info", "worker")) == set(up)


async def test_a_port_that_is_taken_is_refused_at_start_by_its_key(stage: Stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house = House(stage.database_url, stage.stores, {"metrics": {"port": port}})
        (house.folder / "journal").mkdir()
        told = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gateway", "serve"],
            env=house.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert told.returncode == 1
    assert f"metrics.port: cannot listen on 127.0.0.1:{port}" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("workers", [1, 2])
async def test_without_a_port_there_is_no_listener(stage: Stage, workers: int):
    house = await asyncio.to_thread(stage.another, server={"workers": workers})
    assert house.process is not None
    own = {urlsplit(house.base_url).port}
    assert listening(house.process.pid) <= own


def listening(pid: int) -> set[int | None]:
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found = [one for process in family for one in process.net_connections("tcp")]
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
