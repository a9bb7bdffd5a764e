import asyncio
import re
import signal
import socket
from urllib.request import urlopen

import pytest
from parts.command import ended, process


def test_a_taken_port_is_said_to_be_taken(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command.settings["server"]["port"] = port
        done = command("serve")
    assert done.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert "server.port" in done.err


def test_two_mounts_that_collide_are_refused_naming_both(command):
    command.settings["mounts"] = [{"surface": "native"}, {"surface": "native", "prefix": "/"}]
    for words in (("serve",), ("config", "check")):
        done = command(*words)
        assert done.code == 78
        assert "mounts" in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_0(command, number):
    serving = await asyncio.to_thread(process, "-c", command.file, "serve")
    try:
        assert serving.stderr is not None
        line = await asyncio.to_thread(serving.stderr.readline)
        while '"serving"' not in line:
            assert line, "it ended before it served"
            line = await asyncio.to_thread(serving.stderr.readline)
        (url,) = re.findall(r'"url":"(http://[^"]+)"', line)
        with await asyncio.to_thread(urlopen, f"{url}/healthz") as answer:
            assert answer.status == 200
    finally:
        serving.send_signal(number)
        done = await asyncio.to_thread(ended, serving)
    assert (done.code, done.out) == (0, "")
