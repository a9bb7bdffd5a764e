"""Gateway links that can be taken back, and how often each was used."""

from __future__ import annotations

from uuid import UUID


class LinkBook:
    """A ``model.LinkUses``."""

    async def use(self, link: UUID, session: UUID, max_uses: int) -> None:
        """Raises LinkUsedUp, Unavailable."""
