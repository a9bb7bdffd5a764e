"""The stores that the contract is tried on, and a server's TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from parts.certificates import server_context
from parts.gcs import GcsStub
from parts.labs import DiskLab, GcsEmulatorLab, GcsStubLab, Lab, S3Lab

EVERY = ("s3", "gcs-emulator", "gcs", "disk")


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context for localhost; a reader trusts it by what the environment says."""
    context, _ = server_context(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    return context


@pytest.fixture
async def stub() -> AsyncIterator[GcsStub]:
    async with GcsStub() as running:
        yield running


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
