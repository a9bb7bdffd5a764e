"""What is asked of every variant, one file a subject."""

from __future__ import annotations

from collections.abc import Mapping

from . import audit, cold, first_byte, ramp, ranges, readers, seek_storm, whole, workers
from .workload import FAILURES, Turn, Workload

__all__ = ["FAILURES", "WORKLOADS", "Turn", "Workload"]

_ROOMS = (whole, ranges, first_byte, seek_storm, readers, cold, audit, workers, ramp)
WORKLOADS: Mapping[str, Workload] = {workload.name: workload for room in _ROOMS for workload in room.WORKLOADS}
"""By name, in the table's order."""
