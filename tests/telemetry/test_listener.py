"""The listener for figures, at a port and at a path."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.web_protocol import RequestHandler
from parts.audit import until
from parts.figures import some_figures
from parts.pouring import descriptors, no_descriptor_left
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from gateway import listening
from gateway.config import ConfigError, Metrics
from gateway.telemetry import listener
from gateway.telemetry.listener import CONTENT_TYPE, PATIENCE_S, SOCKET, fetch_page, merged_page, serve_page
from gateway.telemetry.served import serve_figures

TEXT = "# HELP recording_gateway_x X.\n# TYPE recording_gateway_x gauge\nrecording_gateway_x 1.0\n"


async def a_page() -> bytes:
    return TEXT.encode()


async def test_the_page_is_there_and_nothing_else():
    async with serve_page(a_page) as port, ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/metrics?name[]=x") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
            assert await answer.text() == TEXT
        async with session.head("/metrics") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(TEXT)))
            assert await answer.read() == b""
        async with session.post("/metrics") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        for path in ("/", "/healthz", "/metrics/", "/v1/recordings", "/METRICS"):
            async with session.get(path) as answer:
                assert answer.status == 404


async def test_who_does_not_ask_is_closed_and_who_has_asked_may_ask_again(monkeypatch: pytest.MonkeyPatch):
    """Or whoever reaches the port could take all descriptors, those of the surfaces' clients among them."""
    monkeypatch.setattr(listener, "_ASK_S", 0.2)
    ask = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serve_page(a_page) as port:
        (asked, asking), (slow, dripping), (quiet, mute) = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(3)
        ]
        dripping.write(ask[:-2])
        asking.write(ask)
        assert (await asyncio.wait_for(asked.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 404")
        assert await asyncio.wait_for(slow.read(), 5) == b""
        assert await asyncio.wait_for(quiet.read(), 5) == b""
        asking.write(ask)
        assert (await asyncio.wait_for(asked.readuntil(b"\r\n\r\n"), 5)).endswith(b"\r\n\r\n")
        for writer in (asking, dripping, mute):
            writer.close()


async def test_nothing_is_kept_of_who_has_left_without_asking():
    gone: asyncio.Queue[int] = asyncio.Queue()

    class Server(listener._Server):
        def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
            super().connection_lost(handler, exc)
            gone.put_nowait(len(self._silent))

    serving = await asyncio.get_running_loop().create_server(Server(a_page), "127.0.0.1", 0)
    async with serving:
        (await asyncio.open_connection(*serving.sockets[0].getsockname()))[1].close()
        assert await asyncio.wait_for(gone.get(), 5) == 0


async def test_a_port_that_is_taken_is_refused_by_its_key():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"metrics\.port: cannot listen on 127\.0\.0\.1:{port}: Address already"):
            async with serve_page(a_page, port=port):
                pytest.fail("it listens")


async def test_a_port_that_is_taken_at_the_same_moment_is_refused_by_its_key(monkeypatch: pytest.MonkeyPatch):
    """Two may bind it, and the first who listens has it."""
    bound = listener._bound
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        async def both(host: str, port: int) -> list[socket.socket]:
            sockets = await bound(host, port)
            other.bind(sockets[0].getsockname())
            other.listen()
            return sockets

        monkeypatch.setattr(listener, "_bound", both)
        before = descriptors()
        with pytest.raises(ConfigError, match=r"metrics\.port: .* in use"):
            async with serve_page(a_page):
                pytest.fail("it listens")
        assert descriptors() == before


@pytest.mark.parametrize("beneath", [None, "0.sock"])
async def test_who_scrapes_while_no_descriptor_is_left_has_the_page_afterwards_and_the_log_a_line_of_it(
    tmp_path: Path, untold: list[Any], monkeypatch: pytest.MonkeyPatch, beneath: str | None
):
    monkeypatch.setattr(listening, "REST_S", 0.01)
    path = None if beneath is None else tmp_path / beneath
    with capture_logs() as logs:
        async with serve_page(a_page, path=path) as port:
            with socket.socket(socket.AF_INET if path is None else socket.AF_UNIX) as scraper:
                scraper.connect(("127.0.0.1", port) if path is None else str(path))
                scraper.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                scraper.setblocking(False)
                with no_descriptor_left():
                    await until(lambda: bool(logs))
                async with asyncio.timeout(20):
                    assert (await asyncio.get_running_loop().sock_recv(scraper, 100)).startswith(b"HTTP/1.1 200")
    assert [line["event"] for line in logs] == ["no connection taken", "connections taken again"]
    assert not untold


async def test_a_worker_serves_at_a_path_where_a_dead_one_has_left_its_socket(tmp_path: Path):
    path = tmp_path / "0.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serve_page(a_page, path=path):
        assert await fetch_page(path) == TEXT
    with pytest.raises(OSError):  # noqa: PT011  whichever
        await fetch_page(path)


async def test_a_successor_at_the_same_path_is_heard_when_the_first_one_ends(tmp_path: Path):
    path = tmp_path / "0.sock"
    first = serve_page(a_page, path=path)
    await first.__aenter__()

    async def another() -> bytes:
        return b"another"

    async with serve_page(another, path=path):
        await first.__aexit__(None, None, None)
        assert await fetch_page(path) == "another"


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def saying(answer: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return say


async def test_workers_that_give_no_page_are_told_as_down_and_keep_nobody_waiting(tmp_path: Path):
    paths = {name: tmp_path / f"{name}.sock" for name in ("0", "1", "2", "3", "4")}
    hangs = await asyncio.start_unix_server(silent, paths["1"])
    fails = await asyncio.start_unix_server(
        saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), paths["2"]
    )
    mumbles = await asyncio.start_unix_server(
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n\xff\xfe{ }"), paths["3"]
    )
    async with hangs, fails, mumbles, serve_page(a_page, path=paths["0"]):
        begun = time.monotonic()
        page = (await merged_page(paths)).decode()
        assert time.monotonic() - begun < PATIENCE_S * 2
    families = {family.name: family.samples for family in text_string_to_metric_families(page)}
    up = {sample.labels["worker"]: sample.value for sample in families["recording_gateway_worker_up"]}
    assert up == {"0": 1, "1": 0, "2": 0, "3": 0, "4": 0}
    assert [(sample.labels, sample.value) for sample in families["recording_gateway_x"]] == [({"worker": "0"}, 1.0)]


async def test_figures_are_served_where_the_supervisor_says_and_only_where_a_port_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "0.sock"
    monkeypatch.setenv(SOCKET, str(path))
    async with serve_figures(Metrics(), some_figures()):
        assert not path.exists()
    with socket.create_server(("127.0.0.1", 0)) as supervisors:
        async with serve_figures(Metrics(port=supervisors.getsockname()[1]), some_figures()):
            assert "recording_gateway_build_info" in await fetch_page(path)


async def test_a_worker_whose_figures_have_no_place_serves_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "gone" / "0.sock"
    monkeypatch.setenv(SOCKET, str(path))
    with capture_logs() as logs:
        async with serve_figures(Metrics(port=0), some_figures()):
            assert not path.exists()
    assert [(line["event"], line["path"]) for line in logs] == [("no figures", str(path))]
