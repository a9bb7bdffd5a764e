"""Slices of a CPU, where control groups are to be had."""

import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.slices import GROUPS, PERIOD_US, can_slice, sliced


@pytest.fixture
def idle() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


def _groups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def _quotas(pid: int) -> list[str]:
    """Of the groups that were made for it."""
    made = f"**/rg-bench-*-{pid}"
    told = [*GROUPS.glob(f"{made}/cpu.cfs_quota_us"), *GROUPS.glob(f"{made}/cpu.max")]
    return [path.read_text().split()[0] for path in told]


def test_a_process_has_its_slice_inside_with_and_is_back_where_it_was_afterwards(idle: "subprocess.Popen[bytes]"):
    before = _groups(idle.pid)
    with (
        nullcontext() if can_slice() else pytest.raises(OSError, match=r"control groups|cgroup"),
        sliced([idle.pid], 0.25),
    ):
        assert "/rg-bench-" in _groups(idle.pid)
        assert _quotas(idle.pid) == [str(round(0.25 * PERIOD_US))]
    assert _groups(idle.pid) == before
    assert not _quotas(idle.pid)
