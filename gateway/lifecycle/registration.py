"""Calls and recordings as a tenant's own pipeline registers them over the API."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ..asks.pipeline import CallPut, PutCall, PutRecording
from ..config import Pipeline as Settings
from ..errors import Conflict, Contradicts, Malformed, NotFound
from ..model import KEY_BYTES, Caller, CallRef, Entry, State
from .pipeline import Outcome, Pipeline, UnfitKey, UnknownStore, as_stored
from .probe import stat_or_none

_CONFLICTS = {
    "id_taken": "One of the call's ids is another call's.",
    "department_fixed": "A call with a recording stays in its department.",
    "recording_ready": "The recording is ready and does not fail any more.",
    "recording_expired": "The recording is past its retention and does not come back.",
    "recording_held": "The recording is on legal hold and stays where it lies.",
    "conflict": "What was asked contradicts what is there.",
}
_NO_NAMES = frozenset({"..", ".", ""})


class Registration:
    """``changed`` tells this process's cache of a change, by its tag."""

    def __init__(self, pipeline: Pipeline, settings: Settings, changed: Callable[[str], None]) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._changed = changed

    async def put_call(self, caller: Caller, _entry: Entry | None, ask: PutCall) -> CallPut:
        """Raises Contradicts, Malformed, Unavailable."""
        try:
            call, made = await self._pipeline.registry.put_call(caller.tenant, ask.call)
        except Conflict as conflict:
            raise contradiction(conflict) from None
        except NotFound:
            raise Malformed("body", "department", message="there is no such department") from None
        return CallPut(await self._found(caller.tenant, call), made)

    async def put_recording(self, caller: Caller, entry: Entry | None, ask: PutRecording) -> Entry:
        """Raises Contradicts, Malformed, Unavailable, OriginFailed, OriginTimeout."""
        assert entry is not None
        if ask.place is not None:
            # A hold may be younger than what the cache remembers.
            entry = await self._pipeline.catalog.find(caller.tenant, CallRef(None, str(entry.call.id)))
            _refuse_key(ask.place[1], prefix_for(self._settings, entry.account.slug))
            _refuse_move(entry, ask.place)
        try:
            await self._put(caller.tenant, entry.call.id, ask)
        except Conflict as conflict:
            raise contradiction(conflict) from None
        except UnknownStore:
            raise Malformed("body", "store", message="no store of that name is configured") from None
        except UnfitKey as unfit:
            raise Malformed("body", "key", message=str(unfit)) from None
        return await self._found(caller.tenant, entry.call.id)

    async def _put(self, tenant: UUID, call: UUID, ask: PutRecording) -> None:
        registry = self._pipeline.registry
        if ask.state is State.FAILED:
            await registry.mark_failed(tenant, call, ask.failure or "the pipeline said so")
            return
        if ask.state is None and ask.place is not None:
            await self._look(tenant, call, ask.place, ask)
            return
        known = None
        if ask.place is not None:
            store, key = ask.place
            stat = await stat_or_none(self._pipeline.holder(store, key), key)
            known = None if stat is None else as_stored(store, key, stat, ask.media_type)
        await registry.put_recording(
            tenant,
            call,
            state=ask.state,
            place=ask.place,
            object_=known,
            lifetime=ask.lifetime,
        )

    async def _look(self, tenant: UUID, call: UUID, place: tuple[str, str], ask: PutRecording) -> None:
        result = await self._pipeline.register(
            tenant,
            call,
            *place,
            lifetime=ask.lifetime,
            media_type=ask.media_type,
        )
        if result.recording.state is State.READY and result.outcome in {Outcome.PENDING, Outcome.FAILED}:
            raise Contradicts("object_unfit", f"The recording stays as it was: {result.reason}.")

    async def _found(self, tenant: UUID, call: UUID) -> Entry:
        self._changed(f"call:{call}")
        return await self._pipeline.catalog.find(tenant, CallRef(None, str(call)))


def contradiction(conflict: Conflict) -> Contradicts:
    """Worded for a client: it holds nothing of what was sent."""
    code = conflict.code if conflict.code in _CONFLICTS else "conflict"
    return Contradicts(code, _CONFLICTS[code])


def prefix_for(settings: Settings, slug: str) -> str:
    """What keys that the tenant ``slug`` registers begin with."""
    return settings.key_prefix.replace("{tenant}", slug)


def unfit_key(key: str, prefix: str) -> str | None:
    """Why a tenant whose keys begin with ``prefix`` may not register ``key``; None: it may.

    Some stores read a backslash as a slash and pass over an empty step: by its second name a held object could be deleted.
    """
    if not key.startswith(prefix) or key == prefix:
        return f"must begin with {prefix} and go on, as pipeline.key_prefix has it"
    own = key.removeprefix(prefix)
    if not _NO_NAMES.isdisjoint(own.split("/")) or "\\" in own:
        return "must hold no .., . or nothing between its slashes, and no backslash"
    if len(key.encode()) > KEY_BYTES:
        return f"must have {KEY_BYTES} bytes at most"
    return None


def _refuse_key(key: str, prefix: str) -> None:
    if (reason := unfit_key(key, prefix)) is not None:
        raise Malformed("body", "key", message=reason)


def _refuse_move(entry: Entry, place: tuple[str, str]) -> None:
    """Raises Contradicts if a held recording would move: registering another object in its place would be a way to delete it."""
    recording = entry.recording
    if recording is None or not recording.hold or recording.object is None:
        return
    if place != (recording.object.store, recording.object.key):
        raise Contradicts("recording_held", _CONFLICTS["recording_held"])
