"""Fills the demo's catalog as a deployment would: tenants, keys, calls; each recording registered through the pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ..catalog.registry import NewCall, Registry
from ..catalog.store import PostgresCatalog
from ..issuing import SCOPES, issue_key
from ..lifecycle.pipeline import Outcome, Pipeline
from ..model import State as RecordingState
from ..model import Tenant
from . import cast
from .cast import Sound
from .state import DemoFailed, State

LIMITED = ("calls:read",)
SIDES = 2
"""Channels of a voice agent's call: one for each side."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets of one surface's keys."""

    full: str
    limited: str


class Seeder:
    """Doing it twice does it once."""

    def __init__(self, registry: Registry, catalog: PostgresCatalog, pipeline: Pipeline) -> None:
        self._registry = registry
        self._catalog = catalog
        self._pipeline = pipeline

    async def tenants(self) -> tuple[Tenant, Tenant]:
        """The demo's own, and another."""
        return (
            await self._registry.create_tenant(cast.TENANT, "Demo Ltd"),
            await self._registry.create_tenant(cast.OTHER_TENANT, "Somebody Else Ltd"),
        )

    async def keys(self, state: State, tenant: Tenant) -> dict[str, Keys]:
        """Surface → its keys, the same at every run: ``state`` keeps their secrets, the catalog only digests."""
        return {
            surface: Keys(
                await self._key(state, tenant, f"{surface}, all rights", SCOPES, prefix),
                await self._key(state, tenant, f"{surface}, limited", LIMITED, prefix),
            )
            for surface, prefix in cast.SURFACES.items()
        }

    async def _key(self, state: State, tenant: Tenant, name: str, scopes: Iterable[str], prefix: str) -> str:
        secret = state.kept(f"key: {name}")
        if secret is not None and await self._catalog.key(hashlib.sha256(secret.encode()).digest()) is not None:
            return secret
        _, minted = await issue_key(self._registry, tenant, name, scopes, prefix=prefix)
        return state.keep(f"key: {name}", minted.secret)

    async def ready(self, tenant: Tenant, sounds: list[Sound], tell: Callable[[str], None]) -> list[Sound]:
        """Registers ``sounds``; those the pipeline refuses are told of and left out."""
        registered = []
        now = datetime.now(UTC).replace(microsecond=0)
        for place, sound in enumerate(sounds):
            call = await self._call(
                tenant, sound.name, now - timedelta(hours=3 * (place + 1)), voice_agent=sound.voice_agent
            )
            result = await self._pipeline.register(tenant.id, call, sound.store, sound.key)
            if result.outcome not in {Outcome.READY, Outcome.UNCHANGED}:
                tell(f"{sound.description}: left out: {result.reason}")
                continue
            voice_agent = sound.voice_agent or result.recording.channels == SIDES
            await self._registry.create_call(tenant.id, NewCall(id=call, voice_agent=voice_agent))
            registered.append(replace(sound, voice_agent=voice_agent))
        if not registered:
            raise DemoFailed("none of the recordings could be read; --audio takes wav, mp3, m4a, mp4, webm and ogg")
        return registered

    async def others(self, tenant: Tenant, other: Tenant, sound: Sound, empty: tuple[str, str]) -> None:
        """The calls that are there to be refused, and the empty one. ``empty`` is a store and a key; ``sound`` lends bytes."""
        now = datetime.now(UTC)
        names = sorted(cast.TAKEN - {"foreign", "missing"})
        calls = {name: await self._call(tenant, name, now) for name in names}
        await self._pipeline.register(tenant.id, calls["empty"], *empty, media_type="audio/wav", allow_empty=True)
        await self._registry.put_recording(tenant.id, calls["pending"], state=RecordingState.PENDING)
        await self._registry.mark_failed(tenant.id, calls["failed"], "the recorder lost the call's media")
        await self._pipeline.register(
            tenant.id, calls["expired"], sound.store, sound.key, expires_at=now - timedelta(days=1)
        )
        foreign = await self._call(other, "foreign", now)
        await self._pipeline.register(other.id, foreign, sound.store, sound.key)

    async def _call(self, tenant: Tenant, name: str, started_at: datetime, *, voice_agent: bool = False) -> UUID:
        aliases = {surface: cast.alias(name) for surface in cast.SURFACES if surface != "native"}
        call = NewCall(
            id=cast.call_id(name),
            aliases=aliases,
            direction="inbound",
            from_number="+15550100",
            to_number="+15550123",
            voice_agent=voice_agent,
            started_at=started_at,
        )
        return await self._registry.create_call(tenant.id, call)
