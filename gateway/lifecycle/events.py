"""Storage notifications (S3, Cloud Storage) of new objects: each registers the recording that its key names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import structlog

from ..asks.pipeline import Fate, Noticed, StoreKind, Taken, TakeNotices
from ..config import Config, GcsStore, S3Store
from ..errors import Conflict, OriginFailed, OriginTimeout, Unavailable
from ..model import Caller, CallRef, Entry, NewCall, State
from .pipeline import Outcome, Pipeline, UnfitKey
from .probe import stat_or_none
from .registration import contradiction, prefix_for, unfit_key

log = structlog.get_logger("gateway.events")

_AT_ONCE = 4
"""Notices of one request that are dealt with at the same time."""
_FATES = {
    Outcome.READY: Fate.READY,
    Outcome.UNCHANGED: Fate.UNCHANGED,
    Outcome.PENDING: Fate.PENDING,
    Outcome.FAILED: Fate.FAILED,
}


class _Pointless(Exception):
    """The notice is ignored, and sending it again would not help; the message says why."""


class Notices:
    """``changed`` tells this process's cache of a change, by its tag."""

    def __init__(self, pipeline: Pipeline, config: Config, changed: Callable[[str], None]) -> None:
        self._pipeline = pipeline
        self._settings = config.pipeline
        self._pattern = re.compile(config.pipeline.key_pattern)
        self._stores = _by_bucket(config)
        self._changed = changed

    async def take(self, caller: Caller, _entry: Entry | None, ask: TakeNotices) -> list[Taken]:
        """What became of each, in order. Raises Unavailable where one could not be decided; the others are done with."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(notice: Noticed) -> Taken | Unavailable:
            async with room:
                try:
                    return await self._one(caller, ask.kind, notice)
                except (Unavailable, OriginFailed, OriginTimeout) as error:
                    log.warning("undecided", reason=error.reason, detail=error.detail)
                    return Unavailable(error.detail)

        taken = await asyncio.gather(*(one(notice) for notice in ask.notices))
        if undecided := [each for each in taken if isinstance(each, Unavailable)]:
            raise undecided[0]
        return [each for each in taken if isinstance(each, Taken)]

    async def _one(self, caller: Caller, kind: StoreKind, notice: Noticed) -> Taken:
        try:
            stores = self._stores_of(kind, notice)
            registry, key = self._pipeline.registry, notice.key
            known = [(call, store) for store in stores for call in await registry.calls_at(caller.tenant, store, key)]
            calls = known or [await self._named(caller, stores, key)]
            taken = [await self._look(caller.tenant, call, store, key) for call, store in calls]
        except _Pointless as pointless:
            return Taken(Fate.IGNORED, reason=str(pointless))
        except UnfitKey as unfit:
            return Taken(Fate.IGNORED, reason=f"the key {unfit}")
        except Conflict as conflict:
            return Taken(Fate.IGNORED, reason=contradiction(conflict).message)
        return taken[0]

    def _stores_of(self, kind: StoreKind, notice: Noticed) -> Sequence[str]:
        if not notice.created:
            raise _Pointless("not about a new object")
        stores = self._stores.get((kind, notice.bucket))
        if stores is None:
            raise _Pointless("no store with that bucket is configured")
        if not notice.key or "\0" in notice.key:
            raise _Pointless("no key that an object could have")
        return stores

    async def _named(self, caller: Caller, stores: Sequence[str], key: str) -> tuple[UUID, str]:
        """For an object that no call has registered: the call that its key names, made if need be, and the store that has it."""
        if (reason := unfit_key(key, prefix_for(self._settings, caller.tenant_slug))) is not None:
            raise _Pointless(f"the key {reason}")
        named = self._pattern.fullmatch(key)
        if named is None or not named["surface"] or not named["id"]:
            raise _Pointless("the key names no call, as pipeline.key_pattern has it")
        if (named.groupdict().get("tenant") or caller.tenant_slug) != caller.tenant_slug:
            raise _Pointless("the key names another tenant")
        for store in stores:
            if await stat_or_none(self._pipeline.store(store), key) is not None:
                break
        else:
            raise _Pointless("the store has no such object any more")
        call = await self._pipeline.registry.create_call(
            caller.tenant, NewCall(aliases={named["surface"]: named["id"]})
        )
        entry = await self._pipeline.catalog.find(caller.tenant, CallRef(None, str(call)))
        if entry.recording is not None and entry.recording.state is State.READY:
            raise _Pointless("the call's recording lies elsewhere")
        return call, store

    async def _look(self, tenant: UUID, call: UUID, store: str, key: str) -> Taken:
        result = await self._pipeline.register(tenant, call, store, key)
        self._changed(f"call:{call}")
        return Taken(_FATES[result.outcome], call, result.reason or None)


def _by_bucket(config: Config) -> Mapping[tuple[StoreKind, str], Sequence[str]]:
    """(kind, bucket) → the names of all stores configured with it: a notice does not say at which endpoint the bucket is."""
    found: dict[tuple[StoreKind, str], list[str]] = {}
    for name, settings in config.stores.items():
        match settings:
            case S3Store():
                found.setdefault((StoreKind.S3, settings.bucket), []).append(name)
            case GcsStore():
                found.setdefault((StoreKind.GCS, settings.bucket), []).append(name)
            case _:
                pass
    return found
