"""How a gateway starts where things are missing, and how it ends with clients on it."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from parts.command import Command
from parts.drinker import Client, fetch
from parts.faults import Fault, FaultProxy, Kind
from parts.house import SERVE, House, Office, some_bytes
from parts.ledger import outcome, outcomes
from parts.postgres import Databases, StoppablePostgres
from parts.s3 import SeaweedS3
from parts.stage import Stage
from parts.wire import Answer, Wire

from gateway.demo.ports import free_ports

BOTH_WAYS = True

RATE = 1_000_000
"""Bytes a second that slow readers take."""
PATIENCE_S = 20.0
"""To recover in, once what was missing is there."""


async def drink(client: Client, rate: int) -> bytes:
    """The rest of the body, taken at ``rate`` bytes a second."""
    body, begun = b"", time.monotonic()
    while piece := await client.read():
        body += piece
        await asyncio.sleep(begun + len(body) / rate - time.monotonic())
    return body


async def refused(house: House) -> None:
    """Waits until new connections are refused, cleanly and by nothing else."""
    while True:
        try:
            client = await Client.connect(house.base_url)
            client.raw.close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # the closing itself, see below
            continue
        await asyncio.sleep(0.02)


@pytest.fixture
async def lifetimes() -> AsyncIterator[AsyncExitStack]:
    """What a test opens, closed at its end."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_at_sigterm_downloads_complete_and_everybody_else_gets_a_clean_answer(
    stage: Stage, lifetimes: AsyncExitStack
) -> None:
    data = {store: some_bytes(8_000_000, seed) for seed, store in enumerate(("s3", "gcs", "disk"))}
    filed = [await stage.file(store, data[store]) for store in data] * 2
    house = stage.another(server={"drain_delay_s": 3, "drain_s": 60})
    agents = [uuid4().hex for _ in filed]
    idle = await lifetimes.enter_async_context(await Client.ask(house.base_url, "/healthz"))
    assert await idle.head() == 200
    await idle.rest()
    readers = []
    for agent, one in zip(agents, filed, strict=True):
        fields = stage.full | {"User-Agent": agent}
        reader = await Client.ask(house.base_url, one.native, fields, receive_buffer=65_536)
        readers.append(await lifetimes.enter_async_context(reader))
        await reader.head()
    drinking = [asyncio.create_task(drink(reader, RATE)) for reader in readers]

    house.signal(signal.SIGTERM)
    asked, reset, begun = 0, 0, time.monotonic()
    closed = asyncio.create_task(refused(house))
    while (ready := (await fetch(house.base_url, "/readyz"))[0]).status == 200:
        assert time.monotonic() - begun < 2.5
    assert (ready.status, ready.fields["connection"]) == (503, "close")
    while not closed.done():
        try:
            client, body = await fetch(house.base_url, filed[0].native, stage.full | {"Range": "bytes=5-104"})
            answered = client.status != 0
        except ConnectionRefusedError:
            break
        except ConnectionResetError:
            answered = False
        if not answered:  # its handshake met the closing itself, and was reset: it knows, and nothing was begun
            reset += 1
            continue
        assert (client.status, client.fields["connection"], body) == (206, "close", filed[0].data[5:105])
        asked += 1
    await closed
    shut = time.monotonic() - begun
    await idle.ended()
    assert not all(each.done() for each in drinking), "idle connections end with the listener"
    bodies = await asyncio.gather(*drinking)
    status = await asyncio.to_thread(house.process.wait, 20)
    told = await outcomes(stage.office, agents)

    print(f"\n{asked} requests answered in the {shut:.2f} s before the listener closed")
    assert (asked > 0, reset <= 1) == (True, True)
    assert 3 <= shut < 7
    assert [body == one.data for body, one in zip(bodies, filed, strict=True)] == [True] * len(filed)
    assert {(row["result"], row["bytes_sent"]) for row in told.values()} == {("complete", 8_000_000)}
    assert status == 0
    assert [line["event"] for line in house.logs][-1] == "stopped"


