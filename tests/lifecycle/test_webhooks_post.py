"""One try at a real endpoint: to whom a connection is made, and what the log calls what came of it."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from parts.certificates import server_context, trusting
from parts.receiver import Answer, on_one_port, receiver
from parts.targets import LOOPBACK_SPELLED, MALFORMED, SPECIAL

from gateway.asks.webhooks import CreateEndpoint
from gateway.config import Database
from gateway.config import Webhooks as Settings
from gateway.errors import Malformed
from gateway.lifecycle.webhooks import Webhooks, post
from gateway.lifecycle.webhooks.guard import Forbidden, Guard, Target
from gateway.lifecycle.webhooks.post import Poster
from gateway.lifecycle.webhooks.resolving import CheckedResolver, Lookup, Resolve, Vetting

PUBLIC = "93.184.215.14"
SIGNED = {"webhook-id": "1"}


class Zone:
    """A DNS that gives its answers in turn, the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def posting(resolve: Resolve, trust: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Poster]:
    poster = Poster(quick(**settings), resolve, trust=trust)
    yield poster
    await poster.close()


def quick(**settings: Any) -> Settings:
    return Settings.model_validate({"allow_http": True, "connect_s": 0.5, "answer_s": 0.5, **settings})


async def test_no_spelling_of_what_is_not_public_is_connected_to():
    lookup = Lookup()
    async with on_one_port("127.0.0.1", "::1") as (four, six), posting(lookup) as poster:
        vet = Vetting(quick(), lookup)
        hosts = [*LOOPBACK_SPELLED, *SPECIAL, "localhost", "LOCALHOST", "localhost.", f"x@127.0.0.1:{four.port}"]
        urls = [f"{scheme}://{host}:{four.port}/hook" for host in hosts for scheme in ("http", "https")]
        for url in [*urls, *MALFORMED]:
            if not url.startswith("http://hooks.example.com"):  # plain HTTP is allowed here
                with pytest.raises(Forbidden):
                    await vet(url)
                tried = await poster.post(url, b"{}", SIGNED)
                assert (tried.status, tried.error) == (None, "address_forbidden"), url
        assert (four.connections, six.connections) == (0, 0)
    lookup.close()


async def test_a_name_that_is_public_when_vetted_and_loopback_when_used_is_not_connected_to():
    zone = Zone([PUBLIC], ["127.0.0.1"])
    async with on_one_port("127.0.0.1", "::1") as (four, six), posting(zone) as poster:
        url = f"http://rebinding.example:{four.port}/hook"
        await Vetting(quick(), zone)(url)
        assert (await poster.post(url, b"{}", SIGNED)).error == "address_forbidden"
        assert (four.connections, six.connections) == (0, 0)
    assert len(zone.asked) == 2


async def test_one_address_among_public_ones_spoils_a_name():
    async with on_one_port("127.0.0.1", "::1") as (four, six):
        for addresses in (
            [PUBLIC, "127.0.0.1"],
            ["::1", "2606:4700::6810:84e5"],
            ["::ffff:127.0.0.1"],
            ["64:ff9b::7f00:1"],
        ):
            async with posting(Zone(addresses)) as poster:
                tried = await poster.post(f"http://mixed.example:{four.port}/", b"{}", SIGNED)
            assert tried.error == "address_forbidden"
        assert (four.connections, six.connections) == (0, 0)


class Blind(Guard):
    """Finds no fault with any address."""

    def check(self, addresses: Sequence[str]) -> None: ...


@pytest.mark.parametrize(("blind", "addresses"), [("resolver", ["127.0.0.1"]), ("socket", [PUBLIC, "127.0.0.1"])])
async def test_each_of_the_two_looks_at_an_address_refuses_it_without_the_other(
    blind: str, addresses: list[str], monkeypatch: pytest.MonkeyPatch
):
    if blind == "resolver":
        monkeypatch.setattr(post, "CheckedResolver", lambda resolve, _guard: CheckedResolver(resolve, Blind()))
    async with on_one_port("127.0.0.1", "::1") as (four, six), posting(Zone(addresses)) as poster:
        if blind == "socket":
            poster._guard = Blind(http=True)
        tried = await poster.post(f"http://hooks.example:{four.port}/", b"{}", SIGNED)
        assert (tried.status, tried.error) == (None, "address_forbidden")
        assert (four.connections, six.connections) == (0, 0)


@pytest.mark.parametrize("other", [{"host": "other.example"}, {"port": 81}])
async def test_a_url_that_two_parsers_read_differently_goes_nowhere(other: dict[str, Any]):
    class Other(Guard):
        def target(self, url: str) -> Target:
            return replace(super().target(url), **other)

    zone = Zone([PUBLIC])
    async with posting(zone) as poster:
        poster._guard = Other(http=True)
        assert (await poster.post("http://hooks.example/", b"{}", SIGNED)).error == "address_forbidden"
    assert zone.asked == []


async def test_a_connection_is_made_to_the_address_that_was_looked_at_and_none_is_asked_for_again():
    zone = Zone(["127.0.0.2"], ["127.0.0.1"])
    async with (
        on_one_port("127.0.0.2", "127.0.0.1") as (looked_at, other),
        posting(zone, allow_networks=["127.0.0.2/32"]) as poster,
    ):
        url = f"http://pinned.example:{looked_at.port}/hook"
        first = await poster.post(url, b"{}", SIGNED)
        second = await poster.post(url, b"{}", SIGNED)
    assert (first.status, first.error) == (200, None)
    assert looked_at.came[0].headers["host"] == f"pinned.example:{looked_at.port}"
    # Another try looks anew: nothing of the first is remembered, neither its address nor its connection.
    assert second.error == "address_forbidden"
    assert (looked_at.connections, other.connections, len(zone.asked)) == (1, 0, 2)


