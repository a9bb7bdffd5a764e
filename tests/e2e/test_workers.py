"""Several workers on one port: none of them is missed, whether it is killed, replaced or told to end."""

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import pytest
from parts.audit import until
from parts.crew import Crew, Regulars, alive
from parts.drinker import Client, fetch
from parts.house import Filed, some_bytes
from parts.scrape import settled
from parts.stage import LINK_KEY, Stage

from gateway.telemetry.listener import SOCKET

pytestmark = pytest.mark.timeout(240)

Open = Callable[..., Crew]
SIZE = 200_000


@pytest.fixture
async def crews(stage: Stage, tmp_path: Path) -> AsyncIterator[Open]:
    """Starts gateways with two workers on the stage's database, and of its stores on the folder alone unless told others."""

    def start(file: dict | None = None, stores: Collection[str] = ("disk",), **sections: dict) -> Crew:
        merged = {
            "identity": {"link_keys": [LINK_KEY]},
            "audit": {"journal_dir": str(tmp_path / "journal"), "adopt_interval_s": 0.5},
        }
        merged |= {"server": {"port": 0, "drain_delay_s": 0, "drain_s": 20, "workers": 2} | sections.pop("server", {})}
        stocked = {name: stage.stores[name] for name in stores}
        crew = Crew(stage.database_url, stocked, merged | sections, tmp_path, file=file or {})
        opened.append(crew)
        stage.houses.append(crew)
        crew.start()
        return crew

    opened: list[Crew] = []
    yield start
    for crew in opened:
        assert crew.process is not None
        if crew.process.poll() is None:
            crew.signal(signal.SIGTERM)
            crew.signal(signal.SIGTERM)
        await asyncio.to_thread(crew.stop)


@pytest.fixture
async def filed(stage: Stage) -> list[Filed]:
    return [await stage.file("disk", some_bytes(SIZE, seed)) for seed in range(2)]


def regulars(stage: Stage, filed: list[Filed], **options: int) -> Regulars:
    return Regulars([one.native for one in filed], stage.full, **options)


async def on_record(stage: Stage, seen: dict[str, int], *, interrupted: int = 0) -> None:
    """Every access that a client saw stands in Postgres, once and ended; of so many at most the outcome died untold."""
    async with asyncio.timeout(30):
        while True:
            rows = await stage.office.rows(
                "SELECT request_id, count(*) AS events, count(result) AS ended, max(bytes_sent) AS sent FROM accesses"
                " WHERE request_id = ANY($1::text[]) GROUP BY request_id",
                list(seen),
            )
            if len(rows) == len(seen) and all(row["ended"] == row["events"] for row in rows):
                break
            await asyncio.sleep(0.1)
    assert {row["events"] for row in rows} == {1}
    assert [row for row in rows if row["sent"] not in {seen[row["request_id"]], None}] == []
    assert len([row for row in rows if row["sent"] is None]) <= interrupted


def by_worker(crew: Crew) -> dict[str, int]:
    """request id → the worker that answered it."""
    return {line["request_id"]: line["worker"] for line in list(crew.logs) if "request_id" in line and "worker" in line}