@pytest.mark.parametrize(
    ("number", "again"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["again", "in time"]
)
async def test_downloads_that_outlast_the_drain_are_cut_off_visibly_and_audited(
    stage: Stage,
    lifetimes: AsyncExitStack,
    number: signal.Signals,
    again: bool,
) -> None:
    """A second signal, or ``drain_s``, ends the waiting."""
    data, agent = some_bytes(48_000_000), uuid4().hex
    filed = await stage.file("disk", data)
    house = stage.another(stage.on_disk, server={"drain_delay_s": 30 if again else 0, "drain_s": 30 if again else 0.5})
    fields = stage.full | {"User-Agent": agent}
    client = await Client.ask(house.base_url, filed.native, fields, receive_buffer=65_536)
    await lifetimes.enter_async_context(client)
    await client.head()
    body = await client.exactly(1_000_000)

    house.signal(number)
    begun = time.monotonic()
    if again:
        while (await fetch(house.base_url, "/readyz"))[0].status != 503:
            pass
        house.signal(number)
    status = await asyncio.to_thread(house.process.wait, 20)
    took = time.monotonic() - begun
    body += await client.rest()
    row = await outcome(stage.office, agent)

    assert (status, took < 15) == (0, True)
    assert data.startswith(body)
    assert not client.whole
    assert (row["result"], row["reason"]) == ("interrupted", "shutdown")
    assert len(body) <= row["bytes_sent"] < len(data)
    assert any(line["event"] == "cut off at shutdown" and line["requests"] == 1 for line in house.logs)


async def test_a_download_whose_store_is_silent_as_the_gateway_ends_is_not_the_clients_fault(
    stage: Stage, lifetimes: AsyncExitStack, s3: SeaweedS3
) -> None:
    agent, filed = uuid4().hex, await stage.file("s3", some_bytes(100_000))
    proxy = await lifetimes.enter_async_context(FaultProxy(s3.port))
    proxy.always(Fault(Kind.STALL, at=-1))
    house = stage.another({"s3": stage.stores["s3"] | {"endpoint": proxy.url}}, server={"drain_s": 0.2})
    fields = stage.full | {"User-Agent": agent}
    client = await lifetimes.enter_async_context(await Client.ask(house.base_url, filed.native, fields))
    await asyncio.wait_for(proxy.until(lambda proxy: bool(proxy.struck)), PATIENCE_S)

    assert await asyncio.to_thread(house.stop) == 0
    assert await client.head() == 0
    row = await outcome(stage.office, agent)
    assert (row["result"], row["reason"]) == ("interrupted", "shutdown")
    (line,) = (line for line in house.logs if line.get("result") == "interrupted")
    assert line["reason"] == "shutdown"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_gateway_and_its_idle_connections_at_once(
    stage: Stage, lifetimes: AsyncExitStack, number: signal.Signals
) -> None:
    house = stage.another(stage.on_disk)
    idle = [await lifetimes.enter_async_context(await Client.connect(house.base_url)) for _ in range(3)]
    for one in idle[1:]:  # the first asks nothing, as one that a browser opened ahead of need
        await one.request("/healthz")
        assert await one.head() == 200
        await one.rest()
    house.signal(number)
    begun = time.monotonic()
    status = await asyncio.to_thread(house.process.wait, 20)
    took = time.monotonic() - begun
    await asyncio.wait_for(asyncio.gather(*(one.ended() for one in idle)), PATIENCE_S)
    print(f"\n{number.name}: ended in {took:.2f} s")
    assert (status, took < 10) == (0, True), "half of drain_s"


async def test_a_signal_amid_the_start_ends_it_in_order(tmp_path: Path) -> None:
    """As process 1 of a container it would hear no other."""
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as postgres:
        port = postgres.sockets[0].getsockname()[1]
        house = House(f"postgresql://nobody@127.0.0.1:{port}/none", {}, {"database": {"connect_s": 30}}, tmp_path)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, env=house.environment(), stderr=asyncio.subprocess.PIPE
        )
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        _, told = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, b"Traceback" in told) == (0, False), told


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"server": {"port": "eighty"}}, "server.port"),
        ({"server": {"prot": 8080}}, "server.prot"),
        ({"stores": {"a": {"kind": "s3", "bucket": "calls", "access_key_id": "x"}}}, "stores.a"),
        ({"stores": {"a": {"kind": "ftp"}}}, "stores.a"),
        ({"audit": {"journal_bytes": 100_000, "segment_bytes": 200_000}}, "audit.segment_bytes"),
        ({"server": {"port": 0}, "mounts": [{"surface": "native"}, {"surface": "native"}]}, "mounts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_configuration_is_refused_at_start_by_its_key(
    tmp_path: Path, settings: dict[str, object], key: str
) -> None:
    done = Command(tmp_path, settings)("serve")
    assert done.code == 78
    assert key in done.err
    assert "Traceback" not in done.err


