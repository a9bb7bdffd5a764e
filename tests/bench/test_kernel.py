"""What the kernel's accounting is read as."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.kernel import (
    Process,
    busy_cpus,
    cpu_seconds,
    filesystem,
    held,
    leaves,
    parse_busy,
    parse_stat,
    pipe_bytes,
    resident_bytes,
    tree,
)

ROUNDED_S = 0.05
"""Each process is counted in hundredths, user and system apart, rounded down."""
BURN = "import time\nuntil = time.process_time() + {s}\nwhile time.process_time() < until: pass\n"


def stat(pid: int, name: str, parent: int, *ticks: int) -> str:
    before = f"{pid} ({name}) S {parent} 1 1 0 -1 4194560 100 0 0 0"
    return f"{before} {' '.join(map(str, ticks))} 20 0 1 0 12345 1000 200"


@pytest.mark.parametrize("name", ["nginx", "a (b) c", "x) S 99 (y", ""])
def test_a_process_is_read_whatever_its_name(name):
    assert parse_stat(stat(7, name, 3, 10, 20, 300, 4000)) == Process(7, 3, 4330)


def test_a_tree_is_a_process_and_all_below_it_and_nothing_else():
    processes = [
        Process(1, 0, 0),
        Process(5, 1, 0),
        Process(6, 5, 0),
        Process(7, 6, 0),
        Process(8, 1, 0),
        Process(50, 8, 0),
    ]
    assert {process.pid for process in tree(5, processes)} == {5, 6, 7}
    assert tree(99, processes) == []


def test_a_tree_that_bites_its_tail_ends():
    """Pids are read one after the other: one may have been given anew meanwhile."""
    assert len(tree(5, [Process(5, 6, 0), Process(6, 5, 0)])) == 2


def test_cpu_of_a_child_that_has_ended_still_counts():
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", BURN.format(s=0.2)], check=True)
    assert 0.2 - ROUNDED_S <= cpu_seconds(os.getpid()) - before < 5


def test_cpu_of_a_grandchild_that_runs_counts():
    nested = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(s=0.2) + 'print(1, flush=True); input()'!r}])"
    child = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        assert cpu_seconds(child.pid) >= 0.2 - ROUNDED_S
        assert resident_bytes(child.pid) > resident_bytes_of_one(child.pid)
        child.stdin.write(b"\n")


def resident_bytes_of_one(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


LISTING = """\
ESTAB 0      0      127.0.0.1:9 127.0.0.1:10
\t skmem:(r1000,rb131072,t7,tb2626560,f200,w30,o4,bl9,d0) cubic
ESTAB 0      0      127.0.0.1:9 127.0.0.1:11 skmem:(r0,rb131072,t0,tb87040,f0,w500000,o0,bl0,d3)
"""


def test_sockets_hold_what_is_received_queued_allocated_ahead_and_for_options():
    assert held(LISTING) == 1000 + 200 + 30 + 4 + 500_000
    assert held("") == 0


def test_what_lies_in_a_pipe_is_counted_once_though_both_its_ends_are_open_there():
    reading, writing = os.pipe()
    # A process with no other pipe: this one may have what the tests' own runner talks through.
    child = subprocess.Popen(
        ["sleep", "60"],
        pass_fds=(reading, writing),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert pipe_bytes(child.pid) == 0
        os.write(writing, bytes(5000))
        assert pipe_bytes(child.pid) == 5000
        assert os.read(reading, 9999) == bytes(5000)
        assert pipe_bytes(child.pid) == 0
    finally:
        child.kill()
        child.wait()
        os.close(reading)
        os.close(writing)


def test_workers_are_those_that_have_nobody_below_them():
    supervised = [Process(1, 0, 0), Process(2, 1, 0), Process(3, 1, 0)]
    assert leaves(supervised) == [2, 3]
    assert leaves(supervised[:1]) == [1]


def test_a_cpu_is_busy_unless_it_is_idle_or_waits_for_a_disk():
    assert parse_busy("cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == 100 + 20 + 30 + 6 + 7 + 8


def test_a_machine_on_which_this_test_spins_keeps_one_cpu_busy_at_least():
    with busy_cpus() as machine:
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            pass
    assert machine.busy > 0.5


def test_the_kernels_own_filesystems_are_known_by_their_kind():
    assert (filesystem(Path("/proc/self")), filesystem(Path("/sys"))) == ("proc", "sysfs")
