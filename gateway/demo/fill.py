"""Fills the demo's stores and catalog, or finds them filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from ..catalog.registry import Registry
from ..catalog.store import PostgresCatalog
from ..config import Config
from ..lifecycle.pipeline import Pipeline
from ..postgres import open_pool
from ..stores import open_store
from . import cast, settings
from .cast import Sound
from .seaweed import S3
from .seed import Keys, Seeder
from .shelves import Bucket, Folder, Shelf
from .sounds import Sounds
from .state import State

EMPTY = "calls/empty.wav"
"""The zero-length object's key."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is to show."""

    sounds: Sequence[Sound]
    keys: dict[str, Keys]


async def fill(state: State, config: Config, s3: S3 | None, audio: Path | None, tell: Callable[[str], None]) -> Filled:
    """Tenants, keys, recordings and calls, made where an earlier run has not. Raises DemoFailed, Unavailable."""
    async with AsyncExitStack() as stack:
        pool = await open_pool(config.database)
        stack.push_async_callback(pool.close)
        catalog = PostgresCatalog(pool, config.database)
        stack.push_async_callback(catalog.close)
        stores = {}
        for name, described in config.stores.items():
            stores[name] = await open_store(name, described, config.origin)
            stack.push_async_callback(stores[name].close)
        shelves: dict[str, Shelf] = {cast.DISK_STORE: Folder(settings.disk_root(state))}
        if s3 is not None:
            shelves[cast.S3_STORE] = await stack.enter_async_context(Bucket.open(s3))
        registry = Registry(pool, config.database)
        seeder = Seeder(registry, catalog, Pipeline(stores, registry, catalog))

        demo, other = await seeder.tenants()
        keys = await seeder.keys(state, demo)
        sounds = Sounds(state, shelves, audio)
        kept = await sounds.kept(stores)
        if kept is None:
            put = await sounds.put(tell)
            tell("Registering them")
            kept = await seeder.ready(demo, put, tell)
            place = cast.S3_STORE if s3 is not None else cast.DISK_STORE
            await shelves[place].put(EMPTY, b"", "audio/wav")
            await seeder.others(demo, other, kept[-1], (place, EMPTY))
            sounds.keep(kept)
        return Filled(kept, keys)
