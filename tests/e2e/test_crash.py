"""Whatever is killed, full or away: what a client saw is in Postgres afterwards, exactly once."""

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from parts.disks import small_disk
from parts.house import House
from parts.listeners import Listeners
from parts.postgres import Databases, StoppablePostgres
from parts.stage import Shelf, Stage

BOTH_WAYS = True

pytestmark = pytest.mark.timeout(1800)

OBJECT = 300_000
AUDIT = {"adopt_interval_s": 0.5, "retry_max_s": 0.5}
DATABASE = {"connect_s": 1, "query_s": 1}


@asynccontextmanager
async def staged(
    server: StoppablePostgres, shelved: dict[str, Shelf], folder, *, zero_copy=True, **sections
) -> AsyncIterator[tuple[Stage, Listeners]]:
    """A gateway on a Postgres of its own, and listeners that have begun."""
    databases = Databases(server.url())
    stage = Stage(await databases.create(), {"disk": shelved["disk"]}, folder)
    await databases.close()
    url = stage.database_url
    try:
        house = await stage.open(
            server={"zero_copy": zero_copy, "repeats": zero_copy},
            database={"url": url, **DATABASE},
            audit=AUDIT | sections.pop("audit", {}),
            **sections,
        )
        paths = []
        for seed in range(4):
            filed = await stage.file("disk", random.Random(seed).randbytes(OBJECT))
            paths += [filed.native, filed.yotel, filed.yotel.removesuffix("/audio")]
        listeners = Listeners(stage.full, paths)
        listeners.start(house.base_url)
        yield stage, listeners
        await listeners.stop()
    finally:
        stage.close()


async def recorded(stage: Stage, seen: dict[str, int], within_s: float = 60) -> None:
    """Waits until Postgres has an event with its outcome for all of ``seen``; none may be there twice."""
    async with asyncio.timeout(within_s):
        while True:
            rows = await stage.office.rows(
                "SELECT request_id, count(*) AS events, count(result) AS ended, max(bytes_sent) AS sent, max(result) AS result"
                " FROM accesses GROUP BY request_id"
            )
            by_id = {row["request_id"]: row for row in rows}
            if seen.keys() <= by_id.keys() and all(row["ended"] == row["events"] for row in rows):
                break
            await asyncio.sleep(0.2)
    assert {row["events"] for row in rows} == {1}
    for name, came in seen.items():
        row = by_id[name]
        if row["result"] in {"complete", "client_gone"} and row["sent"]:
            assert row["sent"] >= came, "more came than was recorded"


