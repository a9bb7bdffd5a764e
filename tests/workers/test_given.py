"""What systemd gives, and what it is told, as sd_listen_fds(3) and sd_notify(3) say."""

import fcntl
import json
import os
import secrets
import socket
import sys
from pathlib import Path

import pytest

TAKE = """
import json, os
from gateway.config import ConfigError
from gateway.workers.given import Given
if "LISTEN_PID" in os.environ:
    os.environ["LISTEN_PID"] = {"own": str(os.getpid()), "other": "1"}[os.environ["LISTEN_PID"]]
try:
    given = Given.take()
except ConfigError as error:
    print(json.dumps({"problems": error.problems}))
else:
    given.tell("READY=1")
    left = [name for name in os.environ if name.startswith(("LISTEN", "NOTIFY"))]
    shown = [[s.getsockname()[1], s.get_inheritable(), s.getblocking()] for s in given.sockets]
    print(json.dumps({"sockets": shown, "left": left, "slot": given.slot}))
"""


def taken(*given: socket.socket, **environment: str) -> dict[str, object]:
    """What a process says that has ``given`` from descriptor 3 on."""
    ours, its = os.pipe()
    apart = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 100) for one in (its, *given)]
    moves = [(os.POSIX_SPAWN_DUP2, apart[0], 1)]
    moves += [(os.POSIX_SPAWN_DUP2, one, at) for at, one in enumerate(apart[1:], 3)]
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", TAKE], os.environ | environment, file_actions=moves)
    for descriptor in (its, *apart):
        os.close(descriptor)
    with os.fdopen(ours) as told:
        text = told.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(text)


def port(sock: socket.socket) -> int:
    return sock.getsockname()[1]


@pytest.mark.parametrize("owner", [{"LISTEN_PID": "own"}, {}], ids=["named", "whoever"])
def test_sockets_are_taken_by_whom_they_are_meant_for(owner: dict[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        told = taken(one, two, LISTEN_FDS="2", LISTEN_FDNAMES="a:b", **owner)
        assert told == {"sockets": [[port(one), False, False], [port(two), False, False]], "left": [], "slot": None}


def test_sockets_for_another_process_are_left():
    with socket.create_server(("127.0.0.1", 0)) as one:
        assert taken(one, LISTEN_FDS="1", LISTEN_PID="other")["sockets"] == []


def test_what_is_no_tcp_socket_is_refused_by_its_name(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        (problem,) = taken(unix, LISTEN_FDS="1")["problems"]
        assert "LISTEN_FDS" in problem
        assert "no TCP socket" in problem
    with Path(os.devnull).open() as file:
        (problem,) = taken(file, LISTEN_FDS="1")["problems"]
        assert "descriptor 3" in problem
    (problem,) = taken(LISTEN_FDS="many")["problems"]
    assert "many" in problem


@pytest.mark.parametrize("abstract", [True, False], ids=["abstract", "path"])
def test_readiness_is_told_to_whoever_waits_for_it(tmp_path: Path, abstract: bool):
    name = f"\0{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waits:
        waits.bind(name)
        waits.settimeout(10)
        assert taken(NOTIFY_SOCKET=name.replace("\0", "@"))["left"] == []
        assert waits.recv(100) == b"READY=1"


def test_a_listener_for_notices_that_is_gone_harms_nobody(tmp_path: Path):
    assert taken(NOTIFY_SOCKET=str(tmp_path / "nobody"))["sockets"] == []
