"""Tenants, keys and links held in memory: what identity asks of the catalog, without its Postgres."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from gateway.errors import Unavailable
from gateway.model import IssuedLink, Key, Tenant


@dataclass
class MemoryCredentials:
    """``away`` plays a Postgres that cannot be reached; ``asked`` counts the questions."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[bytes, Key] = field(default_factory=dict)
    links: dict[UUID, IssuedLink] = field(default_factory=dict)
    away: bool = False
    asked: int = 0

    async def key(self, sha256: bytes) -> Key | None:
        self._ask()
        return self.keys.get(sha256)

    async def tenant(self, slug: str) -> Tenant | None:
        self._ask()
        return self.tenants.get(slug)

    async def link(self, link: UUID) -> IssuedLink | None:
        self._ask()
        return self.links.get(link)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("Postgres is away")
