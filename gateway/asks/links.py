"""Gateway links that were handed out: listed, taken back."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ..model import IssuedLink


@dataclass(frozen=True, slots=True)
class ListLinks:
    """Those to the call that are still good, as a list of LinkInUse, newest first; no more than the newest ``limit``."""

    limit: int


@dataclass(frozen=True, slots=True)
class RevokeLink:
    """Gives back nothing; doing it again changes nothing. Raises NotFound."""

    link: UUID


@dataclass(frozen=True, slots=True)
class LinkInUse:
    """``uses``: playbacks counted, where they are (``max_uses``)."""

    link: IssuedLink
    uses: int
