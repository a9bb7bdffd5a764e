"""Slices of a CPU by control groups (cgroups(7)): how workers add up where each has CPU of its own, whatever else is busy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 10_000
SLICE = 0.3
"""Of a CPU for each worker: two of them, client, origin and Postgres have room on two CPUs."""


def can_slice() -> bool:
    """Whether this process may make control groups that bound CPU, which it tries: root may, outside of most containers."""
    try:
        with sliced([os.getpid()], share=1):
            return True
    except OSError:
        return False


@contextmanager
def sliced(pids: Sequence[int], share: float) -> Iterator[None]:
    """Inside ``with`` each of ``pids`` may use ``share`` of one CPU, and no more. Raises OSError where ``can_slice`` is false."""
    parent = _parent()
    if parent is None:
        raise OSError("no control groups that bound CPU")
    made: list[tuple[Path, str]] = []
    try:
        for pid in pids:
            group = parent / f"rg-bench-{os.getpid()}-{pid}"
            group.mkdir()
            made.append((group, _place(pid)))
            _bound(group, round(share * PERIOD_US))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group, place in made:
            for left in (group / "cgroup.procs").read_text().split():
                (GROUPS / place / "cgroup.procs").write_text(left)
            group.rmdir()


def _parent() -> Path | None:
    """Of version 1 the controller's own tree, of version 2 the one tree, where it hands CPU down."""
    if (GROUPS / "cpu" / "cgroup.procs").exists():
        return GROUPS / "cpu"
    handed_down = GROUPS / "cgroup.subtree_control"
    return GROUPS if handed_down.exists() and "cpu" in handed_down.read_text().split() else None


def _place(pid: int) -> str:
    """Where ``pid`` is now, below GROUPS."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return f"cpu{path}"
        if not controllers and not (GROUPS / "cpu").exists():
            return path.lstrip("/")
    return "cpu"


def _bound(group: Path, quota_us: int) -> None:
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