async def test_every_access_outlives_kill_9_at_any_moment(
    stoppable_postgres: StoppablePostgres,
    shelved: dict[str, Shelf],
    tmp_path,
    zero_copy,
    request: pytest.FixtureRequest,
):
    """Postgres is up, stopped and frozen in turn while the gateway is killed."""
    chance, crashes = random.Random(9), max(request.config.getoption("--crashes") // 2, 3)  # half of them each way
    async with staged(stoppable_postgres, shelved, tmp_path, zero_copy=zero_copy) as (stage, listeners):
        house = stage.house
        for crash in range(crashes):
            await listeners.until_served(3)
            match crash % 3:
                case 1:
                    await asyncio.to_thread(stoppable_postgres.stop)
                case 2:
                    stoppable_postgres.pause()
            await listeners.until_answered()  # a gateway that just started may hold nothing in its memory yet
            await asyncio.sleep(chance.uniform(0, 0.3))  # at any moment: that is the test
            house.kill()
            if crash % 3 == 2:
                stoppable_postgres.resume()
            await asyncio.to_thread(house.start)
            await listeners.stop()
            if crash % 3 == 1:
                await asyncio.to_thread(stoppable_postgres.start)
            listeners.seed += 100
            listeners.start(house.base_url)
        await listeners.until_served(3)
        await listeners.stop()
        await recorded(stage, listeners.seen)
        results = Counter(row["result"] for row in await stage.office.rows("SELECT result FROM accesses"))
        print(f"\n{crashes} crashes, {len(listeners.seen)} accesses seen, {dict(results)}")
        assert len(listeners.seen) > crashes * 4


async def test_an_outage_of_postgres_is_outlived_and_drained(
    stoppable_postgres: StoppablePostgres, shelved: dict[str, Shelf], tmp_path, request: pytest.FixtureRequest
):
    seconds = request.config.getoption("--outage")
    async with staged(stoppable_postgres, shelved, tmp_path) as (stage, listeners):
        await listeners.until_served(50)
        await asyncio.to_thread(stoppable_postgres.stop)
        before = len(listeners.seen)
        await asyncio.sleep(seconds)
        during = len(listeners.seen) - before
        await asyncio.to_thread(stoppable_postgres.start)
        await listeners.until_served(5)
        await listeners.stop()
        await recorded(stage, listeners.seen, within_s=60 + seconds)
        print(
            f"\nPostgres away for {seconds} s: {during} accesses meanwhile, all recorded; refused: {listeners.refused}"
        )
        assert during > seconds * 10
        assert not listeners.refused


async def test_a_full_journal_refuses_every_byte_and_recovers(
    stoppable_postgres: StoppablePostgres, shelved: dict[str, Shelf], tmp_path, zero_copy
):
    """The bound is reached because Postgres is away: 503 with Retry-After until it is back."""
    bound = {"journal_bytes": 100_000, "segment_bytes": 20_000}
    async with staged(stoppable_postgres, shelved, tmp_path, zero_copy=zero_copy, audit=bound) as (stage, listeners):
        await listeners.until_served(20)
        await asyncio.to_thread(stoppable_postgres.stop)
        await until_refused(stage)
        await listeners.stop()
        await asyncio.to_thread(take_what_room_is_left, stage, listeners)
        await refused_without_a_byte(stage, listeners)
        await asyncio.to_thread(stoppable_postgres.start)
        listeners.start(stage.house.base_url)
        async with asyncio.timeout(30):
            await listeners.until_served(10)
        await listeners.stop()
        await recorded(stage, listeners.seen)


async def until_refused(stage: Stage) -> None:
    """Returns once readiness says that the journal takes nothing more."""
    async with asyncio.timeout(60):
        while b'"journal":"unavailable"' not in (await asyncio.to_thread(stage.house.get, "/readyz"))[1]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def take_what_room_is_left(stage: Stage, listeners: Listeners) -> None:
    """Those under way as it became full kept more room for their ends than they took."""
    while any([stage.house.get(path, stage.full)[0] != 503 for path in listeners.paths]):  # noqa: C419 - each is asked
        pass


async def refused_without_a_byte(stage: Stage, listeners: Listeners) -> None:
    for path in listeners.paths:
        process = await asyncio.create_subprocess_exec(
            "curl", "-s", "-i", "-H", f"Authorization: {stage.full['Authorization']}", stage.house.base_url + path,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        head, _, body = (await process.communicate())[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503"), head
        assert b"\r\nRetry-After: " in head
        assert b"\r\nCache-Control: no-store" in head
        assert len(body) < 500
        assert b"url" not in body


@contextmanager
def limited(folder: Path) -> Iterator[tuple[Path, Callable[[House], None], Callable[[House], None]]]:
    """The kernel's limit on the size of a file: anybody may set it on a process of his own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(house: House) -> None:
        resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (512, before[1]))

    def free(house: House) -> None:
        resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, before)

    yield folder / "journal", fill, free


@contextmanager
def small(_folder: Path) -> Iterator[tuple[Path, Callable[[House], None], Callable[[House], None]]]:
    """A disk that is full: for whoever may mount one."""
    with small_disk() as disk:
        yield disk.path / "journal", lambda _house: disk.fill(), lambda _house: disk.free()


@pytest.mark.parametrize("disk", [limited, small] if os.geteuid() == 0 else [limited])
async def test_a_full_disk_refuses_every_byte_and_recovers(
    stoppable_postgres: StoppablePostgres, shelved: dict[str, Shelf], tmp_path, disk
):
    with disk(tmp_path) as (journal, fill, free):
        audit = {"journal_dir": str(journal), "segment_bytes": 10_000}
        async with staged(stoppable_postgres, shelved, tmp_path, audit=audit) as (stage, listeners):
            await listeners.until_served(20)
            await asyncio.to_thread(stoppable_postgres.stop)  # or what was shipped would leave room
            fill(stage.house)
            await until_refused(stage)
            await listeners.stop()
            await refused_without_a_byte(stage, listeners)
            free(stage.house)
            await asyncio.to_thread(stoppable_postgres.start)
            listeners.start(stage.house.base_url)
            async with asyncio.timeout(30):
                await listeners.until_served(10)
            await listeners.stop()
            await recorded(stage, listeners.seen)


async def test_a_clean_stop_leaves_nothing_behind(
    stoppable_postgres: StoppablePostgres, shelved: dict[str, Shelf], tmp_path, zero_copy
):
    async with staged(stoppable_postgres, shelved, tmp_path, zero_copy=zero_copy) as (stage, listeners):
        await listeners.until_served(100)
        stage.house.signal(signal.SIGTERM)
        assert await asyncio.to_thread(stage.house.stop) == 0
        await listeners.stop()
        journal = stage.house.folder / "journal"
        assert not [
            path for path in journal.rglob("*") if path.is_file() and path.stat().st_size and path.suffix != ".lock"
        ]
        await recorded(stage, listeners.seen)
