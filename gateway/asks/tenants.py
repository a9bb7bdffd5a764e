"""An account's settings and its departments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class EnableRecording:
    """Serve the caller's own account's recordings publicly. Gives back its Tenant; doing it again changes nothing."""


@dataclass(frozen=True, slots=True)
class DeleteDepartment:
    """Of the caller's own account. Raises NotFound, Contradicts (one of its calls has a recording)."""

    department: UUID


@dataclass(frozen=True, slots=True)
class Department:
    """A part of an account."""

    id: UUID
    name: str
    created_at: datetime
