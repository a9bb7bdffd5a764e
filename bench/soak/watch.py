"""What is seen of the gateway from outside, once a minute."""

from __future__ import annotations

import subprocess
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ..kernel import cpu_seconds, descriptors, resident_bytes
from ..variants import Target

METRICS_S = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """At one moment."""

    resident: int
    sockets: int
    """Descriptors, as the next two."""
    pipes: int
    others: int
    clients: int
    """Connections of clients, as the kernel has them."""
    origins: int
    """Connections to origins."""
    journal: int
    """Bytes of files in the journal's folder, reserved room included."""
    cpu_s: float
    postgres_cpu_s: float

    @property
    def descriptors(self) -> int:
        return self.sockets + self.pipes + self.others


@dataclass(frozen=True, slots=True)
class Watch:
    """Where to look."""

    target: Target
    journal: Path
    postgres_pid: int
    metrics_port: int

    def look(self) -> Seen:
        """Raises OSError, subprocess.SubprocessError."""
        pid, kinds = self.target.pid, descriptors(self.target.pid)
        return Seen(
            resident=resident_bytes(pid),
            sockets=kinds["socket"],
            pipes=kinds["pipe"],
            others=kinds.total() - kinds["socket"] - kinds["pipe"],
            clients=_connections(f"sport = :{self.target.ports['plain']}"),
            origins=sum(_connections(f"dport = :{port}") for port in self.target.origins),
            journal=sum(_size(file) for file in self.journal.rglob("*")),
            cpu_s=cpu_seconds(pid),
            postgres_cpu_s=cpu_seconds(self.postgres_pid),
        )

    def told(self) -> Told:
        """What its own figures say. Raises OSError, ValueError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=METRICS_S) as answer:
            return read(answer.read().decode())


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway's metrics say."""

    requests: Counter[int]
    """Status → requests of every surface."""
    loop: Mapping[str, float]
    """What is told of how late its loop is: name → value."""


def read(text: str) -> Told:
    """``text`` as Prometheus has it."""
    requests: Counter[int] = Counter()
    loop: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        samples: list[Any] = family.samples
        for sample in samples:
            if sample.name.endswith("_requests_total") and "status" in sample.labels:
                requests[int(sample.labels["status"])] += int(sample.value)
            elif "loop_lag" in sample.name and not sample.name.endswith("_created"):
                bound = sample.labels.get("le") or sample.labels.get("quantile")
                name = sample.name if bound is None else f"{sample.name} {bound}"
                loop[name] = loop.get(name, 0) + sample.value
    return Told(requests, loop)


def _connections(filter_: str) -> int:
    told = subprocess.run(
        ["ss", "-tnH", "state", "established", f"( {filter_} )"], capture_output=True, text=True, check=True
    )
    return len(told.stdout.splitlines())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # shipped meanwhile
        return 0
