"""What requests leave behind in memory: nothing that waits for Python's collector, which comes by seldom on purpose."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from parts.audit import until
from parts.house import SERVE, Filed, House, some_bytes
from parts.stage import Stage

SIZE = 1_000_000
MANY = 30
FEW = MANY // 3
"""Of one kind, after MANY requests: what is not left by each."""

LOOKING = """
import collections, gc, json, os, signal

def look(*_):
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    kinds = collections.Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    kinds.update(f"{one.f_code.co_filename}:{one.f_lineno}" for one in gc.garbage if type(one).__name__ == "frame")
    gc.garbage.clear()
    with open("garbage.new", "w") as told:
        told.write(json.dumps(kinds))
    os.rename("garbage.new", "garbage")

gc.disable()
signal.signal(signal.SIGUSR1, look)
"""
"""Tells upon SIGUSR1 what only the collector could free: in a file, for its lines could break into those of the log."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def looking(stage: Stage) -> AsyncIterator[House]:
    folder = stage.folder / f"looking-{uuid4().hex}"
    folder.mkdir()
    house = House(stage.database_url, stage.stores, folder=folder, serve=LOOKING + SERVE)
    house.start()
    yield house
    assert house.stop() == 0


async def _garbage(house: House) -> dict[str, int]:
    """What there is of it, by kind; afterwards there is none."""
    told = house.folder / "garbage"
    told.unlink(missing_ok=True)
    house.signal(signal.SIGUSR1)
    await until(told.exists)
    kinds: dict[str, int] = json.loads(told.read_text())
    return kinds


Ask = Callable[[House, Stage, Filed], None]


def _get(expected: int, *, method: str = "GET", path: str = "", **fields: str) -> Ask:
    def ask(house: House, stage: Stage, filed: Filed) -> None:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        status, _ = house.get(path or filed.native, stage.full | named, method)
        assert status == expected

    return ask


def _by_link(house: House, stage: Stage, filed: Filed) -> None:
    """Made and played."""
    body = json.dumps({"delivery": "gateway", "ttl_s": 60}).encode()
    with socket.create_connection(("127.0.0.1", int(house.base_url.rpartition(":")[2]))) as client:
        fields = stage.full | {"Content-Type": "application/json", "Content-Length": str(len(body)), "Host": "h"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        path = f"/v1/recordings/{filed.id}/links"
        client.sendall(f"POST {path} HTTP/1.1\r\nConnection: close\r\n{head}\r\n".encode() + body)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 201"), answer
    link = json.loads(answer.partition(b"\r\n\r\n")[2])
    played = "/v1/" + link["url"].partition("/v1/")[2]
    assert house.get(played)[0] == 200


def _left_amid(house: House, stage: Stage, filed: Filed) -> None:
    with socket.create_connection(("127.0.0.1", int(house.base_url.rpartition(":")[2]))) as client:
        head = "".join(f"{name}: {value}\r\n" for name, value in stage.full.items())
        client.sendall(f"GET {filed.native} HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def _sought(house: House, stage: Stage, filed: Filed) -> None:
    """By one connection, in requests that differ in their Range alone."""
    with socket.create_connection(("127.0.0.1", int(house.base_url.rpartition(":")[2]))) as client:
        head = "".join(f"{name}: {value}\r\n" for name, value in stage.full.items())
        answers = client.makefile("rb")
        for start in range(0, 9000, 1000):
            asked = f"Range: bytes={start}-{start + 999}\r\n"
            client.sendall(f"GET {filed.native} HTTP/1.1\r\nHost: h\r\n{head}{asked}\r\n".encode())
            assert b" 206 " in answers.readline()
            while answers.readline() != b"\r\n":
                pass
            assert len(answers.read(1000)) == 1000
        answers.close()


PLAYED = {
    "whole": _get(200),
    "a range": _get(206, Range="bytes=1000-1999"),
    "ranges of a player that seeks": _sought,
    "a long range": _get(206, Range="bytes=1000-"),
    "by link": _by_link,
    "left amid the body": _left_amid,
}
"""Of each store."""
REFUSED_OR_WORDED = {
    "beyond the end": _get(416, Range=f"bytes={SIZE}-"),
    "not modified": _get(304, If_None_Match="*"),
    "not as it was": _get(412, If_Match='"other"'),
    "HEAD": _get(200, method="HEAD"),
    "a key that is none": _get(401, Authorization="Bearer yt_live_no"),
    "an unknown call": _get(404, path=f"/v1/recordings/{uuid4()}/audio"),
    "an id that is none": _get(422, path="/v1/recordings/no/audio"),
    "no such route": _get(404, path="/v1/nothing"),
    "no such method": _get(405, method="PATCH"),
    "OPTIONS": _get(204, method="OPTIONS"),
    "a listing": _get(200, path="/v1/recordings?limit=2"),
    "a listing of what is none": _get(422, path="/v1/recordings?limit=x"),
    "who listened": _get(200, path="/v1/audit/events?limit=2"),
    "a probe": _get(200, path="/healthz"),
}


@pytest.mark.parametrize("store", ["s3", "gcs", "disk"])
@pytest.mark.parametrize("kind", PLAYED)
async def test_what_is_played_leaves_nothing_to_collect(looking: House, stage: Stage, store: str, kind: str) -> None:
    await _leave_nothing(looking, stage, await stage.file(store, some_bytes(SIZE)), PLAYED[kind])


@pytest.mark.parametrize("kind", REFUSED_OR_WORDED)
async def test_what_is_refused_or_worded_leaves_nothing_to_collect(looking: House, stage: Stage, kind: str) -> None:
    await _leave_nothing(looking, stage, await stage.file("disk", some_bytes(SIZE)), REFUSED_OR_WORDED[kind])


async def _leave_nothing(house: House, stage: Stage, filed: Filed, ask: Ask) -> None:
    await asyncio.to_thread(ask, house, stage, filed)  # the first makes what stays
    await _garbage(house)
    for _ in range(MANY):
        await asyncio.to_thread(ask, house, stage, filed)
    left = {kind: count for kind, count in (await _garbage(house)).items() if count >= FEW}
    assert left == {}
