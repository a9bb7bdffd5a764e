"""Answers at exact moments."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.edge import evenly


async def test_a_system_that_gives_no_more_threads_keeps_the_moment_to_the_millisecond(
    monkeypatch: pytest.MonkeyPatch, no_more_threads: Callable[[], None]
):
    monkeypatch.setattr(evenly, "_THREADS", ThreadPoolExecutor(1))
    no_more_threads()
    begun = time.monotonic()
    await evenly.until_multiple(0.02, asyncio.get_running_loop().time())
    assert time.monotonic() - begun >= 0.0199
