"""One running gateway for all end-to-end tests, with an S3, a GCS and a folder behind it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from parts.gcs import GcsEmulator
from parts.postgres import Databases
from parts.s3 import SeaweedS3
from parts.stage import Shelf, Stage, shelves


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
