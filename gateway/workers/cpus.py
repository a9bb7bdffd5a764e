"""How many CPUs this process may use: what the scheduler allows it, and what its control groups grant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath


def usable_cpus(root: Path = Path("/")) -> int:
    """1 or more. Part of a CPU counts as one. ``root``: where /proc and /sys are."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that each control group above this process grants; those without a bound are left out."""
    groups = root / "sys/fs/cgroup"
    for controllers, path in _memberships(root):
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            below = folder.relative_to("/")
            if not controllers:  # version 2
                yield from _ratio(groups / below / "cpu.max")
            elif "cpu" in controllers.split(","):
                here = groups / "cpu" / below
                yield from _ratio(here / "cpu.cfs_quota_us", here / "cpu.cfs_period_us")


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each hierarchy; cgroups(7)."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if path.startswith("/") and ".." not in path:  # "/../x": a group outside this namespace
                yield controllers, path


def _ratio(*files: Path) -> Iterator[float]:
    """Quota by period, which stand in one file or in two. "max" and negative ones are none."""
    with suppress(OSError, ValueError):
        quota, period = " ".join(file.read_text() for file in files).split()
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
