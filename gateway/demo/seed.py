"""Fills the demo's catalog as a deployment would: tenants, keys, calls; each recording registered through the pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ..asks.tenants import PutDepartment
from ..asks.transcripts import PutTranscript
from ..catalog.departments import Departments
from ..catalog.registry import Registry
from ..catalog.store import PostgresCatalog
from ..catalog.transcripts import Transcripts
from ..errors import Conflict, NotFound
from ..issuing import SCOPES, issue_key
from ..lifecycle.pipeline import Outcome, Pipeline
from ..model import CallRef, Lifetime, NewCall, Recording, Tenant
from ..model import State as RecordingState
from . import cast, tokens
from .cast import Sound
from .script import transcript
from .state import DemoFailed, State

LIMITED = ("calls:read",)
SIDES = 2
"""Channels of a voice agent's call: one for each side."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Request fields that present a surface's credentials."""

    full: Mapping[str, str]
    limited: Mapping[str, str]
    """The weakest that still proves who asks."""
    foreign: Mapping[str, str]
    """Another tenant's, with all rights."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the catalog is written with."""

    registry: Registry
    catalog: PostgresCatalog
    departments: Departments
    transcripts: Transcripts
    pipeline: Pipeline


class Seeder:
    """Doing it twice does it once. ``secret``: of the ids nobody may guess."""

    def __init__(self, books: Books, secret: str) -> None:
        self._books = books
        self._registry = books.registry
        self._catalog = books.catalog
        self._pipeline = books.pipeline
        self._secret = secret

    async def tenants(self) -> tuple[Tenant, Tenant]:
        """The demo's own, with all switches on, and another, with all of them off."""
        return (
            await self._registry.create_tenant(
                cast.TENANT, "Demo Ltd", recording_enabled=True, transcription_enabled=True
            ),
            await self._registry.create_tenant(
                cast.OTHER_TENANT, "Somebody Else Ltd", recording_enabled=False, transcription_enabled=False
            ),
        )

    async def credentials(self, state: State, tenant: Tenant, other: Tenant) -> dict[str, Fields]:
        """Surface → its credentials, the same at every run: ``state`` keeps their secrets, the catalog only digests."""
        made = {}
        for surface, prefix in cast.SURFACES.items():
            if prefix is None:
                roles = (cast.ROLES[-1], cast.ROLES[0])
                full, limited = (tokens.token(state, role) for role in roles)
                foreign = tokens.token(state, cast.ROLES[-1], other.slug)
            else:
                full = await self._key(state, tenant, f"{surface}, all rights", SCOPES, prefix)
                limited = await self._key(state, tenant, f"{surface}, limited", LIMITED, prefix)
                foreign = await self._key(state, other, f"{surface}, another tenant's", SCOPES, prefix)
            made[surface] = Fields(
                _fields(surface, full, tenant), _fields(surface, limited, tenant), _fields(surface, foreign, other)
            )
        return made

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
            started = now - timedelta(hours=3 * (place + 1))
            department = cast.department_id(cast.DEPARTMENTS["with_recordings"])
            call = await self._call(tenant, sound.name, started, voice_agent=sound.voice_agent, department=department)
            result = await self._pipeline.register(tenant.id, call, sound.store, sound.key)
            if result.outcome not in {Outcome.READY, Outcome.UNCHANGED}:
                tell(f"{sound.description}: left out: {result.reason}")
                continue
            voice_agent = sound.voice_agent or result.recording.channels == SIDES
            ended = started + timedelta(milliseconds=result.recording.duration_ms or 0)
            await self._registry.create_call(tenant.id, NewCall(id=call, voice_agent=voice_agent, ended_at=ended))
            if voice_agent:
                said = PutTranscript(transcript(result.recording.duration_ms or 0))
                await self._books.transcripts.put(tenant.id, call, said)
            registered.append(replace(sound, voice_agent=voice_agent, media_type=_type(result.recording)))
        if not registered:
            raise DemoFailed("none of the recordings could be read; --audio takes wav, mp3, m4a, mp4, webm and ogg")
        return registered

    async def departments(self, tenant: Tenant) -> None:
        """One whose calls have recordings, and one without any."""
        for name in cast.DEPARTMENTS.values():
            await self._books.departments.put(tenant.id, PutDepartment(cast.department_id(name), name))

    async def others(self, tenant: Tenant, other: Tenant, places: Mapping[str, tuple[str, str]]) -> None:
        """The calls that are there to be refused, and the empty one. ``places``: call → store and key of its object."""
        now = datetime.now(UTC)
        names = sorted(cast.TAKEN - {"foreign", "missing"})
        calls = {name: await self._call(tenant, name, now) for name in names}
        empty = places["empty"]
        await self._pipeline.register(tenant.id, calls["empty"], *empty, media_type="audio/wav", allow_empty=True)
        for name, state in (("pending", RecordingState.PENDING), ("processing", RecordingState.PROCESSING)):
            await self._registry.put_recording(tenant.id, calls[name], state=state)
        await self._registry.mark_failed(tenant.id, calls["failed"], "the recorder lost the call's media")
        with suppress(Conflict):  # an earlier run's has expired already
            await self._pipeline.register(
                tenant.id, calls["expired"], *places["expired"], lifetime=Lifetime(expires_at=now - timedelta(days=1))
            )
        foreign = await self._call(other, "foreign", now)
        await self._pipeline.register(other.id, foreign, *places["foreign"])

    async def done(self, other: Tenant) -> bool:
        """Whether the catalog has it all: a database that was tidied away is made anew, empty, below stores that are full."""
        last = CallRef(None, str(cast.call_id("foreign")))
        try:
            return (await self._catalog.find(other.id, last)).recording is not None
        except NotFound:
            return False

    async def _call(
        self,
        tenant: Tenant,
        name: str,
        started_at: datetime,
        *,
        voice_agent: bool = False,
        department: UUID | None = None,
    ) -> UUID:
        call = NewCall(
            id=cast.call_id(name),
            aliases=cast.aliases(self._secret, name),
            direction="inbound",
            from_number="+15550100",
            to_number="+15550123",
            voice_agent=voice_agent,
            department=department,
            started_at=started_at,
        )
        return await self._registry.create_call(tenant.id, call)


def _type(recording: Recording) -> str:
    return recording.object.media_type if recording.object else ""


def _fields(surface: str, secret: str, tenant: Tenant) -> dict[str, str]:
    """How ``surface`` is shown ``secret``."""
    bearer = {"Authorization": f"Bearer {secret}"}
    match surface:
        case "callsid":
            return {**bearer, "X-Organization-Id": tenant.slug}
        case "voki":
            return {**bearer, "X-Tenant": tenant.slug}
        case "envoy":
            return {"X-API-Key": secret}
        case _:
            return bearer
