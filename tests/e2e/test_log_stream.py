"""What becomes of requests where nobody takes the log: its reader hangs, or has gone, or its disk is full."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.drinker import fetch
from parts.house import SERVE, House
from parts.stage import Stage

from gateway.demo.ports import free_ports
from gateway.logs.spool import EXIT_S

REQUESTS = 400
"""Their lines are more than a pipe holds."""
READY_S = 60.0


@pytest.fixture(params=["hangs", "gone", "full"])
def stream(request: pytest.FixtureRequest) -> Iterator[int]:
    """A descriptor to log to."""
    ends = [os.open("/dev/full", os.O_WRONLY)] if request.param == "full" else [*os.pipe()]
    if request.param == "gone":
        os.close(ends.pop(0))
    yield ends[-1]
    for end in ends:
        os.close(end)


async def test_where_nobody_takes_the_log_every_request_is_answered_as_ever_and_the_process_ends(
    stage: Stage, stream: int
) -> None:
    filed, missing = await stage.file("disk", b"audible"), await stage.file("disk", b"lost", key=f"gone-{stream}.wav")
    (Path(stage.stores["disk"]["root"]) / f"gone-{stream}.wav").unlink()
    (port,) = free_ports(1)
    folder = stage.folder / f"log-{port}"
    folder.mkdir()
    house = House(stage.database_url, stage.stores, stage.sections | {"server": {"port": port}}, folder)
    (folder / "journal").mkdir()
    process = subprocess.Popen([sys.executable, "-c", SERVE], env=house.environment(), cwd=folder, stderr=stream)
    try:
        url = f"http://127.0.0.1:{port}"
        await ready(url)
        answers = [await fetch(url, filed.native, stage.full) for _ in range(REQUESTS)]
        alarming, _ = await fetch(url, missing.native, stage.full)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        status = await asyncio.to_thread(process.wait, 20)
    finally:
        process.kill()
        process.wait()

    assert {(client.status, body) for client, body in answers} == {(200, b"audible")}
    assert (alarming.status, alarming.fields["content-type"]) == (404, "application/problem+json")
    assert status == 0
    assert time.monotonic() - begun < EXIT_S + 10


async def ready(url: str) -> None:
    """Until the gateway there says so."""
    async with asyncio.timeout(READY_S):
        while True:
            try:
                client, _ = await fetch(url, "/readyz")
            except ConnectionError:
                pass
            else:
                if client.status == 200:
                    return
            await asyncio.sleep(0.02)  # another process, whose log is what nobody takes here
