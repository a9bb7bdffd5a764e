"""A body that outlives its connections: what breaks is taken up again at the same version, or given up aloud."""

from __future__ import annotations

import asyncio

from ..errors import Broken, NotFound, OriginFailed, OriginTimeout, Unavailable
from ..model import Source, Span, Store
from .origin import jittered


class Resuming:
    """A Source over ``span`` of one version of ``key``, opened again where it breaks.

    At most ``resumes`` times in all: progress in between earns no further tries, so that no body flaps for ever.
    """

    __slots__ = ("_at", "_key", "_resumes", "_source", "_stop", "_store", "_version", "resumed")

    resumed: int
    """Times it was taken up again, whether that helped or not."""

    def __init__(self, store: Store, key: str, span: Span, version: str, resumes: int, source: Source) -> None:
        self._store = store
        self._key = key
        self._at = span.start
        self._stop = span.stop
        self._version = version
        self._resumes = resumes
        self._source = source
        self.resumed = 0

    async def read(self) -> bytes:
        """As Source.read, but Broken is final: it was tried again."""
        while self._at < self._stop:
            try:
                piece = await self._source.read()
            except Broken as error:
                await self._take_up(error)
                continue
            if not piece:
                await self._take_up(Broken("ended early"))
                continue
            if len(piece) > self._stop - self._at:
                raise Broken("more bytes came than were asked for")
            self._at += len(piece)
            return piece
        return b""

    async def close(self) -> None:
        self._resumes = -1  # a read that is still trying tries no more
        await self._source.close()

    async def _take_up(self, why: Exception) -> None:
        await self._source.close()
        while self.resumed < self._resumes:
            self.resumed += 1
            await asyncio.sleep(jittered(self.resumed))
            try:
                source = await self._store.open(self._key, Span(self._at, self._stop), self._version)
            except (Unavailable, OriginTimeout) as error:
                why = error
            except (NotFound, OriginFailed) as error:
                raise Broken(f"cannot be taken up again: {type(error).__name__} {error}") from error
            else:
                self._source = source
                if self._resumes < 0:  # closed while the store was being asked
                    await source.close()
                return
        raise Broken(f"given up after {self.resumed} resumes: {why}") from why


async def open_resuming(store: Store, key: str, span: Span, version: str, resumes: int) -> Resuming:
    """``store.open``, whose body is taken up again at most ``resumes`` times. Raises what ``open`` raises."""
    return Resuming(store, key, span, version, resumes, await store.open(key, span, version))
