"""The stores that the contract is tried on, and a server's TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from parts.canned_s3 import CANNED, Open
from parts.certificates import server_context
from parts.gcs import GcsStub
from parts.labs import QUICK, DiskLab, GcsEmulatorLab, GcsStubLab, Lab, S3Lab

from gateway.config import Origin, S3Store
from gateway.stores.s3 import S3

EVERY = ("s3", "gcs-emulator", "gcs", "disk")


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context for localhost; a reader trusts it by what the environment says."""
    context, _ = server_context(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    for bundle in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(bundle, raising=False)
    return context


@pytest.fixture
async def stub() -> AsyncIterator[GcsStub]:
    async with GcsStub() as running:
        yield running


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """Stores that are closed afterwards: of settings, or with ``url`` of a canned server."""
    async with AsyncExitStack() as lifetimes:

        async def one(settings: S3Store | None = None, *, url: str = "", origin: Origin = QUICK, **changes: Any) -> S3:
            settings = settings or S3Store.model_validate(CANNED | {"endpoint": url} | changes)
            store = await S3.connect("lab", settings, origin)
            lifetimes.push_async_callback(store.close)
            return store

        yield one


@pytest.fixture(params=EVERY)
async def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Each store in turn; a test that needs less says which, as ``parametrize("lab", [...], indirect=True)``."""
    async with AsyncExitStack() as lifetimes:
        match request.param:
            case "s3":
                yield S3Lab(request.getfixturevalue("s3"), lifetimes)
            case "gcs-emulator":
                yield GcsEmulatorLab(request.getfixturevalue("gcs"), lifetimes)
            case "gcs":
                yield GcsStubLab(await lifetimes.enter_async_context(GcsStub()), lifetimes)
            case "disk":
                yield DiskLab(tmp_path_factory.mktemp("recordings"), lifetimes)
