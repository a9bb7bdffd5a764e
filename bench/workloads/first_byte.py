"""Time to the first byte at low load: one request at a time, a few to one variant, then to the next."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from ..client.request import PIECE, WrongAnswer, connect, parse_head, request
from ..results import percentile
from ..sizes import SPAN
from ..variants import PROXIES
from .workload import FAILURES, Metrics, Turn, Workload

PAUSE_S = 0.001
"""Between requests: nobody is busy when the next one comes."""
IN_A_ROW = 50
"""Requests to one variant before the next has its turn. By one, each would find the caches full of all the others' work."""


def first_byte_s(sock: socket.socket, asked: bytes) -> float:
    """Seconds from sending to the answer's first byte; the rest is read and forgotten."""
    began = time.perf_counter()
    sock.sendall(asked)
    received = sock.recv(PIECE)
    took = time.perf_counter() - began
    while (head := parse_head(received)) is None:
        if not (piece := sock.recv(PIECE)):
            raise WrongAnswer("ended before its head did")
        received += piece
    left = head.length - head.taken
    while left > 0:
        if not (piece := sock.recv(min(PIECE, left))):
            raise WrongAnswer(f"ended {left} bytes early")
        left -= len(piece)
    return took


def _round(turn: Turn, *, origin: str) -> Mapping[str, Metrics]:
    size, key = turn.stage.size, turn.stage.keys[0]
    took: dict[str, list[float]] = {name: [] for name in turn.targets}
    with ExitStack() as open_:
        socks: dict[str, socket.socket] = {}
        for done in range(0, size.first_bytes, IN_A_ROW):
            for target in turn.shuffled():
                if target.name not in took:
                    continue
                try:
                    if target.name not in socks:
                        socks[target.name] = open_.enter_context(connect(target, origin))
                    for _ in range(min(IN_A_ROW, size.first_bytes - done)):
                        first = turn.chance.randrange(size.object_bytes - SPAN)
                        asked = request(target, origin, key, (first, first + SPAN - 1))
                        time.sleep(PAUSE_S)
                        took[target.name].append(first_byte_s(socks[target.name], asked) * 1e6)
                except FAILURES as error:
                    turn.failures.append(f"{target.name}: {error}")
                    del took[target.name]
    direct = percentile(took["direct"], 0.5)
    return {
        name: {
            "p50_us": (p50 := percentile(each, 0.5)),
            "p50_over_direct_us": p50 - direct,
            "p99_us": percentile(each, 0.99),
        }
        for name, each in took.items()
    }


WORKLOADS = (
    Workload(
        "first-byte",
        "First byte of a 64 KiB range, one request at a time; the origin is an nginx, and direct asks it itself.",
        (*PROXIES, "gateway-unaudited", "direct"),
        "direct",
        partial(_round, origin="plain"),
    ),
    Workload(
        "first-byte-s3",
        "The same from a real S3 (SeaweedFS), which takes its time and checks signatures; direct has a presigned URL.",
        ("gateway", "nginx", "gateway-unaudited", "direct"),
        "direct",
        partial(_round, origin="s3"),
        origin="s3",
    ),
)