async def checks(house: House) -> tuple[int, dict[str, str]]:
    """What readiness says: the status, and each part's state."""
    client, body = await fetch(house.base_url, "/readyz")
    return client.status, json.loads(body)["checks"]


async def ready(house: House) -> float:
    """Seconds until it is."""
    begun = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status, _ = await checks(house)
            if status == 200:
                return time.monotonic() - begun
            await asyncio.sleep(0.1)


async def test_without_postgres_at_start_it_serves_503_says_so_and_recovers_by_itself(
    stage: Stage, stoppable_postgres: StoppablePostgres, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(data := some_bytes(100_000))
    store = {"disk": {"kind": "disk", "root": str(tmp_path)}}
    url = await Databases(stoppable_postgres.url()).create()
    office = Office(url, store)
    tenant = await office.tenant()
    fields, filed = await office.key(tenant), await office.file(tenant, "disk", "a.wav", data)
    await asyncio.to_thread(stoppable_postgres.stop)

    house = House(url, store, {}, tmp_path)
    stage.houses.append(house)
    await asyncio.to_thread(house.start)
    client, _ = await fetch(house.base_url, "/healthz")
    assert (client.status, client.fields["x-content-type-options"]) == (200, "nosniff")
    assert await checks(house) == (503, {"postgres": "unavailable", "journal": "ok", "store.disk": "ok"})
    client, body = await fetch(house.base_url, filed.native, fields)
    assert (client.status, client.fields["cache-control"]) == (503, "no-store")
    assert int(client.fields["retry-after"]) > 0
    assert data[:20] not in body

    await asyncio.to_thread(stoppable_postgres.start)
    print(f"\nready {await ready(house):.1f} s after Postgres was")
    client, body = await fetch(house.base_url, filed.native, fields)
    assert (client.status, body) == (200, data)
    assert await asyncio.to_thread(house.stop) == 0
    told = await office.rows("SELECT result, bytes_sent FROM accesses WHERE call = $1", filed.id)
    assert [tuple(row) for row in told] == [("complete", len(data))]


async def test_without_a_store_at_start_the_others_are_served_and_it_recovers_by_itself(
    stage: Stage, s3: SeaweedS3
) -> None:
    data, (port,) = some_bytes(100_000), free_ports(1)
    away = stage.stores["s3"] | {"endpoint": f"http://127.0.0.1:{port}"}
    here, there = await stage.file("disk", data), await stage.file("s3", data)
    house = stage.another({"disk": stage.stores["disk"], "s3": away}, origin={"connect_s": 1})

    assert await checks(house) == (
        503,
        {"postgres": "ok", "journal": "ok", "store.disk": "ok", "store.s3": "unavailable"},
    )
    assert (await fetch(house.base_url, here.native, stage.full))[1] == data
    client, _ = await fetch(house.base_url, there.native, stage.full)
    assert (client.status, "retry-after" in client.fields) == (503, True)

    proxy = FaultProxy(s3.port)
    proxy.port = port
    async with proxy:
        print(f"\nready {await ready(house):.1f} s after the store was")
        client, body = await fetch(house.base_url, there.native, stage.full)
    assert (client.status, body) == (200, data)
    assert await asyncio.to_thread(house.stop) == 0


@pytest.mark.parametrize("expects", [False, True], ids=["half a body", "before a body that was asked for"])
async def test_a_request_whose_body_is_on_its_way_as_the_gateway_ends_is_answered(stage: Stage, expects: bool):
    filed = await stage.file("disk", some_bytes(1000))
    house = stage.another(stage.on_disk, server={"drain_delay_s": 0, "drain_s": 20, "header_timeout_s": 5})
    body = b'{"delivery": "gateway"}'
    expect = "Expect: 100-continue\r\n" if expects else ""
    head = (
        f"POST /v1/recordings/{filed.id}/links HTTP/1.1\r\nHost: h\r\nAuthorization: {stage.full['Authorization']}\r\n"
        f"Content-Length: {len(body)}\r\n{expect}\r\n"
    ).encode()

    def ask() -> Answer:
        with Wire(house.base_url) as wire, Wire(house.base_url) as idle:
            idle.ask("GET", "/healthz")
            wire.send(head)
            if expects:
                assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            else:
                wire.send(body[:5])
            house.signal(signal.SIGTERM)
            assert idle.socket.recv(100) == b"", "now idle connections are ended"
            wire.send(body if expects else body[5:])
            return wire.read()

    answer = await asyncio.to_thread(ask)
    assert (answer.status, answer.get("Connection")) == (201, "close")
    assert house.stop() == 0
