"""What an ACT does: the type of each ask → the room that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .catalog.registry import Registry
from .config import Config
from .lifecycle.pipeline import Pipeline
from .model import Operation
from .postgres import Pool


@dataclass(frozen=True, slots=True)
class Rooms:
    """What operations are made of."""

    config: Config
    pool: Pool
    registry: Registry
    pipeline: Pipeline


def operations(rooms: Rooms) -> Mapping[type, Operation]:
    """Every operation there is."""
    del rooms
    return {}
