"""Legal hold: retention never touches a held recording."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ShowHold:
    """Gives back the recording's Hold. Raises Absent."""


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Gives back the Hold; doing it again changes its reason, if one is given. Raises Absent, Contradicts (it has expired)."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LiftHold:
    """Gives back the Hold that is none; doing it again changes nothing. Raises Absent."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Whether a recording is held, why, and since when. What is not told is None."""

    held: bool
    reason: str | None = None
    since: datetime | None = None
