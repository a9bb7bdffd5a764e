"""A pipeline over a folder and over a real S3."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from parts.labs import DiskLab, Lab, S3Lab, store_of
from parts.pipeline import Meddled, Works
from pydantic import SecretStr

from gateway.catalog.registry import Registry
from gateway.catalog.store import PostgresCatalog
from gateway.config import Database
from gateway.lifecycle.pipeline import Pipeline
from gateway.postgres import open_pool


@pytest.fixture(params=["disk", "s3"])
async def works(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[Works]:
    """Over each store in turn; a test that needs one only says ``parametrize("works", ["disk"], indirect=True)``."""
    async with AsyncExitStack() as lifetimes:
        lab: Lab = DiskLab(tmp_path, lifetimes)
        if request.param == "s3":
            lab = S3Lab(request.getfixturevalue("s3"), lifetimes)
        settings = Database(url=SecretStr(database))
        pool = await open_pool(settings)
        lifetimes.push_async_callback(pool.close)
        catalog = PostgresCatalog(pool, settings)
        lifetimes.push_async_callback(catalog.close)
        registry = Registry(pool, settings)
        tenant = (await registry.create_tenant("acme", "Acme")).id
        store = Meddled(await store_of(lab))
        pipeline = Pipeline({"main": store}, registry, catalog)
        yield Works(pipeline, registry, catalog, lab, store, tenant, database, uuid4().hex)
