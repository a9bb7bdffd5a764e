"""Answers at exact moments."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.edge import evenly


async def test_a_system_that_gives_no_more_threads_keeps_the_moment_to_the_millisecond(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(evenly, "_THREADS", ThreadPoolExecutor(1))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    begun = time.monotonic()
    await evenly.until_multiple(0.02, asyncio.get_running_loop().time())
    assert time.monotonic() - begun >= 0.0199
