"""Many slow and many stalled readers: what one stream holds of the proxy's memory and of the kernel's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from ..client.request import request
from ..client.streams import read_all, readers, sip
from ..kernel import pipe_bytes, resident_bytes, socket_bytes
from ..sizes import KB, READER_RATE
from ..stage import Stage
from ..variants import PROXIES, WITH_PORTABLE, Target
from .workload import Metrics, Turn, Workload

SIPS_A_SECOND = 8
"""A mouthful is half of what the kernel holds for a new connection: there is always one to be had in time."""
SETTLE_S = 2.0
"""Until buffers towards a reader that reads nothing are as full as they get."""


def _memory(target: Target, origin: str) -> tuple[int, int]:
    kernel = socket_bytes(target.ports[origin], target.origins) + pipe_bytes(target.pid)
    return resident_bytes(target.pid), kernel


def _per_stream(before: tuple[int, int], after: tuple[int, int], streams: int) -> dict[str, float]:
    resident, kernel = ((b - a) / streams / KB for a, b in zip(before, after, strict=True))
    return {
        "resident_kb_per_stream": resident,
        "kernel_kb_per_stream": kernel,
        "total_kb_per_stream": resident + kernel,
    }


def _held(stage: Stage, target: Target, origin: str, *, stalled: bool) -> Metrics:
    count, seconds = stage.size.readers, stage.size.readers_s
    requests = [request(target, origin, stage.keys[place % len(stage.keys)]) for place in range(count)]
    # Whatever a process keeps after its first few requests is not the streams' own.
    read_all(target, origin, requests[: stage.size.streams], at_once=stage.size.streams)
    before = _memory(target, origin)
    with readers(target, origin, requests) as streams:
        if stalled:
            time.sleep(min(SETTLE_S, seconds))
            return _per_stream(before, _memory(target, origin), count)
        seen: list[tuple[int, int]] = []

        def look() -> None:
            seen.append(_memory(target, origin))

        share = sip(streams, rate=READER_RATE, seconds=seconds, sips_a_second=SIPS_A_SECOND, halfway=look)
        look()
    return {**_per_stream(before, max(seen, key=sum), count), "share_of_rate": share}


def _round(turn: Turn, *, origin: str, stalled: bool) -> Mapping[str, Metrics]:
    return turn.each(lambda target: _held(turn.stage, target, origin, stalled=stalled))


def _workload(name: str, what: str, variants: tuple[str, ...], origin: str, *, stalled: bool) -> Workload:
    return Workload(
        name,
        what,
        variants,
        "nginx",
        partial(_round, origin=origin, stalled=stalled),
        origin=origin,
        fresh=True,
        rounds=1,
    )


WORKLOADS = (
    _workload(
        "slow", "Readers at 256 KB/s, plain-HTTP origin: memory per stream.", WITH_PORTABLE, "plain", stalled=False
    ),
    _workload("slow-tls", "The same, the origin behind TLS.", ("gateway", "nginx"), "tls", stalled=False),
    _workload("stalled", "Readers that stopped reading, plain-HTTP origin.", PROXIES, "plain", stalled=True),
)