async def test_a_redirect_to_a_place_within_is_not_followed():
    async with on_one_port("127.0.0.1", "::1") as (four, six):
        away = Answer(302, {"Location": f"http://[::1]:{six.port}/hook"})
        four.behave = lambda _came: away
        async with posting(Zone(["127.0.0.1"]), allow_networks=["127.0.0.1/32"]) as poster:
            tried = await poster.post(f"http://moved.example:{four.port}/", b"{}", SIGNED)
        assert (tried.status, tried.error) == (302, "redirected")
        assert (four.connections, six.connections) == (1, 0)


async def test_a_name_that_is_not_found_is_refused_as_one_that_is_not_public():
    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    async def hanging(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    said = set()
    for resolve in (unknown, hanging, Zone(["10.0.0.1"]), Zone([])):
        with pytest.raises(Forbidden) as refusal:
            await Vetting(quick(connect_s=0.05), resolve)("https://somewhere.example/")
        said.add(str(refusal.value))
    assert len(said) == 1
    async with posting(unknown) as poster:
        assert (await poster.post("https://somewhere.example/", b"{}", SIGNED)).error == "name_not_found"
    async with posting(hanging, connect_s=0.05) as poster:
        assert (await poster.post("https://somewhere.example/", b"{}", SIGNED)).error == "connect_timed_out"


async def test_tls_is_spoken_to_the_name_and_never_without_trust(tmp_path: Path):
    context, names = server_context(tmp_path, "hooks.example.com")
    async with receiver(tls=context) as there:
        settings = {"allow_networks": ["127.0.0.0/8"], "allow_http": False}
        async with posting(Zone(["127.0.0.1"]), trusting(tmp_path), **settings) as poster:
            tried = await poster.post(f"https://hooks.example.com:{there.port}/hook", b"{}", SIGNED)
            other = await poster.post(f"https://other.example.com:{there.port}/hook", b"{}", SIGNED)
        async with posting(Zone(["127.0.0.1"]), **settings) as poster:
            unknown = await poster.post(f"https://hooks.example.com:{there.port}/hook", b"{}", SIGNED)
        (came,) = there.came
    assert (tried.status, tried.error) == (200, None)
    assert (other.error, unknown.error) == ("tls_failed", "tls_failed")
    assert came.headers["host"] == f"hooks.example.com:{there.port}"
    assert names == ["hooks.example.com", "other.example.com", "hooks.example.com"]


async def test_an_answer_counts_by_its_head_and_its_body_is_not_waited_for():
    endless = Answer(200, {"Content-Length": "1000000000"}, b"x" * 10_000)
    bomb = Answer(200, {"Content-Encoding": "gzip"}, b"no gzip at all")
    number = count()
    async with receiver(lambda _came: [endless, bomb][next(number)]) as there:
        there.keep_open = True
        async with posting(Zone(["127.0.0.1"]), allow_networks=["127.0.0.1/32"], answer_s=5) as poster:
            for _ in range(2):
                tried = await poster.post(there.url(), b"{}", SIGNED)
                assert (tried.status, tried.error) == (200, None)
                assert tried.took_ms < 4000


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)
async def test_an_endpoint_that_sends_interim_answers_alone_is_heard_no_further(interim: bytes):
    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(interim * 1000)
                await writer.drain()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with posting(Zone(["127.0.0.1"]), allow_networks=["127.0.0.1/32"], answer_s=5) as poster:
        tried = await poster.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", SIGNED)
    server.close()
    assert (tried.status, tried.error) == (None, "connection_lost")
    assert tried.took_ms < 4000


async def test_an_endpoint_with_something_to_say_beforehand_is_heard_out():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(hints + b"HTTP/1.1 200 OK\r\nX-Long: %b\r\nContent-Length: 1000000\r\n\r\n" % (b"x" * 8000))
        with suppress(ConnectionError):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with posting(Zone(["127.0.0.1"]), allow_networks=["127.0.0.1/32"], answer_s=5) as poster:
        tried = await poster.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", SIGNED)
    server.close()
    assert (tried.status, tried.error) == (200, None)


async def test_where_the_system_gives_no_more_threads_names_are_looked_up_by_those_there_are(
    no_more_threads: Callable[[], None],
):
    """Told as a failure, it would be counted against the endpoint."""
    lookup = Lookup()
    no_more_threads()
    found = await asyncio.gather(*(lookup("127.0.0.1", 443) for _ in range(3)))
    assert found == [["127.0.0.1"]] * 3
    lookup.close()


async def test_names_that_are_never_answered_hold_up_no_try_where_webhooks_are_made(monkeypatch: pytest.MonkeyPatch):
    """Whoever may make webhooks may ask for such names as often as he likes."""
    answered = threading.Event()

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host == "silent.example":
            answered.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    settings = quick(allow_networks=["127.0.0.1/32"])
    nowhere: Any = None
    webhooks = Webhooks(settings, Database(), nowhere, nowhere)
    async with receiver() as endpoint:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        try:
            silent = CreateEndpoint("https://silent.example/hook")
            made = (webhooks.desk.create(uuid4(), silent) for _ in range(200))
            refusals = await asyncio.gather(*made, return_exceptions=True)
            assert {type(refusal) for refusal in refusals} == {Malformed}
            url = f"http://hooks.example:{endpoint.port}/hook"
            assert (await webhooks._poster.post(url, b"{}", SIGNED)).status == 200
        finally:
            answered.set()
            await webhooks._poster.close()
