"""A journal on a real disk whose system calls can be made to fail, and the sink that it is shipped to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from parts.audit import FaultyFiles, House, Make, settings

from gateway.audit.postgres import PostgresSink
from gateway.postgres import Pool


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
async def house(tmp_path: Path, files: FaultyFiles) -> AsyncIterator[Make]:
    """Makes a House, with settings as keywords; its journal is closed after the test."""
    async with AsyncExitStack() as stack:

        async def make(**values: Any) -> House:
            made = House(settings(tmp_path / "journal", **values), files)
            await made.journal.start()
            stack.push_async_callback(made.journal.close)
            stack.callback(files.gate.set)
            return made

        yield make


@pytest.fixture
def sink(pool: Pool) -> PostgresSink:
    return PostgresSink(pool)
