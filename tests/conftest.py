"""Fixtures of real parts, one section each."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from parts.postgres import Databases, StoppablePostgres

# --- Postgres -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        metavar="URL",
        default=os.environ.get("TEST_POSTGRES_URL"),
        help="superuser's URL of a server to make the tests' databases on; without it one is started from a wheel",
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
def stoppable_postgres() -> Iterator[StoppablePostgres]:
    """A running server for this test alone, to be stopped and frozen at will."""
    server = StoppablePostgres()
    try:
        server.start()
        yield server
    finally:
        server.close()
