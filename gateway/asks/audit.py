"""Who touched what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ..event import Method, Result


@dataclass(frozen=True, slots=True)
class ListAccesses:
    """Accesses by and to the caller's own account, newest first; None: any. Gives back an AccessPage.

    Of the call that the route names, if it names one. ``since`` is included, ``until`` is not.
    Raises Malformed (cursor).
    """

    limit: int = 50
    cursor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    credential: str | None = None
    call: UUID | None = None
    recording: UUID | None = None
    method: Method | None = None
    surface: str | None = None
    result: Result | None = None
    status: int | None = None
    session: UUID | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class AccessPage:
    """``accesses`` are the fields of the audit's Intent and Outcome by name, the Outcome's None while it is open.

    ``cursor`` asks for what is older. A page that has one may hold fewer than asked for, or nothing: much was looked
    through, and little found.
    """

    accesses: Sequence[Mapping[str, object]]
    cursor: str | None
