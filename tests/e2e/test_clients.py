"""Clients that leave, are slow, or stop: what becomes of the origin's connection, of memory, and of everybody else."""

import asyncio
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from parts.doors import LANES, Doors
from parts.drinker import Client, Way, fetch
from parts.faults import Fault, FaultProxy, Kind
from parts.house import Filed, some_bytes
from parts.ledger import outcomes
from parts.sippers import Order, start
from parts.stage import Stage

BOTH_WAYS = True

SIP = 32_768
"""Bytes a second that a slow reader takes."""
SIP_S = 8
STALL_S = 6
"""A slow reader's kernel may say nothing for two: on loopback a window opens by 64 KB at a time."""
LARGE = some_bytes(48_000_000, 5)
"""More than the kernel takes on its way to a client that does not read."""


class Scene(StrEnum):
    """What goes on when the client leaves."""

    UNANSWERED = "before the first byte"
    FLOWING = "in mid-body"
    STALLED = "while the origin stalls in mid-body"
    FULL = "while it reads nothing"


@pytest.mark.timeout(600)
async def test_a_client_that_leaves_closes_the_origins_connection_within_a_second(
    doors: Doors, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """``-s`` prints how long the origin's connection stood after the client left."""
    count, run, key = request.config.getoption("--departures"), uuid4().hex[:8], f"departures/{uuid4().hex}.wav"
    origin = doors.stage.stores["s3"]
    doors.stage.shelves["s3"].put(key, LARGE)
    plays = [(scene, way) for scene in Scene for way in Way]
    took: dict[Scene, list[float]] = {scene: [] for scene in Scene}
    got: dict[str, int] = {}

    async def lane(number: int) -> None:
        store, chance = f"s3-{number}", random.Random(number)
        filed = await doors.file(store, origin, key, LARGE)
        async with doors.ajar(store, origin) as proxy:
            for turn in range(number, count, LANES):
                scene, way = plays[turn % len(plays)]
                agent = f"{run} {turn}"
                fields = doors.stage.full | {"User-Agent": agent}
                seconds, got[agent] = await _departure(doors, proxy, filed, fields, scene, way, chance)
                took[scene].append(seconds)

    await asyncio.gather(*map(lane, range(LANES)))
    told = await outcomes(doors.stage.office, list(got))

    every = sorted(one for times in took.values() for one in times)
    figures = {"p50": statistics.median(every), "p99": every[int(len(every) * 0.99)], "max": every[-1]}
    print(f"\n{count} departures: " + ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in figures.items()))
    for scene, times in took.items():
        print(f"  {scene}: p50 {statistics.median(times) * 1000:.1f} ms, max {max(times) * 1000:.1f} ms")
    record_property("departures", figures)
    assert figures["p99"] < 1
    assert {row["result"] for row in told.values()} == {"client_gone"}
    assert all(got[agent] <= row["bytes_sent"] <= len(LARGE) for agent, row in told.items())


async def _departure(
    doors: Doors,
    proxy: FaultProxy,
    filed: Filed,
    fields: dict[str, str],
    scene: Scene,
    way: Way,
    chance: random.Random,
) -> tuple[float, int]:
    """Seconds from the client's leaving until the proxy has no connection any more; bytes that it had by then."""
    struck, at = len(proxy.struck), chance.randrange(1, 2_000_000)
    if scene in {Scene.UNANSWERED, Scene.STALLED}:
        proxy.plan(Fault(Kind.STALL, at=-1 if scene is Scene.UNANSWERED else at))
    async with await Client.ask(doors.house.base_url, filed.native, fields, receive_buffer=65_536) as client:
        match scene:
            case Scene.UNANSWERED:
                await proxy.until(lambda p: len(p.struck) > struck)
            case Scene.FLOWING | Scene.STALLED:
                await client.head()
                assert LARGE.startswith(await client.exactly(at))
            case Scene.FULL:
                await client.head()
                await client.exactly(at)
                await _quiet(proxy)
        assert proxy.open == 1
        client.leave(way)
        left = time.perf_counter()
        await asyncio.wait_for(proxy.closed(), 30)
        return time.perf_counter() - left, client.got


