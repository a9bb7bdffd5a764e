import asyncio
import signal
import socket
import threading
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from parts.command import ended, process
from parts.given import Started, given, started

from gateway.cli.serve import WorkersType
from gateway.workers.cpus import usable_cpus


def test_a_taken_port_is_said_to_be_taken(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command.settings["server"]["port"] = port
        done = command("serve")
    assert done.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert "server.port" in done.err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_host_that_nobody_knows_is_said_to_be_unknown(command, workers):
    command.settings["server"]["host"] = "nohost.invalid"
    done = command("serve", "--workers", workers)
    assert (done.code, "cannot listen on nohost.invalid:0: " in done.err, "server.host" in done.err) == (1, True, True)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_of_a_link_that_is_not_named_is_said_to_be_none_to_listen_on(command, workers):
    command.settings["server"]["host"] = "fe80::1"
    done = command("serve", "--workers", workers)
    assert (done.code, "cannot listen on fe80::1:0: " in done.err, "Traceback" in done.err) == (1, True, False)


def test_a_host_for_figures_that_nobody_knows_is_said_to_be_unknown(command):
    command.settings["metrics"] = {"host": "nohost.invalid", "port": 0}
    done = command("serve")
    assert (done.code, "metrics.port: cannot listen on nohost.invalid:0: " in done.err) == (1, True)
    assert "Unknown error" not in done.err


def test_a_port_for_figures_that_is_taken_is_refused_before_anything_is_begun(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command.settings["metrics"] = {"port": port}
        done = command("serve")
    assert (done.code, f"metrics.port: cannot listen on 127.0.0.1:{port}: " in done.err) == (1, True), (
        "78 would keep it down"
    )
    assert not (command.folder / "journal").exists()


@pytest.mark.parametrize(
    ("section", "table", "named"),
    [
        (
            "identity",
            {"issuers": [{"issuer": "i", "audience": "a", "public_key_file": "/nowhere"}]},
            "identity.issuers.0.public_key_file",
        ),
        ("stores", {"a": {"kind": "gcs", "bucket": "abc", "service_account_file": "/nowhere"}}, "stores.a"),
        ("audit", {"journal_dir": "/etc/passwd"}, "audit.journal_dir"),
    ],
)
def test_nothing_is_sent_by_a_gateway_that_is_then_refused(offline, section, table, named):
    """Its first look for what is due fails here, and would be told."""
    offline.settings["server"] = {"port": 0}
    offline.settings["audit"] = {"journal_dir": str(offline.folder / "journal")}
    offline.settings[section] = table
    done = ended(process("-c", offline.file, "serve"))
    assert (done.code, named in done.err) == (78, True)
    assert "webhooks.away" not in done.err


@pytest.mark.parametrize("name", ["audit-journal", "audit-shipper", "disk-calls", "serving", "webhook-dns"])
def test_a_system_that_gives_no_more_threads_is_said_to_be_one(command, name, monkeypatch: pytest.MonkeyPatch):
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = command("serve")
    assert (done.code, "no more threads" in done.err, "Traceback" in done.err) == (1, True, False)


@pytest.mark.parametrize("below", ["", "journal"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_where_the_journal_should_be_is_refused_at_start(command, workers, below):
    command.settings["audit"] = {"journal_dir": str(command.file / below)}
    done = ended(process("-c", command.file, "serve", "--workers", str(workers)))
    assert (done.code, f"audit.journal_dir: {command.file} is a file" in done.err) == (78, True)


def test_two_mounts_that_collide_are_refused_naming_both(command):
    command.settings["mounts"] = [{"surface": "native"}, {"surface": "native", "prefix": "/"}]
    for words in (("serve",), ("config", "check")):
        done = command(*words)
        assert done.code == 78
        assert "mounts" in done.err


@pytest.mark.parametrize("words", ["0", "-1", "many", "2.5"])
def test_workers_are_a_number_or_auto(command, words):
    done = command("serve", "--workers", words)
    assert done.code == 2
    assert words in done.err


def test_auto_is_one_for_each_cpu():
    assert WorkersType().convert("auto", None, None) == usable_cpus()


def test_a_taken_port_is_said_to_be_taken_with_several_workers_too(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command.settings["server"]["port"] = taken.getsockname()[1]
        done = ended(process("-c", command.file, "serve", "--workers", "2"))
    assert done.code == 1
    assert "server.port" in done.err
    assert "Traceback" not in done.err


def test_what_workers_refuse_is_said_once(command):
    command.settings["mounts"] = [{"surface": "native"}, {"surface": "native", "prefix": "/"}]
    done = ended(process("-c", command.file, "serve", "--workers", "2"))
    assert done.code == 78
    assert done.err.count("the configuration is refused") == 1


async def healthy(one: Started) -> bool:
    with await asyncio.to_thread(urlopen, f"{one.url}/healthz") as answer:
        return answer.status == 200


@pytest.mark.parametrize("workers", [1, 2], ids=["alone", "with workers"])
async def test_it_serves_on_a_socket_that_it_is_given(command, workers):
    """As systemd gives it: what came before it was there is answered, and while none runs nobody is refused."""
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with started("-c", command.file, "serve", "--workers", workers, sockets=[sock]) as one:
            assert one.url.endswith(f":{sock.getsockname()[1]}")
            early.settimeout(10)
            assert early.recv(15) == b"HTTP/1.1 200 OK"
            assert await healthy(one)
            assert (await one.end(signal.SIGTERM)).code == 0
        with socket.create_connection(sock.getsockname()):
            pass


async def test_more_sockets_than_workers_are_refused(command):
    with ExitStack() as open_:
        sockets = [open_.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        done = ended(given(["-c", command.file, "serve", "--workers", "2"], sockets))
    assert done.code == 78
    assert "LISTEN_FDS: 3 sockets and 2 workers" in done.err


async def test_it_tells_whoever_waits_when_it_is_ready(command, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waits:
        waits.bind(str(tmp_path / "notify"))
        waits.settimeout(10)
        async with started("-c", command.file, "serve", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as one:
            assert waits.recv(100) == b"READY=1"
            await one.end(signal.SIGTERM)
            assert waits.recv(100) == b"STOPPING=1"


async def test_one_process_alone_reloads_nothing_and_says_what_would(command):
    async with started("-c", command.file, "serve") as one:
        one.process.send_signal(signal.SIGHUP)
        assert "--workers 2" in await one.line('"not reloaded"')
        assert await healthy(one)
        assert (await one.end(signal.SIGQUIT)).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_0(command, number):
    async with started("-c", command.file, "serve") as one:
        assert await healthy(one)
        done = await one.end(number)
    assert (done.code, done.out) == (0, "")
