"""One running gateway for all end-to-end tests, with an S3, a GCS and a folder behind it."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from parts.calls import Calls
from parts.contracts import Cast
from parts.doors import IMPATIENT, Doors
from parts.gcs import GcsEmulator
from parts.hooks import Hooks, hooked
from parts.postgres import Databases, StoppablePostgres
from parts.s3 import SeaweedS3
from parts.stage import Shelf, Stage, shelves
from parts.wary import Wary


@pytest.fixture(scope="session")
def shelved(s3: SeaweedS3, gcs: GcsEmulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shelf]:
    """The three stores, by the names that gateways here know them by."""
    return shelves(s3, gcs, tmp_path_factory.mktemp("disk"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(
    databases: Databases, shelved: dict[str, Shelf], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """A gateway with its stores s3, gcs and disk. Tests share it: each makes its own calls, and restarts nothing."""
    made = Stage(await databases.create(), shelved, tmp_path_factory.mktemp("stage"))
    try:
        await made.open()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def doors(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """A gateway, impatient with its stores, that reaches them over proxies that a test puts up."""
    return Doors.open(stage, tmp_path_factory.mktemp("behind-doors"), origin=IMPATIENT)


@dataclass(frozen=True)
class Brittle:
    """A gateway of its own whose Postgres may be stopped; it runs again for the next test."""

    stage: Stage
    postgres: StoppablePostgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _brittle_stage(
    _stoppable_postgres: StoppablePostgres, shelved: dict[str, Shelf], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    if not _stoppable_postgres.running:
        _stoppable_postgres.start()
    url = await Databases(_stoppable_postgres.url()).create()
    made = Stage(url, shelved, tmp_path_factory.mktemp("brittle"))
    try:
        await made.open(audit={"retry_max_s": 0.5})
        yield made
    finally:
        if not _stoppable_postgres.running:
            _stoppable_postgres.start()
        made.close()


@pytest.fixture
def brittle(_brittle_stage: Stage, stoppable_postgres: StoppablePostgres) -> Brittle:
    """Ready when the test begins."""
    end = time.monotonic() + 20
    while _brittle_stage.house.get("/readyz")[0] != 200:
        assert time.monotonic() < end, "the gateway did not find its Postgres again"
        time.sleep(0.05)  # it is the gateway that finds it, and tells nobody
    return Brittle(_brittle_stage, stoppable_postgres)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calls(stage: Stage) -> Calls:
    """A call in each state that the contracts know."""
    return await Calls.made(stage)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cast(stage: Stage) -> Cast:
    """A call in each state on every surface, and credentials of every kind for each."""
    return await Cast.made(stage)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def wary(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Wary:
    """A gateway with short deadlines that believes one issuer; a call of its tenant, and one of another's."""
    return await Wary.made(stage, tmp_path_factory.mktemp("issuer"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _hooks(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hooks]:
    folder = tmp_path_factory.mktemp("webhooks")
    async with hooked(await databases.create(), folder, folder) as made:
        yield made


@pytest.fixture
async def hooks(_hooks: Hooks) -> AsyncIterator[Hooks]:
    """A gateway with a quick schedule, and a tenant that has no webhook when a test begins."""
    yield _hooks
    for hook in (await _hooks.ask("GET", "/v1/webhooks")).json()["data"]:
        assert (await _hooks.ask("DELETE", f"/v1/webhooks/{hook['id']}")).status == 204