async def _quiet(proxy: FaultProxy) -> None:
    """Until nothing passes any more: every buffer on the way is full."""
    seen = -1
    while seen != proxy.sent:
        seen = proxy.sent
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def patient(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """Another gateway behind doors, as it is shipped but for how long a reader may take nothing.

    It is started with fewer descriptors than its readers will take.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
    try:
        return Doors.open(stage, tmp_path_factory.mktemp("patient"), server={"write_stall_s": STALL_S})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Watched:
    """What was seen of a gateway while it was busy."""

    process: psutil.Process
    port: int
    store_port: int
    resident: list[int] = field(default_factory=list)
    kernel: list[int] = field(default_factory=list)
    """Bytes that the kernel holds for it: come from the store and unread, or sent to clients and unacknowledged."""
    health_s: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.resident.append(self.process.memory_info().rss)
        held = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            sent, come = queues.split(":")
            held += int(sent, 16) if int(local.partition(":")[2], 16) == self.port else 0
            held += int(come, 16) if int(remote.partition(":")[2], 16) == self.store_port else 0
        self.kernel.append(held)

    async def ask(self, base_url: str) -> None:
        begun = time.perf_counter()
        client, _ = await fetch(base_url, "/healthz")
        assert client.status == 200
        self.health_s.append(time.perf_counter() - begun)


@pytest.mark.timeout(300)
async def test_many_slow_readers_are_held_in_bounded_memory_and_nobody_else_notices(
    patient: Doors,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """``--slow-readers=1000 -s`` for the long run; it prints what a stream cost."""
    count, origin, key = (
        request.config.getoption("--slow-readers"),
        patient.stage.stores["s3"],
        f"slow/{uuid4().hex}.wav",
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # for the proxy's two ends of each stream
    patient.stage.shelves["s3"].put(key, LARGE)
    (tmp_path / "object").write_bytes(LARGE)
    filed = await patient.file("s3-0", origin, key, LARGE)
    run = uuid4().hex[:8]
    assert patient.house.process is not None
    host, port = patient.house.base_url.removeprefix("http://").split(":")
    async with patient.ajar("s3-0", origin) as proxy:
        proxy.send_buffer = 65_536
        watched = Watched(psutil.Process(patient.house.process.pid), int(port), proxy.port)
        await fetch(patient.house.base_url, filed.native, patient.stage.full | {"Range": "bytes=0-200000"})
        watched.look()
        sent = proxy.sent
        fields = patient.stage.full | {"User-Agent": run}
        order = Order(host, int(port), filed.native, fields, str(tmp_path / "object"), count, SIP, SIP_S)
        sippers = await asyncio.to_thread(start, order)
        with sippers:
            assert sippers.stdin is not None and sippers.stdout is not None
            assert json.loads(await asyncio.to_thread(sippers.stdout.readline)) == {"reading": count}
            told = asyncio.create_task(asyncio.to_thread(sippers.stdout.readline))
            while not (await asyncio.wait([told], timeout=0.25))[0]:
                watched.look()
                await watched.ask(patient.house.base_url)
            took = json.loads(told.result())
            ahead = (proxy.sent - sent - took["taken"]) / count
            sippers.stdin.write("\n")
        await asyncio.wait_for(proxy.closed(), 10)
    rows = await outcomes(patient.stage.office, [f"{run} {number}" for number in range(count)])

    figures = {
        "readers": count,
        "resident KB per stream": round((max(watched.resident) - watched.resident[0]) / count / 1024),
        "KB per stream in the kernel": round(max(watched.kernel) / count / 1024),
        "origin ahead of client, KB per stream": round(ahead / 1024),
        "health ms, median": round(statistics.median(watched.health_s) * 1000, 1),
        "health ms, worst": round(max(watched.health_s) * 1000, 1),
    }
    print(f"\n{took}\n{figures}")
    assert watched.process.rlimit(resource.RLIMIT_NOFILE)[0] == hard
    record_property("slow readers", figures)
    assert (took["wrong"], took["ended"]) == (0, 0)
    assert took["least"] >= SIP * SIP_S * 0.5
    assert figures["resident KB per stream"] < 600
    assert figures["KB per stream in the kernel"] < 768
    assert figures["origin ahead of client, KB per stream"] < 2048
    assert statistics.median(watched.health_s) < 0.25
    assert {row["result"] for row in rows.values()} == {"client_gone"}
    assert sum(row["bytes_sent"] for row in rows.values()) >= took["taken"]


async def test_readers_that_stop_are_cut_off_in_time_and_only_they(patient: Doors) -> None:
    stalled, origin, key = 10, patient.stage.stores["s3"], f"stalled/{uuid4().hex}.wav"
    patient.stage.shelves["s3"].put(key, LARGE)
    filed = await patient.file("s3-0", origin, key, LARGE)
    run = uuid4().hex[:8]
    async with patient.ajar("s3-0", origin) as proxy, AsyncExitStack() as lifetimes:
        clients = []
        for number in range(stalled + 1):
            fields = patient.stage.full | {"User-Agent": f"{run} {number}"}
            client = await Client.ask(patient.house.base_url, filed.native, fields, receive_buffer=65_536)
            clients.append(await lifetimes.enter_async_context(client))
            await client.head()
        *idlers, reader = clients
        begun = time.monotonic()
        reading = asyncio.create_task(_sip(reader, 0.2))
        await asyncio.wait_for(proxy.until(lambda p: p.open == 1), 3 * STALL_S)
        took = time.monotonic() - begun
        reading.cancel()
        got = [len(await idler.rest()) for idler in idlers]
    told = await outcomes(patient.stage.office, [f"{run} {number}" for number in range(stalled)])

    print(f"\n{stalled} stalled readers cut off after {took:.2f} s")
    assert STALL_S <= took < 2 * STALL_S
    assert not any(idler.whole for idler in idlers)
    assert {(row["result"], row["reason"]) for row in told.values()} == {("client_gone", "stalled")}
    for number, count in enumerate(got):
        assert 0 < told[f"{run} {number}"]["bytes_sent"] <= count + 1000, "only what it took, give or take the head"


async def _sip(client: Client, pause_s: float) -> None:
    """Reads on, a little at a time."""
    while True:
        await client.read(16_384)
        await asyncio.sleep(pause_s)
