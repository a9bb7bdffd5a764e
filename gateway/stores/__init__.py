"""Where audio lies: one Store for each kind of store, and bodies that survive a broken connection."""

from __future__ import annotations

from typing import assert_never

from ..config import AnyStore, DiskStore, GcsStore, Origin, S3Store
from ..model import Store
from .disk import Disk
from .gcs import Gcs
from .resume import Resuming, open_resuming
from .s3 import S3

__all__ = ["Resuming", "open_resuming", "open_store"]


async def open_store(name: str, settings: AnyStore, origin: Origin) -> Store:
    """The store that ``settings`` describe, for the loop this runs in; ``close`` it there.

    Asks nobody yet: whether it can be reached is ``check``'s to say. Raises ConfigError for a key file that is none, or what AWS's own settings say.
    """
    match settings:
        case S3Store():
            return await S3.connect(name, settings, origin)
        case GcsStore():
            return Gcs(name, settings, origin)
        case DiskStore():
            return Disk(name, settings, origin)
        case _:
            assert_never(settings)
