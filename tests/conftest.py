"""Fixtures of real parts, one section each."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from parts.clock import Clock
from parts.gcs import GcsEmulator
from parts.postgres import Databases, StoppablePostgres
from parts.redis import StoppableRedis
from parts.s3 import SeaweedS3

from gateway.config import Database
from gateway.demo import ports
from gateway.postgres import Pool, open_pool

# --- examples made up ------------------------------------------------------------------------------------------------

# Neither a busy machine nor chance fails a run; --hypothesis-profile=default looks at other examples each time.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# --- ports -----------------------------------------------------------------------------------------------------------

# Ports stand empty for as long as a test has its server away: workers beside this one look for theirs elsewhere, and so
# do the demos that tests start.
_worker, _workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
ports.UNGIVEN = range(10_000, 20_000)[int(_worker.removeprefix("gw")) :: int(_workers)]


# --- the event loop --------------------------------------------------------------------------------------------------


@pytest.fixture
async def untold() -> list[Any]:
    """What was left to the loop's own handler."""
    contexts: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called the system gives this process none."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


# --- Postgres -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        metavar="URL",
        default=os.environ.get("TEST_POSTGRES_URL"),
        help="superuser's URL of a server to make the tests' databases on; without it one is started from a wheel",
    )
    parser.addoption(
        "--faults",
        metavar="N",
        type=int,
        default=40,
        help="bodies broken at random offsets, for each store that is reached by HTTP; 1000 for the long run",
    )
    parser.addoption(
        "--crashes", metavar="N", type=int, default=4, help="times a process is killed -9; 100 for the long run"
    )
    parser.addoption(
        "--outage",
        metavar="S",
        type=float,
        default=5,
        help="seconds that Postgres is away under load; 300 for the long run",
    )
    parser.addoption(
        "--timings", metavar="N", type=int, default=1500, help="public refusals timed; 10000 for the long run"
    )
    parser.addoption(
        "--isolation", metavar="N", type=int, default=2500, help="random requests; 100000 or more for the long run"
    )
    parser.addoption(
        "--schemathesis",
        metavar="N",
        type=int,
        default=2,
        help="requests generated for each operation of each surface, beside those that cover its parameters; 500 for the"
        " long run",
    )
    parser.addoption(
        "--twins",
        metavar="N",
        type=int,
        default=800,
        help="random requests to a gateway with zero copy and one without; 10000 for the long run",
    )
    parser.addoption("--departures", metavar="N", type=int, default=100, help="clients that leave in mid-body")
    parser.addoption("--revocations", metavar="N", type=int, default=100, help="links revoked; 2000 for the long run")
    parser.addoption(
        "--slow-readers", metavar="N", type=int, default=100, help="slow readers at once; 1000 for the long run"
    )


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """A superuser's URL of a server that lives as long as the session."""
    given: str | None = request.config.getoption("--postgres")
    if given is not None:
        yield given
        return
    server = StoppablePostgres()
    try:
        server.start()
        yield server.url(tcp=False)
    finally:
        server.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def databases(postgres: str) -> AsyncIterator[Databases]:
    """Makes databases on that server, for a test that needs several or an empty one."""
    made = Databases(postgres)
    yield made
    await made.close()


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The URL of a migrated database of the test's own, with no rows in it."""
    url = await databases.create()
    yield url
    await databases.drop(url)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    pool = await open_pool(Database(url=database))
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def _stoppable_postgres() -> Iterator[StoppablePostgres]:
    server = StoppablePostgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def stoppable_postgres(_stoppable_postgres: StoppablePostgres) -> Iterator[StoppablePostgres]:
    """A server on TCP, apart from the one that other tests use: running at first, to be stopped and frozen at will."""
    if not _stoppable_postgres.running:
        _stoppable_postgres.start()
    yield _stoppable_postgres
    if _stoppable_postgres.running:
        _stoppable_postgres.resume()


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- Redis ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _redis() -> Iterator[StoppableRedis]:
    server = StoppableRedis()
    yield server
    server.close()


@pytest.fixture
def redis(_redis: StoppableRedis) -> StoppableRedis:
    """A server of the tests' own, empty: running at first, to be killed and frozen at will."""
    if _redis.running:
        _redis.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        _redis.ask("FLUSHALL")
    else:
        _redis.start()
    return _redis


# --- stores ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3() -> Iterator[SeaweedS3]:
    """A real S3 with one bucket, which lives as long as the session. A test picks keys of its own."""
    server = SeaweedS3()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsEmulator]:
    """The GCS emulator with one bucket, which lives as long as the session."""
    server = GcsEmulator()
    try:
        server.start()
        yield server
    finally:
        server.close()
