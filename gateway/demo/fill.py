"""Fills the demo's stores and catalog, or finds them filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from ..catalog.departments import Departments
from ..catalog.registry import Registry
from ..catalog.store import PostgresCatalog
from ..catalog.transcripts import Transcripts
from ..config import Config
from ..lifecycle.pipeline import Pipeline
from ..postgres import open_pool
from ..stores import open_stores
from . import cast, settings
from .cast import Sound
from .samples import quiet
from .seaweed import S3
from .seed import Books, Fields, Seeder
from .shelves import Bucket, Folder, Shelf
from .sounds import Sounds
from .state import State

_SPARE = {
    "empty": (f"{cast.TENANT}/calls/empty.wav", b""),
    "expired": (f"{cast.TENANT}/calls/expired.wav", quiet(seconds=1)),
    "foreign": (f"{cast.OTHER_TENANT}/calls/foreign.wav", quiet(seconds=2)),
}
"""Call → key and content of an object of its own: what has expired is swept away."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is to show."""

    sounds: Sequence[Sound]
    credentials: dict[str, Fields]
    secret: str
    """Of the ids that nobody may guess."""


async def fill(state: State, config: Config, s3: S3 | None, audio: Path | None, tell: Callable[[str], None]) -> Filled:
    """Tenants, keys, recordings and calls, made where an earlier run has not. Raises DemoFailed; what Postgres and stores do."""
    async with AsyncExitStack() as stack:
        pool = await open_pool(config.database)
        stack.push_async_callback(pool.close)
        catalog = PostgresCatalog(pool, config.database)
        stack.push_async_callback(catalog.close)
        stores = await stack.enter_async_context(open_stores(config.stores, config.origin))
        shelves: dict[str, Shelf] = {cast.DISK_STORE: Folder(settings.disk_root(state))}
        if s3 is not None:
            shelves[cast.S3_STORE] = await stack.enter_async_context(Bucket.open(s3))
        registry = Registry(pool, config.database)
        books = Books(
            registry,
            catalog,
            Departments(pool, config.database),
            Transcripts(pool, config.database),
            Pipeline(stores, registry, catalog),
        )
        secret = state.secret("agentphone_ids")
        seeder = Seeder(books, secret)

        demo, other = await seeder.tenants()
        await seeder.departments(demo)
        credentials = await seeder.credentials(state, demo, other)
        sounds = Sounds(state, shelves, audio)
        kept = await sounds.kept(stores)
        if kept is None or not await seeder.done(other):
            put = await sounds.put(tell)
            tell("Registering them")
            kept = await seeder.ready(demo, put, tell)
            place = cast.S3_STORE if s3 is not None else cast.DISK_STORE
            for key, content in _SPARE.values():
                await shelves[place].put(key, content, "audio/wav")
            await seeder.others(demo, other, {name: (place, key) for name, (key, _) in _SPARE.items()})
            sounds.keep(kept)
        return Filled(kept, credentials, secret)
