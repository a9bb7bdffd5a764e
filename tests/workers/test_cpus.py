import os
from pathlib import Path

import pytest

from gateway.workers.cpus import usable_cpus

GROUPS = "sys/fs/cgroup"


def machine(root: Path, memberships: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": memberships, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def _eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.mark.parametrize(
    ("memberships", "files", "cpus"),
    [
        ("", {}, 8),
        ("0::/\n", {f"{GROUPS}/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {f"{GROUPS}/cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {f"{GROUPS}/cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {f"{GROUPS}/cpu.max": "1600000 100000\n"}, 8),
        (
            "0::/a/b\n",
            {f"{GROUPS}/a/cpu.max": "300000 100000\n", f"{GROUPS}/a/b/cpu.max": "max 100000\n"},
            3,
        ),
        (
            "4:memory:/x\n3:cpu,cpuacct:/x\n0::/\n",
            {f"{GROUPS}/cpu/x/cpu.cfs_quota_us": "250000\n", f"{GROUPS}/cpu/x/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "3:cpu,cpuacct:/docker/of-the-host\n",
            {f"{GROUPS}/cpu/cpu.cfs_quota_us": "400000\n", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("3:cpu:/\n", {f"{GROUPS}/cpu/cpu.cfs_quota_us": "-1\n", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("0::/../elsewhere\n", {f"{GROUPS}/cpu.max": "100000 100000\n"}, 8),
        ("0::/\n", {f"{GROUPS}/cpu.max": "what\n"}, 8),
    ],
    ids=[
        "no groups",
        "part of a CPU counts as one",
        "no bound",
        "less than one",
        "more than there are",
        "the bound of a group above",
        "version 1",
        "version 1 in a container",
        "version 1 without a bound",
        "a group out of sight",
        "nonsense",
    ],
)
def test_the_least_bound_counts(tmp_path: Path, memberships: str, files: dict[str, str], cpus: int):
    assert usable_cpus(machine(tmp_path, memberships, files)) == cpus


def test_this_machine_has_some():
    assert 1 <= usable_cpus() <= 8
