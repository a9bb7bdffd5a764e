"""Everything at once on loopback: Postgres, S3, the gateway and calls to play. What it starts, it stops."""

from __future__ import annotations

from .runner import Options, run
from .state import DemoFailed

__all__ = ["DemoFailed", "Options", "run"]
