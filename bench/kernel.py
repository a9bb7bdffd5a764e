"""What the kernel says a process and its workers have used: CPU, resident memory, memory of sockets and pipes."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .hour import pace

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SKMEM = re.compile(r"skmem:\(([^)]*)\)")
_FIELD = re.compile(r"([a-z]+)([0-9]+)")
_HELD = ("r", "w", "f", "o")
"""ss(8): bytes received and not read, queued and not acknowledged, allocated ahead, for options."""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat, proc_pid_stat(5)."""

    pid: int
    parent: int
    ticks: int
    """utime, stime and the same of children it has waited for: what has exited is counted in its parent."""


def parse_stat(line: str) -> Process:
    """``line``: of /proc/PID/stat. The command's name may hold spaces and parentheses."""
    head, _, rest = line.rpartition(")")
    fields = rest.split()
    return Process(int(head.split(" ", 1)[0]), int(fields[1]), sum(map(int, fields[11:15])))


def tree(root: int, processes: Iterable[Process]) -> list[Process]:
    """``root`` and all that descend from it. Each once: a pid that was given anew meanwhile may close a circle."""
    known = {process.pid: process for process in processes}
    children: dict[int, list[int]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [root] if root in known else []
    while waiting:
        pid = waiting.pop()
        found.append(known.pop(pid))
        waiting.extend(child for child in children.get(pid, []) if child in known)
    return found


def _running() -> list[Process]:
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found.append(parse_stat((entry / "stat").read_text("utf-8", "replace")))
            except OSError:  # it ended meanwhile
                continue
    return found


def cpu_seconds(root: int) -> float:
    """User and system time that ``root`` and its descendants have used, ended ones included; to a hundredth."""
    return sum(process.ticks for process in tree(root, _running())) / _TICKS


def workers(root: int) -> list[int]:
    """Pids of those of ``root`` and its descendants that serve, and do not supervise."""
    return leaves(tree(root, _running()))


def leaves(processes: Sequence[Process]) -> list[int]:
    """Pids of those that are nobody's parent among them."""
    parents = {process.parent for process in processes}
    return [process.pid for process in processes if process.pid not in parents]


def resident_bytes(root: int) -> int:
    """Resident memory of ``root`` and its descendants."""
    total = 0
    for process in tree(root, _running()):
        try:
            total += int((PROC / str(process.pid) / "statm").read_text().split()[1]) * _PAGE
        except OSError:
            continue
    return total


def held(listing: str) -> int:
    """Bytes of kernel memory in all sockets of ``listing``, as `ss -m` prints it."""
    total = 0
    for match in _SKMEM.finditer(listing):
        fields = {name: int(value) for name, value in _FIELD.findall(match[1])}
        total += sum(fields.get(name, 0) for name in _HELD)
    return total


def socket_bytes(listening: int, origins: Iterable[int]) -> int:
    """Kernel memory of a proxy's sockets: towards its clients (it listens on ``listening``) and to its ``origins``' ports.

    Only right while nobody else has connections to those origins.
    """
    ports = " or ".join([f"sport = :{listening}", *(f"dport = :{port}" for port in origins)])
    told = subprocess.run(["ss", "-tmnH", f"( {ports} )"], capture_output=True, text=True, check=True)
    return held(told.stdout)


def pipe_bytes(root: int) -> int:
    """Bytes that lie in pipes of ``root`` and its descendants: what is spliced stands there, and in no socket."""
    waiting: dict[str, int] = {}
    for process in tree(root, _running()):
        for entry in _entries(PROC / str(process.pid) / "fd"):
            try:
                name = str(entry.readlink())
                if name.startswith("pipe:") and name not in waiting:
                    waiting[name] = _in_pipe(entry)
            except OSError:  # closed meanwhile
                continue
    return sum(waiting.values())


def descriptors(root: int) -> Counter[str]:
    """Open descriptors of ``root`` and its descendants by what they are: socket, pipe, file (and whatever else)."""
    found: Counter[str] = Counter()
    for process in tree(root, _running()):
        for entry in _entries(PROC / str(process.pid) / "fd"):
            try:
                kind, is_named, _ = str(entry.readlink()).partition(":[")
            except OSError:  # closed meanwhile
                continue
            found[kind if is_named else "file"] += 1
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # its process ended meanwhile
        return []


def _in_pipe(entry: Path) -> int:
    pipe = os.open(entry, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


class busy_cpus:  # noqa: N801 - used as a function
    """How many CPUs the whole machine keeps busy inside ``with``, on average."""

    def __init__(self) -> None:
        self.busy = 0.0

    def __enter__(self) -> Self:
        self._before = self._look()
        return self

    def __exit__(self, *_: object) -> None:
        (busy_before, began), (busy_after, ended) = self._before, self._look()
        self.busy = (busy_after - busy_before) / (ended - began)

    @staticmethod
    def _look() -> tuple[float, float]:
        return parse_busy((PROC / "stat").read_text()) / _TICKS, time.monotonic()


def parse_busy(stat: str) -> int:
    """Ticks that all CPUs were neither idle nor waiting for a disk, of /proc/stat, proc_stat(5); guests count in user."""
    user, nice, system, _idle, _waiting, *irq_and_stolen = map(int, stat.split("\n", 1)[0].split()[1:9])
    return user + nice + system + sum(irq_and_stolen)


def filesystem(folder: Path) -> str:
    """The kind that ``folder`` lies on, as ext4: a journal in memory (tmpfs) is none."""
    mounts = [line.split()[1:3] for line in (PROC / "mounts").read_text().splitlines()]
    place = folder.resolve()
    holding = [(len(at), kind) for at, kind in mounts if place.is_relative_to(at)]
    return max(holding)[1] if holding else "unknown"


def machine() -> Mapping[str, str]:
    """What figures cannot be read without."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (PROC / "cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    near, far = pace()
    return {
        "cpus": str(len(os.sched_getaffinity(0))),
        "cpu": model,
        "kernel": os.uname().release,
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "memory": f"{far - near:.0f} ns behind the caches, a step within them {near:.0f} ns",
        "tcp": (PROC / "sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    }
