"""Whatever is killed, and whenever: what was acknowledged is in Postgres afterwards, once, with one outcome."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from parts.audit import until
from parts.crash import crash, settled, workers
from parts.postgres import Databases, StoppablePostgres

from gateway.audit.folders import folders_of

RATE = 400
REPLICAS = 2


@pytest.mark.timeout(0)  # as long as it is asked to be; bounded below
async def test_every_acknowledged_access_survives_every_crash(
    stoppable_postgres: StoppablePostgres,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    crashes: int = request.config.getoption("--crashes")
    url = await Databases(stoppable_postgres.url()).create()
    journal = tmp_path / "journal"
    async with AsyncExitStack() as stack, asyncio.timeout(60 + 10 * crashes):
        victims = workers(stack, journal, url, count=REPLICAS, rate=RATE)
        counted = await crash(victims, stoppable_postgres, crashes=crashes, seed=crashes)
        assert [await victim.stop() for victim in victims] == [0] * REPLICAS
        left = folders_of(journal)
        last = workers(stack, journal, url, count=1, rate=0)[0]
        await last.start()
        seen = [event for victim in victims for event in victim.seen]
        tally = await settled(url, seen, within_s=30)
        assert await last.stop() == 0
    sys.stdout.write(
        f"\n{dict(counted)} crashes; {tally.seen} acknowledged, {tally.events} in Postgres, {dict(tally.results)}\n"
    )
    assert tally.seen > crashes
    assert (tally.missing, tally.twice, tally.unended) == ([], 0, 0)
    assert tally.results["interrupted"] > 0
    assert folders_of(journal) == [], f"adopted at the start of the last: {left}"
    assert not (journal / "quarantine" / "refused.jsonl").exists()


@pytest.mark.timeout(0)  # as long as it is asked to be; bounded below
async def test_an_outage_of_postgres_is_survived_and_drained(
    stoppable_postgres: StoppablePostgres, tmp_path: Path, request: pytest.FixtureRequest
):
    seconds: float = request.config.getoption("--outage")
    url = await Databases(stoppable_postgres.url()).create()
    async with AsyncExitStack() as stack, asyncio.timeout(120 + 3 * seconds):
        worker = workers(stack, tmp_path / "journal", url, count=1, rate=RATE)[0]
        await worker.start()
        before = worker.progress()
        await asyncio.to_thread(stoppable_postgres.stop)
        await asyncio.sleep(seconds)  # the outage
        during = worker.progress() - before
        deepest = worker.depths[-1]
        await asyncio.to_thread(stoppable_postgres.start)
        back = asyncio.get_running_loop().time()
        await until(lambda: worker.depths[-1]["waiting_records"] < RATE, within_s=60 + seconds)
        drained = asyncio.get_running_loop().time() - back
        assert await worker.stop() == 0
        tally = await settled(url, worker.seen)
    sys.stdout.write(
        f"\n{seconds:g} s without Postgres: {during} accesses acknowledged meanwhile, {deepest['waiting_records']} records"
        f" ({deepest['waiting_bytes'] / 1e6:.1f} MB) waited, drained {drained:.1f} s after its return\n"
    )
    assert during > seconds * RATE * 0.1, "it goes on, as fast as the machine lets it"
    assert (tally.missing, tally.twice, tally.unended) == ([], 0, 0)
    assert tally.results["interrupted"] == 0
    assert deepest["oldest_s"] >= seconds - 2
