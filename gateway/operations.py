"""What an ACT does: the type of each ask → the operation that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from .asks.audit import AccessPage, ListAccesses
from .asks.holds import LiftHold, PlaceHold, ShowHold
from .asks.links import ListLinks, RevokeLink
from .asks.pipeline import PutCall, PutRecording, TakeNotices
from .asks.tenants import (
    ChangeTenant,
    DeleteDepartment,
    EnableRecording,
    ListDepartments,
    PutDepartment,
    ShowDepartment,
    ShowTenant,
)
from .asks.transcripts import PutTranscript
from .audit.pages import Pages
from .catalog.departments import Departments
from .catalog.holds import Holds
from .catalog.links import LinkBook
from .catalog.registry import Registry
from .catalog.tenants import Tenants
from .catalog.transcripts import Transcripts
from .config import Config
from .lifecycle.events import Notices
from .lifecycle.pipeline import Pipeline
from .lifecycle.registration import Registration
from .lifecycle.webhooks import Desk
from .model import Caller, Entry, Operation
from .postgres import Pool


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What operations need."""

    config: Config
    pool: Pool
    registry: Registry
    pipeline: Pipeline
    links: LinkBook
    webhooks: Desk
    changed: Callable[[str], None] = lambda _tag: None
    """Tells this process's cache of a change at once, by its tag; the others hear of it from Postgres."""


def operations(needs: Dependencies) -> Mapping[type, Operation]:
    """Every operation there is."""
    webhooks = {asked: _own(act) for asked, act in needs.webhooks.acts().items()}
    return {**_accounts(needs), **_recordings(needs), **_pipeline(needs), **_audit(needs), **webhooks}


def _accounts(needs: Dependencies) -> Mapping[type, Operation]:
    tenants = Tenants(needs.pool, needs.config.database)
    departments = Departments(needs.pool, needs.config.database)
    return {
        ShowTenant: _own(tenants.show),
        ChangeTenant: _felt(needs, _own(tenants.change)),
        EnableRecording: _felt(needs, _own(tenants.enable_recording)),
        ListDepartments: _own(departments.list),
        ShowDepartment: _own(departments.show),
        PutDepartment: _own(departments.put),
        DeleteDepartment: _felt(needs, _own(departments.delete)),
    }


def _recordings(needs: Dependencies) -> Mapping[type, Operation]:
    holds = Holds(needs.pool, needs.config.database)
    transcripts = Transcripts(needs.pool, needs.config.database)
    return {
        ListLinks: _of_call(needs.links.live),
        RevokeLink: _own(needs.links.revoke),
        ShowHold: _of_call(holds.show),
        PlaceHold: _felt(needs, _of_call(holds.place)),
        LiftHold: _felt(needs, _of_call(holds.lift)),
        PutTranscript: _felt(needs, _of_call(transcripts.put)),
    }


def _audit(needs: Dependencies) -> Mapping[type, Operation]:
    pages = Pages(needs.pool, needs.config.database)

    async def listed(caller: Caller, entry: Entry | None, ask: ListAccesses, /) -> AccessPage:
        return await pages.page(caller.tenant, ask if entry is None else replace(ask, call=entry.call.id))

    return {ListAccesses: listed}


def _pipeline(needs: Dependencies) -> Mapping[type, Operation]:
    registration = Registration(needs.pipeline, needs.config.pipeline, needs.changed)
    notices = Notices(needs.pipeline, needs.config, needs.changed)
    return {PutCall: registration.put_call, PutRecording: registration.put_recording, TakeNotices: notices.take}


def _own(act: Callable[[UUID, Any], Awaitable[object]]) -> Operation:
    """What is about the caller's own account and names no call. Any: the ask's type chose the act."""

    async def operation(caller: Caller, _entry: Entry | None, ask: Any, /) -> object:
        return await act(caller.tenant, ask)

    return operation


def _of_call(act: Callable[[UUID, UUID, Any], Awaitable[object]]) -> Operation:
    """What is about the call that the route names. Any: as in ``_own``."""

    async def operation(_caller: Caller, entry: Entry | None, ask: Any, /) -> object:
        assert entry is not None, "its route names a call"
        return await act(entry.call.tenant, entry.call.id, ask)

    return operation


def _felt(needs: Dependencies, operation: Operation) -> Operation:
    """What this process remembers of the account or the call is dropped before the answer: who asks next sees the change."""

    async def felt(caller: Caller, entry: Entry | None, ask: Any, /) -> object:
        done = await operation(caller, entry, ask)
        needs.changed(f"tenant:{caller.tenant}" if entry is None else f"call:{entry.call.id}")
        return done

    return felt
