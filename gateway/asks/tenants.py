"""An account's settings and its departments. Every ask is about the caller's own account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ShowTenant:
    """Gives back the Tenant. Raises NotFound where ``slug`` is not the caller's own."""

    slug: str


@dataclass(frozen=True, slots=True)
class ChangeTenant:
    """None: stays as it is. Gives back the Tenant. Raises NotFound where ``slug`` is not the caller's own."""

    slug: str
    name: str | None = None
    recording_enabled: bool | None = None
    transcription_enabled: bool | None = None
    retention_days: int | None = None
    for_ever: bool = False
    """Recordings are kept without an end; ``retention_days`` is None then."""


@dataclass(frozen=True, slots=True)
class EnableRecording:
    """Serve the caller's own account's recordings publicly. Gives back its Tenant; doing it again changes nothing."""


@dataclass(frozen=True, slots=True)
class ListDepartments:
    """All of them by name, as a list of Department."""


@dataclass(frozen=True, slots=True)
class ShowDepartment:
    """Gives back the Department. Raises NotFound."""

    department: UUID


@dataclass(frozen=True, slots=True)
class PutDepartment:
    """Made, or given another name. Gives back a DepartmentPut. Raises Contradicts (the id is taken)."""

    department: UUID
    name: str


@dataclass(frozen=True, slots=True)
class DeleteDepartment:
    """Gives back nothing. Raises NotFound, Contradicts (one of its calls has a recording)."""

    department: UUID


@dataclass(frozen=True, slots=True)
class Department:
    """A part of an account."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DepartmentPut:
    """``made``: it was not there before."""

    department: Department
    made: bool