def memory(pid: int) -> float:
    """Its own, in MB: what it shares with others counts in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def test_all_workers_serve_on_the_one_port(stage: Stage, crews: Open, filed: list[Filed]):
    crew = crews()
    for _ in range(60):
        assert (await fetch(crew.base_url, filed[0].native, stage.full | {"Range": "bytes=0-9"}))[0].status == 206
    await crew.tells("request", 60)
    served = Counter(by_worker(crew).values())
    pids = crew.pids()
    supervisor = crew.process.pid
    print(
        f"\n{served}; memory, MB: supervisor {memory(supervisor):.0f}, workers {[round(memory(p)) for p in pids.values()]}"
    )
    assert served.keys() == {0, 1}
    assert min(served.values()) > 10
    assert len({supervisor, *pids.values()}) == 3
    assert len(list((crew.folder / "journal").iterdir())) == 2, "each has a journal of its own"
    crew.signal(signal.SIGTERM)
    assert await asyncio.to_thread(crew.stop) == 0
    assert not any(alive(pid) for pid in pids.values())
    assert not [path for path in (crew.folder / "journal").rglob("*") if path.is_file()], "all is delivered"


async def test_a_worker_that_is_killed_takes_no_request_with_it_but_its_own(
    stage: Stage, crews: Open, filed: list[Filed]
):
    crew = crews()
    load = regulars(stage, filed)
    load.start(crew.base_url)
    await load.until_answered(200)
    victim = crew.pids()[0]
    before = len(load.answered)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    await crew.tells("worker ready", 2, worker=0)
    back = time.monotonic() - killed
    during = len(load.answered) - before
    await load.until_answered(200)
    await load.stop()
    told = by_worker(crew)
    print(
        f"\nback after {back:.2f} s, {during} answered meanwhile, {len(load.missed)} missed, slowest {load.slowest:.2f} s"
    )
    assert during > 0
    assert len(load.missed) <= load.count
    assert {miss.why for miss in load.missed if miss.before is None} <= {"no answer"}, "nobody is refused"
    survivor = {name for name, worker in told.items() if worker == 1}  # the other took its last lines with it
    assert not survivor & {miss.before for miss in load.missed}
    assert all(miss.at - killed < 1 for miss in load.missed), "they end with it, and not later"
    assert crew.told("worker exited", pid=victim, signal="SIGKILL")
    assert crew.pids()[0] != victim
    await crew.tells("audit_journal_settled")
    await on_record(stage, load.answered, interrupted=load.count)


async def test_a_reload_replaces_every_worker_without_a_failed_request(stage: Stage, crews: Open, filed: list[Filed]):
    crew = crews({"log": {"level": "info"}}, ("disk", "s3"))
    load = regulars(stage, [*filed, await stage.file("s3", some_bytes(SIZE))], per_connection=400)
    load.start(crew.base_url)
    await load.until_answered(100)
    pids = crew.pids()
    for turn, prefix in enumerate(("/one", "/two"), 1):
        crew.write(mounts=[{"surface": "native"}, {"surface": "yotel", "prefix": prefix}])
        before = len(load.answered)
        crew.signal(signal.SIGHUP)
        took = (await crew.tells("reloaded", turn))["took_s"]
        print(f"\nreloaded in {took} s, {len(load.answered) - before} requests answered meanwhile")
        assert len(load.answered) - before > 10
    await load.until_answered(100)
    assert not {*pids.values()} & {*crew.pids().values()}
    for pid in pids.values():
        await crew.tells("worker exited", pid=pid, status=0)
    await load.stop()
    assert load.missed == [], [line for line in crew.logs if line["level"] != "info"]
    for _ in range(20):
        statuses = [
            (await fetch(crew.base_url, f"{prefix}/openapi.json"))[0].status for prefix in ("/yotel", "/one", "/two")
        ]
        assert statuses == [404, 404, 200]
    await on_record(stage, load.answered)


async def test_two_reloads_at_once_are_one_after_the_other(crews: Open):
    crew = crews()
    crew.signal(signal.SIGHUP)
    await crew.tells("reloading")
    crew.signal(signal.SIGHUP)
    await crew.tells("reloaded", 2)
    events = [line["event"] for line in crew.logs if line["event"] in {"reloading", "reloaded"}]
    assert events == ["reloading", "reloaded"] * 2
    assert len({line["pid"] for line in crew.told("worker ready")}) == 6


@pytest.mark.parametrize(
    "mounts",
    [[{"surface": "carrier-pigeon"}], [{"surface": "native"}, {"surface": "native", "prefix": "/"}]],
    ids=["to the supervisor", "to a worker"],
)
async def test_a_configuration_that_is_refused_leaves_the_old_workers_as_they_are(
    stage: Stage, crews: Open, filed: list[Filed], mounts: list[dict]
):
    """The second is found out by the first new worker, which opens what the configuration names."""
    crew = crews({"log": {"level": "info"}})
    load = regulars(stage, filed, count=2)
    load.start(crew.base_url)
    await load.until_answered(10)
    pids = crew.pids()
    crew.write(mounts=mounts)
    crew.signal(signal.SIGHUP)
    await crew.tells("not reloaded")
    await load.until_answered(50)
    assert crew.pids() == pids
    assert all(alive(pid) for pid in pids.values())
    crew.write(mounts=[{"surface": "native"}])
    crew.signal(signal.SIGHUP)
    await crew.tells("reloaded")
    await load.stop()
    assert load.missed == []


async def test_a_download_under_way_outlives_the_reload(stage: Stage, crews: Open):
    data = some_bytes(8_000_000)
    one = await stage.file("s3", data)
    crew = crews(stores=stage.stores)
    pids = crew.pids()
    async with await Client.ask(crew.base_url, one.native, stage.full, receive_buffer=65_536) as client:
        await client.head()
        body = await client.exactly(100_000)
        crew.signal(signal.SIGHUP)
        await crew.tells("reloaded")
        await crew.tells("retiring", 2)
        await crew.tells("worker exited")  # the one that had nothing to finish
        assert sum(map(alive, pids.values())) == 1
        body += await client.rest()
    assert body == data
    for pid in pids.values():
        await crew.tells("worker exited", pid=pid, status=0)


async def test_a_worker_that_retires_stays_ready_for_probes_on_its_connections(crews: Open):
    """A balancer that keeps one would take the whole gateway out."""
    crew = crews()
    probes = [await Client.ask(crew.base_url, "/readyz") for _ in range(8)]
    for probe in probes:
        assert await probe.head() == 200
        await probe.rest()
    crew.signal(signal.SIGHUP)
    await crew.tells("retiring", 2)
    for probe in probes:
        await probe.request("/readyz")
        assert (await probe.head(), probe.fields.get("connection")) == (200, "close")
        await probe.rest()
        await asyncio.wait_for(probe.ended(), 20)
        probe.raw.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_every_worker(stage: Stage, crews: Open, number: signal.Signals):
    data = some_bytes(4_000_000)
    one = await stage.file("disk", data)
    crew = crews(server={"drain_delay_s": 3})  # the listener is there for so long
    readers = [await Client.ask(crew.base_url, one.native, stage.full, receive_buffer=65_536) for _ in range(8)]
    for reader in readers:
        await reader.head()
    crew.signal(number)
    await crew.tells("draining", 2)
    for pid in crew.pids().values():
        os.kill(pid, signal.SIGTERM)  # as a service manager does that signals all of a service's processes
    assert (await fetch(crew.base_url, "/readyz"))[0].status == 503
    bodies = await asyncio.gather(*(reader.rest() for reader in readers))
    for reader in readers:
        reader.raw.close()
    assert all(body == data for body in bodies)
    assert await asyncio.to_thread(crew.stop) == 0
    assert crew.logs[-1]["event"] == "stopped"
    assert not crew.told("cut off at shutdown")


async def test_a_second_signal_hurries_every_worker(stage: Stage, crews: Open):
    one = await stage.file("disk", some_bytes(48_000_000))
    crew = crews(server={"drain_delay_s": 30, "drain_s": 60})
    readers = [await Client.ask(crew.base_url, one.native, stage.full, receive_buffer=65_536) for _ in range(8)]
    for reader in readers:
        await reader.head()
    crew.signal(signal.SIGTERM)
    await crew.tells("draining", 2)
    begun = time.monotonic()
    crew.signal(signal.SIGTERM)
    assert await asyncio.to_thread(crew.process.wait, 20) == 0
    assert time.monotonic() - begun < 10
    for reader in readers:
        reader.raw.close()


async def test_workers_end_when_their_supervisor_is_killed(stage: Stage, crews: Open, filed: list[Filed]):
    crew = crews()
    load = regulars(stage, filed, count=2)
    load.start(crew.base_url)
    await load.until_answered(20)
    pids = crew.pids()
    await asyncio.to_thread(crew.kill)
    async with asyncio.timeout(20):
        while any(map(alive, pids.values())):  # noqa: ASYNC110 - they are nobody's children now
            await asyncio.sleep(0.05)
    await load.stop()
    assert len(crew.told("the supervisor is gone")) == 2
    assert [line for line in crew.told("stopped") if "worker" in line]
    assert not [path for path in (crew.folder / "journal").rglob("*") if path.is_file()], "the journals were delivered"


async def test_while_a_worker_fails_again_and_again_the_others_take_what_comes(
    stage: Stage, crews: Open, filed: list[Filed]
):
    crew = crews()
    for times in (1, 2):
        os.kill(crew.pids()[0], signal.SIGKILL)
        if times == 1:
            await crew.tells("worker ready", 2, worker=0)
    assert (await crew.tells("worker failing", worker=0))["next_in_s"] == 1
    for _ in range(15):
        assert (await fetch(crew.base_url, filed[0].native, stage.full | {"Range": "bytes=0-9"}))[0].status == 206
        assert len(crew.told("worker ready", worker=0)) == 2, "nobody has waited for the third"
    await crew.tells("worker ready", 3, worker=0)
    seen = len(crew.logs)
    for _ in range(60):
        await fetch(crew.base_url, filed[0].native, stage.full | {"Range": "bytes=0-9"})
    await until(lambda: {line["worker"] for line in crew.logs[seen:] if "request_id" in line} == {0, 1})


async def test_figures_of_all_workers_stand_on_one_page(stage: Stage, crews: Open, filed: list[Filed]):
    crew = crews(metrics={"port": 0})
    port = (await crew.tells("serving figures"))["port"]
    for _ in range(40):
        await fetch(crew.base_url, filed[0].native, stage.full | {"Range": "bytes=0-9"})
    figures = await settled(port, lambda now: now.sum("requests_total", status="206") >= 40)
    counts = figures.by("requests_total", "worker", status="206")
    assert (len(counts), sum(counts.values())) == (2, 40)
    os.kill(crew.pids()[1], signal.SIGKILL)
    await crew.tells("worker exited", worker=1)
    text = (await fetch(f"http://127.0.0.1:{port}", "/metrics"))[1].decode()
    assert 'recording_gateway_worker_up{worker="1"} 0' in text


async def test_a_worker_is_replaced_and_gives_its_figures_though_the_folder_of_their_sockets_was_tidied_away(
    crews: Open,
):
    crew = crews(metrics={"port": 0})
    port = (await crew.tells("serving figures"))["port"]
    await crew.tells("serving")
    worker = crew.pids()[1]
    environment = Path(f"/proc/{worker}/environ").read_text().split("\0")
    (place,) = (each.partition("=")[2] for each in environment if each.startswith(f"{SOCKET}="))
    shutil.rmtree(Path(place).parent)
    os.kill(worker, signal.SIGKILL)
    await crew.tells("worker ready", 2, worker=1)
    await settled(port, lambda now: now.sum("worker_up", worker="1") == 1)
