"""One running gateway for all end-to-end tests, with an S3, a GCS and a folder behind it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

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

# --- both ways ------------------------------------------------------------------------------------------------------

WAYS = {"zero-copy": True, "portable": False}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says ``BOTH_WAYS = True`` is run with server.zero_copy and server.repeats on and off."""
    if "zero_copy" in metafunc.fixturenames and getattr(metafunc.module, "BOTH_WAYS", False):
        metafunc.parametrize("zero_copy", list(WAYS.values()), ids=list(WAYS), indirect=True, scope="session")


@pytest.fixture(scope="session")
def zero_copy(request: pytest.FixtureRequest) -> bool:
    """Of the gateways that a test talks to."""
    way: bool = getattr(request, "param", True)
    return way


@pytest.fixture(scope="session")
def _made(zero_copy: bool, _made_each_way: dict[bool, dict[str, Any]]) -> dict[str, Any]:
    """What the fixtures below have made this way: tests change ways, and what lives as long as the session is made once."""
    return _made_each_way[zero_copy]


@pytest.fixture(scope="session")
def _made_each_way() -> dict[bool, dict[str, Any]]:
    return {way: {} for way in WAYS.values()}


# --- gateways -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shelved(s3: SeaweedS3, gcs: GcsEmulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shelf]:
    """The three stores, by the names that gateways here know them by."""
    return shelves(s3, gcs, tmp_path_factory.mktemp("disk"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _stages(
    databases: Databases, shelved: dict[str, Shelf], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[bool], Awaitable[Stage]]]:
    opened: dict[bool, Stage] = {}

    async def stage(zero_copy: bool) -> Stage:
        if zero_copy not in opened:
            sections = {"server": {"zero_copy": zero_copy, "repeats": zero_copy}}
            opened[zero_copy] = Stage(await databases.create(), shelved, tmp_path_factory.mktemp("stage"), sections)
            await opened[zero_copy].open()
        return opened[zero_copy]

    try:
        yield stage
    finally:
        for made in opened.values():
            made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(zero_copy: bool, _stages: Callable[[bool], Awaitable[Stage]]) -> Stage:
    """A gateway with its stores s3, gcs and disk. Tests share it: each makes its own calls, and restarts nothing."""
    return await _stages(zero_copy)


@pytest.fixture(scope="session")
def doors(stage: Stage, _made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """A gateway, impatient with its stores, that reaches them over proxies that a test puts up."""
    if "doors" not in _made:
        _made["doors"] = Doors.open(stage, tmp_path_factory.mktemp("behind-doors"), origin=IMPATIENT)
    opened: Doors = _made["doors"]
    return opened


@dataclass(frozen=True)
class Brittle:
    """A gateway of its own whose Postgres may be stopped; it runs again for the next test."""

    stage: Stage
    postgres: StoppablePostgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _brittle_stage(
    _stoppable_postgres: StoppablePostgres,
    shelved: dict[str, Shelf],
    tmp_path_factory: pytest.TempPathFactory,
    zero_copy: bool,
) -> AsyncIterator[Stage]:
    if not _stoppable_postgres.running:
        _stoppable_postgres.start()
    url = await Databases(_stoppable_postgres.url()).create()
    made = Stage(url, shelved, tmp_path_factory.mktemp("brittle"), {"server": {"zero_copy": zero_copy}})
    try:
        await made.open(audit={"retry_max_s": 0.5})
        yield made
    finally:
        if not _stoppable_postgres.running:
            _stoppable_postgres.start()
        made.close()


def _listening(stage: Stage) -> bool:
    """Whether the gateway hears of changes again: as it begins to, it forgets what it knew."""
    told = [line["event"] for line in list(stage.house.logs) if str(line.get("event")).startswith("catalog.listen")]
    return told[-1:] == ["catalog.listening"]


@pytest.fixture
def brittle(_brittle_stage: Stage, stoppable_postgres: StoppablePostgres) -> Brittle:
    """Ready when the test begins."""
    end = time.monotonic() + 20
    while _brittle_stage.house.get("/readyz")[0] != 200 or not _listening(_brittle_stage):
        assert time.monotonic() < end, "the gateway did not find its Postgres again"
        time.sleep(0.05)  # it is the gateway that finds it, and tells nobody
    return Brittle(_brittle_stage, stoppable_postgres)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calls(stage: Stage, _made: dict[str, Any]) -> Calls:
    """A call in each state that the contracts know."""
    if "calls" not in _made:
        _made["calls"] = await Calls.made(stage)
    made: Calls = _made["calls"]
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cast(stage: Stage, _made: dict[str, Any]) -> Cast:
    """A call in each state on every surface, and credentials of every kind for each."""
    if "cast" not in _made:
        _made["cast"] = await Cast.made(stage)
    made: Cast = _made["cast"]
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def wary(stage: Stage, _made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Wary:
    """A gateway with short deadlines that believes one issuer; a call of its tenant, and one of another's."""
    if "wary" not in _made:
        _made["wary"] = await Wary.made(stage, tmp_path_factory.mktemp("issuer"))
    made: Wary = _made["wary"]
    return made


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
