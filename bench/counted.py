"""The gateway under valgrind, which counts instructions once it is told to; what it counts goes beside its configuration.

`python -m bench.counted --config FILE serve`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

COUNTS = ".callgrind"
"""In place of the configuration's ``.toml``."""

if __name__ == "__main__":
    counts = Path(sys.argv[sys.argv.index("--config") + 1]).with_suffix(COUNTS)
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
    gateway = [sys.executable, "-m", "gateway", *sys.argv[1:]]
    os.execvp(valgrind[0], [*valgrind, f"--callgrind-out-file={counts}", *gateway])  # noqa: S606 - no shell is wanted
