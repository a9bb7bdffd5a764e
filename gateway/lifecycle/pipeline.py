"""Registered → probed → ready: a recording can be fetched once its object was seen and its header read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import EllipsisType
from typing import Protocol
from uuid import UUID

from ..errors import Changed, OriginFailed, OriginTimeout
from ..http.headers import OPAQUE, type_by_name
from ..http.headers import media_type as servable
from ..model import NOTHING_TOLD, CallRef, Catalog, Lifetime, NewCall, Object, Recording, Stat, State, Store
from .probe import Unfit, examine, stat_or_none

PROBE_S = 60.0
"""Seconds that reading an object's header may take in all."""


class Registry(Protocol):
    """The catalog's writing side, as far as recordings need it. Raises NotFound, Conflict, Unavailable."""

    async def create_call(self, tenant: UUID, call: NewCall) -> UUID: ...
    async def put_call(self, tenant: UUID, call: NewCall) -> tuple[UUID, bool]: ...
    async def calls_at(self, tenant: UUID, store: str, key: str) -> list[UUID]: ...

    async def put_recording(
        self,
        tenant: UUID,
        call: UUID,
        *,
        state: State | None = None,
        place: tuple[str, str] | None = None,
        object_: Object | None = None,
        lifetime: Lifetime = NOTHING_TOLD,
        moves: bool = True,
    ) -> Recording: ...

    async def mark_ready(
        self,
        tenant: UUID,
        call: UUID,
        object_: Object,
        *,
        duration_ms: int | None = None,
        channels: int | None = None,
        seekable: bool | None = None,
        lifetime: Lifetime = NOTHING_TOLD,
        seen: str | EllipsisType | None = ...,
    ) -> Recording: ...

    async def mark_failed(self, tenant: UUID, call: UUID, failure: str) -> Recording: ...


class Outcome(StrEnum):
    """What became of a registration."""

    READY = "ready"
    """The object, or another version of it than before, can be fetched from now on."""
    UNCHANGED = "unchanged"
    """It could before; at most, when it started or how long it is kept was brought up to date."""
    PENDING = "pending"
    """There is no such object yet."""
    FAILED = "failed"
    """It is no recording. What was ready before stays so."""


@dataclass(frozen=True, slots=True)
class Result:
    """``reason`` says, for PENDING and FAILED, what is wrong with the object."""

    outcome: Outcome
    recording: Recording
    reason: str = ""


class UnknownStore(Exception):
    """No store of that name is configured. Says which ones are."""


class UnfitKey(Exception):
    """No object of the store could have the key. Says why."""


class Pipeline:
    """Makes recordings ready. ``stores`` by their configured names."""

    def __init__(self, stores: Mapping[str, Store], registry: Registry, catalog: Catalog) -> None:
        self._stores = stores
        self.catalog = catalog
        """Asked afresh."""
        self.registry = registry

    async def register(
        self,
        tenant: UUID,
        call: UUID,
        store: str,
        key: str,
        *,
        lifetime: Lifetime = NOTHING_TOLD,
        media_type: str | None = None,
        allow_empty: bool = False,
        fail_missing: bool = False,
    ) -> Result:
        """The recording of ``call`` lies in ``store`` under ``key``.

        Repeating it only updates the ``lifetime``, unless the object was replaced: then the new version is registered.
        ``media_type`` overrules what the bytes say; an object that cannot be parsed is accepted then, without a duration.
        ``allow_empty``: an object of no bytes is a recording. ``fail_missing``: no object means FAILED, not PENDING.

        Raises UnknownStore; UnfitKey; ValueError for a media type that is never served; NotFound (no such call), Conflict (it has
        expired); and where nothing could be decided, so that asking again may help: Unavailable, OriginFailed,
        OriginTimeout.
        """
        where, served = self.known(store, key, media_type)
        held = (await self.catalog.find(tenant, CallRef(None, str(call)))).recording
        ready = held if held is not None and held.state is State.READY else None
        stat = await stat_or_none(where, key)
        if ready is not None and stat is not None and _is(ready.object, store, key, stat, served):
            if lifetime not in {NOTHING_TOLD, Lifetime(ready.started_at)}:
                ready = await self.registry.put_recording(tenant, call, lifetime=lifetime)
            return Result(Outcome.UNCHANGED, ready)
        seen = None if ready is None or ready.object is None else ready.object.stat.version
        recording = ready
        if recording is None:
            recording = await self.registry.put_recording(
                tenant,
                call,
                state=State.PENDING if stat is None else State.PROCESSING,
                place=(store, key),
                object_=None if stat is None else as_stored(store, key, stat, served),
                lifetime=lifetime,
                moves=False,
            )
            if recording.state is State.READY:  # by somebody else, since it was looked up
                ready = recording
        try:
            async with asyncio.timeout(PROBE_S):
                stat, media = await examine(where, key, stat, media_type=served, allow_empty=allow_empty)
        except TimeoutError:
            raise OriginTimeout(f"store {store}: an object's header was not read in {PROBE_S:.0f} s") from None
        except Unfit as unfit:
            outcome = Outcome.PENDING if unfit.missing and not fail_missing else Outcome.FAILED
            if ready is None and outcome is Outcome.FAILED:
                recording = await self.registry.mark_failed(tenant, call, str(unfit))
            return Result(outcome, recording, str(unfit))
        try:
            recording = await self.registry.mark_ready(
                tenant,
                call,
                Object(store, key, stat, media.media_type),
                duration_ms=media.duration_ms,
                channels=media.channels,
                seekable=media.seekable,
                lifetime=lifetime,
                seen=seen,
            )
        except Changed as error:
            raise OriginFailed(f"store {store}: {error}") from None
        return Result(Outcome.READY, recording)

    def known(self, store: str, key: str, media_type: str | None) -> tuple[Store, str | None]:
        """What ``register`` is to be given, as it takes it. Raises UnknownStore; UnfitKey; ValueError for the media type."""
        return self.holder(store, key), None if media_type is None else _served(media_type)

    def holder(self, name: str, key: str) -> Store:
        """The store ``name``, where ``key`` may be an object's. Raises UnknownStore, UnfitKey."""
        store = self.store(name)
        if (reason := store.unfit(key)) is not None:
            raise UnfitKey(f"can be no object's in that store: {reason}")
        return store

    def store(self, name: str) -> Store:
        """Raises UnknownStore."""
        if name not in self._stores:
            raise UnknownStore(
                f"no store {name!r} is configured; there are: {', '.join(sorted(self._stores)) or 'none'}"
            )
        return self._stores[name]


def as_stored(store: str, key: str, stat: Stat, media_type: str | None = None) -> Object:
    """What is known of an object before its header is read: its type is ``media_type``, else the store's, else its name's."""
    stored = servable(stat.media_type)
    return Object(store, key, stat, media_type or (type_by_name(key) if stored == OPAQUE else stored))


def _served(media_type: str) -> str:
    known = servable(media_type)
    if known == OPAQUE:
        raise ValueError(f"{media_type!r} is no media type that is served, as audio/wav or video/mp4 are")
    return known


def _is(known: Object | None, store: str, key: str, stat: Stat, served: str | None) -> bool:
    """Whether that very version is what is ready, under the type asked for."""
    return (
        known is not None
        and (known.store, known.key) == (store, key)
        and (known.stat.version, known.stat.size) == (stat.version, stat.size)
        and served in {None, known.media_type}
    )
