"""A manifest's recordings through the pipeline, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from ..errors import Conflict, NotFound, OriginFailed, OriginTimeout, Unavailable
from .manifest import Line
from .pipeline import Outcome, Pipeline, UnfitKey, UnknownStore


class Fate(StrEnum):
    """What became of a line: an Outcome's name, or one of two that never came so far."""

    READY = Outcome.READY
    UNCHANGED = Outcome.UNCHANGED
    PENDING = Outcome.PENDING
    FAILED = Outcome.FAILED
    INVALID = "invalid"
    """The line itself is wrong, or contradicts the catalog; mend it."""
    UNDECIDED = "undecided"
    """A store or Postgres was out of reach; run the manifest again."""


@dataclass(frozen=True, slots=True)
class Done:
    """A line that was dealt with. ``key`` and ``call`` as far as they are known; ``reason`` wherever it is not ready."""

    number: int
    fate: Fate
    reason: str = ""
    key: str | None = None
    call: UUID | None = None


async def run(
    pipeline: Pipeline, tenant: UUID, lines: Iterable[Line], *, concurrency: int = 8, fail_missing: bool = False
) -> AsyncIterator[Done]:
    """Registers every line, at most ``concurrency`` at once, and yields each as it is done, in no order.

    What is ready and unchanged at its store is passed over, so a manifest may be run again and again.
    Lines are taken as they are needed. Closing the iterator waits for what is under way: a connection whose user is
    cancelled in the middle of a transaction is lost to its pool.
    """
    source = iter(lines)
    running: set[asyncio.Task[Done]] = set()
    try:
        while True:
            while len(running) < concurrency and (line := next(source, None)) is not None:
                running.add(asyncio.create_task(_one(pipeline, tenant, line, fail_missing=fail_missing)))
            if not running:
                return
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                yield task.result()
    finally:
        await asyncio.gather(*running, return_exceptions=True)


async def _one(pipeline: Pipeline, tenant: UUID, line: Line, *, fail_missing: bool) -> Done:
    row = line.content
    if isinstance(row, str):
        return Done(line.number, Fate.INVALID, row)
    call: UUID | None = row.call
    try:
        pipeline.known(row.store, row.key, row.media_type)  # first: a line that is wrong leaves no call behind
        call = await pipeline.registry.create_call(tenant, row.new_call())
        result = await pipeline.register(
            tenant,
            call,
            row.store,
            row.key,
            lifetime=row.lifetime(),
            media_type=row.media_type,
            fail_missing=fail_missing,
        )
    except UnfitKey as unfit:
        return Done(line.number, Fate.INVALID, f"key: {unfit}", row.key)
    except (Conflict, NotFound, UnknownStore, ValueError) as error:
        return Done(line.number, Fate.INVALID, str(error), row.key, call)
    except (Unavailable, OriginFailed, OriginTimeout) as error:
        return Done(line.number, Fate.UNDECIDED, error.detail or error.reason, row.key, call)
    return Done(line.number, Fate(result.outcome), result.reason, row.key, call)
