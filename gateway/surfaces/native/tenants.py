"""An account's own settings and its departments. Another account's are a 404, as those of nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...asks.tenants import (
    ChangeTenant,
    DeleteDepartment,
    Department,
    DepartmentPut,
    ListDepartments,
    PutDepartment,
    ShowDepartment,
    ShowTenant,
)
from ...contract import Doc, Found, Reply, Route, Schema
from ...errors import NotFound
from ...event import Method
from ...model import Head, Tenant, Verb
from ...moments import DAYS_MAX
from .._bodies import LINE, WHOLE, Body, read_body
from .._words import Timestamp, json_reply, no_content, timestamp
from .ids import nothing, uuid_in
from .recordings import Id

_SLUG = r"[a-z0-9][a-z0-9_-]{0,62}"
_ADMIN = frozenset({"tenants:admin"})

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE)]
"""What people call it: printable, 200 characters at most."""


class TenantBody(Body):
    """What is left out stays as it is."""

    name: Name | None = None
    recording_enabled: Annotated[
        bool | None, Field(description="recordings are public to whoever knows a call's agentphone id")
    ] = None
    transcription_enabled: Annotated[bool | None, Field(description="transcripts are told")] = None
    retention_days: Annotated[int, Field(ge=1, le=DAYS_MAX, description="null: for ever"), WHOLE] | None = None


class DepartmentBody(Body):
    """A department as it shall be."""

    name: Name


class TenantTold(TypedDict):
    """An account. ``retention_days`` null: for ever."""

    id: Id
    slug: str
    name: str
    recording_enabled: bool
    transcription_enabled: bool
    retention_days: int | None


class DepartmentTold(TypedDict):
    """A part of an account."""

    id: Id
    name: str
    created_at: Timestamp


class DepartmentsTold(TypedDict):
    """All of them, by name."""

    data: list[DepartmentTold]


def _slug(head: Head) -> str:
    if re.fullmatch(_SLUG, head.path["slug"], re.ASCII) is None:
        raise NotFound("no slug")
    return head.path["slug"]


def _change(head: Head) -> ChangeTenant:
    asked = read_body(head, TenantBody)
    for_ever = "retention_days" in asked.model_fields_set and asked.retention_days is None
    return ChangeTenant(
        _slug(head),
        asked.name,
        asked.recording_enabled,
        asked.transcription_enabled,
        asked.retention_days,
        for_ever=for_ever,
    )


def _tell(tenant: Tenant) -> TenantTold:
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "recording_enabled": tenant.recording_enabled,
        "transcription_enabled": tenant.transcription_enabled,
        "retention_days": tenant.retention_days,
    }


def _told(department: Department) -> DepartmentTold:
    return {"id": str(department.id), "name": department.name, "created_at": timestamp(department.created_at)}


def _tenant_reply(found: Found) -> Reply:
    assert isinstance(found.done, Tenant)
    return json_reply(200, _tell(found.done))


def _departments_reply(found: Found) -> Reply:
    assert isinstance(found.done, list)
    told: DepartmentsTold = {"data": [_told(department) for department in found.done]}
    return json_reply(200, told)


def _department_reply(found: Found) -> Reply:
    assert isinstance(found.done, Department)
    return json_reply(200, _told(found.done))


def _put_reply(found: Found) -> Reply:
    assert isinstance(found.done, DepartmentPut)
    return json_reply(201 if found.done.made else 200, _told(found.done.department))


_SLUG_SCHEMA: Mapping[str, Schema] = {"slug": {"type": "string", "pattern": f"^{_SLUG}$"}}
_ID_SCHEMA: Mapping[str, Schema] = {"id": {"type": "string", "format": "uuid"}}

ROUTES = (
    Route(
        "GET",
        "/v1/tenants/{slug}",
        Verb.ACT,
        _ADMIN,
        nothing,
        _tenant_reply,
        ask=lambda head: ShowTenant(_slug(head)),
        audited=Method.SETTINGS,
        doc=Doc("Get an account's settings", answer=TenantTold, path=_SLUG_SCHEMA),
    ),
    Route(
        "PATCH",
        "/v1/tenants/{slug}",
        Verb.ACT,
        _ADMIN,
        nothing,
        _tenant_reply,
        ask=_change,
        audited=Method.SETTINGS,
        doc=Doc(
            "Change an account's settings",
            "What is left out stays as it is. A change counts on every replica at once.",
            answer=TenantTold,
            body=TenantBody,
            path=_SLUG_SCHEMA,
        ),
    ),
    Route(
        "GET",
        "/v1/departments",
        Verb.ACT,
        _ADMIN,
        nothing,
        _departments_reply,
        ask=lambda _head: ListDepartments(),
        audited=Method.SETTINGS,
        doc=Doc("List departments", answer=DepartmentsTold),
    ),
    Route(
        "GET",
        "/v1/departments/{id}",
        Verb.ACT,
        _ADMIN,
        nothing,
        _department_reply,
        ask=lambda head: ShowDepartment(uuid_in(head, "id")),
        audited=Method.SETTINGS,
        doc=Doc("Get a department", answer=DepartmentTold, path=_ID_SCHEMA),
    ),
    Route(
        "PUT",
        "/v1/departments/{id}",
        Verb.ACT,
        _ADMIN,
        nothing,
        _put_reply,
        ask=lambda head: PutDepartment(uuid_in(head, "id"), read_body(head, DepartmentBody).name),
        audited=Method.SETTINGS,
        doc=Doc(
            "Make a department, or rename it",
            "201 where it is new, 200 where it was there.",
            conflicts=("id_taken",),
            status=201,
            also=(200,),
            answer=DepartmentTold,
            body=DepartmentBody,
            path=_ID_SCHEMA,
        ),
    ),
    Route(
        "DELETE",
        "/v1/departments/{id}",
        Verb.ACT,
        _ADMIN,
        nothing,
        no_content,
        ask=lambda head: DeleteDepartment(uuid_in(head, "id")),
        audited=Method.SETTINGS,
        doc=Doc(
            "Delete a department",
            "Refused with 409 while any of its calls has a recording. Calls without one stay, in no department.",
            conflicts=("department_has_recordings",),
            status=204,
            path=_ID_SCHEMA,
        ),
    ),
)
