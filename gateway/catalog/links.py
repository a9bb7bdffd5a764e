"""Gateway links on record: written when they are handed out, counted as they are used, taken back."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from ..asks.links import LinkInUse, ListLinks, RevokeLink
from ..config import Database
from ..errors import LinkUsedUp, NotFound
from ..model import IssuedLink, LinkUse
from ..postgres import Pool, borrow
from . import queries, records
from .tasks import Tasks

KEPT = 20_000
"""Playbacks remembered; about 0.5 KB each."""
TIDIED_S = 3600.0
"""Seconds between looks for links that are long over, in a process that makes new ones."""

_ADD = """
    INSERT INTO links (id, tenant_id, call_id, created_at, created_by, expires_at, max_uses, ip_cidr)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_LIVE = f"""
    SELECT {queries.LINK}, (SELECT count(*) FROM link_uses u WHERE u.link_id = id) AS uses FROM links
    WHERE tenant_id = $1 AND call_id = $2 AND revoked_at IS NULL AND expires_at > now()
    ORDER BY created_at DESC, id LIMIT $3
"""  # noqa: S608  constants only
_REVOKE = """
    UPDATE links SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = $1 AND id = $2 RETURNING id
"""
_USE = "SELECT use_link($1, $2, $3, $4)"
_KNOWN = """
    SELECT coalesce(
        (SELECT session FROM link_uses
            WHERE link_id = $1 AND (session = $2 OR (listener = $3 AND seen_at > clock_timestamp() - $4::interval))
            ORDER BY session = $2 DESC, seen_at DESC LIMIT 1),
        (SELECT $2 FROM links
            WHERE id = $1 AND max_uses > (SELECT count(*) FROM link_uses WHERE link_id = $1)))
"""
"""As ``use_link`` finds it, and counts nothing."""
_FORGET = "SELECT forget_links()"


@dataclass(slots=True)
class _Playback:
    session: UUID
    """As Postgres knows it."""
    told_at: float
    """When Postgres was told last that it goes on."""


class LinkBook:
    """A ``model.LinkUses``. Every method raises Unavailable while Postgres is away.

    ``idle_s``: seconds of silence after which a listener's next request is another playback. ``clock`` is monotonic.
    """

    def __init__(
        self, pool: Pool, database: Database, *, idle_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._wait_s = database.connect_s
        self._idle_s = idle_s
        self._clock = clock
        self._tasks = Tasks()
        self._playing: OrderedDict[tuple[UUID, UUID], _Playback] = OrderedDict()
        self._tidied_at: float | None = None

    async def add(self, link: IssuedLink) -> None:
        """To be done before its token leaves."""
        await asyncio.shield(self._tasks.start(self._add(link)))
        now = self._clock()
        if self._tidied_at is None or now - self._tidied_at >= TIDIED_S:
            self._tidied_at = now
            self._tasks.start(self._ask(_FORGET))

    async def known(self, use: LinkUse) -> UUID:
        """As LinkUses says. A playback once counted costs no question, and goes on while Postgres is away."""
        if (known := self._playing.get(use[:2])) is not None:
            return known.session
        found = await asyncio.shield(self._tasks.start(self._told(_KNOWN, use)))
        if found is None:
            raise LinkUsedUp(f"link {use.link}")
        return found

    async def use(self, use: LinkUse) -> UUID:
        """As LinkUses says, and as ``known`` of one that was counted."""
        now, known = self._clock(), self._playing.get(use[:2])
        if known is not None:
            self._playing.move_to_end(use[:2])
            self._keep_up(use, known)
            return known.session
        counted = await asyncio.shield(self._tasks.start(self._told(_USE, use)))
        if counted is None:
            raise LinkUsedUp(f"link {use.link}")
        self._playing[use[:2]] = _Playback(counted, now)
        if len(self._playing) > KEPT:
            self._playing.popitem(last=False)
        return counted

    def playing(self, use: LinkUse) -> Callable[[], None]:
        """As LinkUses says. Postgres is told now and then."""
        known = self._playing.get(use[:2])
        if known is None:  # so many others came since
            return lambda: None
        loop, step_s = asyncio.get_running_loop(), self._idle_s / 3
        timer: asyncio.TimerHandle

        def tell() -> None:
            nonlocal timer
            self._keep_up(use, known)
            timer = loop.call_later(step_s, tell)

        def over() -> None:
            timer.cancel()
            self._keep_up(use, known)

        timer = loop.call_later(step_s, tell)
        return over

    async def live(self, tenant: UUID, call: UUID, ask: ListLinks) -> list[LinkInUse]:
        """Those that are neither over nor taken back, newest first."""
        async with borrow(self._pool, "links", wait_s=self._wait_s) as connection:
            rows = await connection.fetch(_LIVE, tenant, call, ask.limit)
        return [LinkInUse(records.link(row), row["uses"]) for row in rows]

    async def revoke(self, tenant: UUID, ask: RevokeLink) -> None:
        """For good, and for every replica, when it returns. Raises NotFound."""
        if await self._ask(_REVOKE, tenant, ask.link) is None:
            raise NotFound("no such link of this tenant")

    async def close(self) -> None:
        """Waits for the questions under way."""
        await self._tasks.close()

    def _keep_up(self, use: LinkUse, known: _Playback) -> None:
        now = self._clock()
        if now - known.told_at >= self._idle_s / 3:
            known.told_at = now
            self._tasks.start(self._told(_USE, use._replace(session=known.session)))

    async def _add(self, link: IssuedLink) -> None:
        await self._ask(
            _ADD,
            link.id,
            link.tenant,
            link.call,
            link.created_at,
            link.created_by,
            link.expires_at,
            link.max_uses,
            link.network,
        )

    async def _told(self, statement: str, use: LinkUse) -> UUID | None:
        """The playback, by ``_KNOWN`` or ``_USE``."""
        told = await self._ask(statement, *use, timedelta(seconds=self._idle_s))
        return None if told is None else records.uuid(told)

    async def _ask(self, statement: str, *arguments: object) -> UUID | None:
        async with borrow(self._pool, "links", wait_s=self._wait_s) as connection:
            value: UUID | None = await connection.fetchval(statement, *arguments)
            return value
