"""Webhooks (Standard Webhooks): where they may go, how they are signed and sent, and what becomes of each."""

from __future__ import annotations

from typing import Self

from ... import config
from ...postgres import Pool
from .desk import Book, Desk
from .post import Poster
from .queue import Queue
from .resolving import VETTING, Lookup, Vetting
from .sender import Sender, lease_s
from .signing import Sealer

__all__ = ["Desk", "Lookup", "Webhooks", "open_desk"]


def open_desk(settings: config.Webhooks, book: Book, lookup: Lookup) -> Desk:
    """The managing side alone. Raises nothing."""
    return Desk(book, Vetting(settings, lookup), _sealer(settings), settings)


class Webhooks:
    """An async context manager: ``sender`` sends while entered, ``desk`` manages endpoints. Made inside its loop."""

    def __init__(self, settings: config.Webhooks, database: config.Database, pool: Pool, book: Book) -> None:
        self._lookup = Lookup()
        self._vetting = Lookup(VETTING)
        self._poster = Poster(settings, self._lookup)
        queue = Queue(pool, database, lease_s=lease_s(settings))
        self.sender = Sender(queue, self._poster, _sealer(settings), settings)
        self.desk = open_desk(settings, book, self._vetting)

    async def __aenter__(self) -> Self:
        await self.sender.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.sender.__aexit__(*exception)
        await self._poster.close()
        self._lookup.close()
        self._vetting.close()


def _sealer(settings: config.Webhooks) -> Sealer:
    return Sealer([key.get_secret_value() for key in settings.secret_keys])
