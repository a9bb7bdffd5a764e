"""Where audio lies: one Store for each kind of store, and bodies that survive a broken connection.

A kind that nothing is kept in is not even imported: of a start and its memory, AWS's library alone is a sixth.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import assert_never

from ..config import AnyStore, DiskStore, GcsStore, Origin, S3Store
from ..model import Store
from .resume import Resuming, open_resuming

__all__ = ["Resuming", "open_resuming", "open_store", "open_stores"]


async def open_store(name: str, settings: AnyStore, origin: Origin) -> Store:
    """The store that ``settings`` describe, for the loop this runs in; ``close`` it there.

    Asks nobody yet: whether it can be reached is ``check``'s to say. Raises ConfigError for a key file that is none, or what AWS's own settings say.
    """
    match settings:
        case S3Store():
            from .s3 import S3  # noqa: PLC0415  see above

            return await S3.connect(name, settings, origin)
        case GcsStore():
            from .gcs import Gcs  # noqa: PLC0415  see above

            return Gcs(name, settings, origin)
        case DiskStore():
            from .disk import Disk  # noqa: PLC0415  see above

            return Disk(name, settings, origin)
        case _:
            assert_never(settings)


@asynccontextmanager
async def open_stores(settings: Mapping[str, AnyStore], origin: Origin) -> AsyncIterator[Mapping[str, Store]]:
    """Every configured store by its name, closed as the context ends. Raises ConfigError, as ``open_store`` does."""
    stores: dict[str, Store] = {}
    async with AsyncExitStack() as stack:
        for name, one in settings.items():
            stores[name] = await open_store(name, one, origin)
            stack.push_async_callback(stores[name].close)
        yield stores
