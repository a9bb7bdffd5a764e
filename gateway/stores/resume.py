"""A body that outlives its connections: where one breaks it is resumed at the same version, or ends with Broken."""

from __future__ import annotations

import asyncio
import os
from typing import TypeGuard

from ..errors import Broken, NotFound, OriginFailed, OriginTimeout, Unavailable
from ..model import Pourable, Source, Span, Store
from .counts import Counted
from .origin import jittered


class Resuming:
    """A Pourable over ``span`` of one version of ``key``, opened again where it breaks; the source may be any.

    At most ``resumes`` times in all: progress in between earns no further tries, so that no body flaps for ever.
    """

    __slots__ = (
        "_at", "_broken", "_held", "_key", "_pourable", "_resumes", "_source", "_stop", "_store", "_version", "resumed",
    )  # fmt: skip

    resumed: int
    """Times it was taken up again, whether that helped or not."""

    def __init__(self, store: Store, key: str, span: Span, version: str, resumes: int, source: Source) -> None:
        self._store = store
        self._key = key
        self._at = span.start
        """Offset of the first byte not handed on."""
        self._stop = span.stop
        self._version = version
        self._resumes = resumes
        self._broken: Broken | None = None
        """A break met in ``pour``, which cannot wait; ``ready`` and ``read`` resume from it."""
        self._held = b""
        """Bytes read ahead from a source that does not pour."""
        self.resumed = 0
        self._follow(source)

    async def read(self) -> bytes:
        """As Source.read, but Broken is final: it was tried again."""
        if self._held:
            held, self._held = self._held, b""
            return self._gave(held)
        while self._at < self._stop:
            try:
                if self._broken is not None:
                    raise self._broken
                piece = await self._source.read()
            except Broken as error:
                await self._take_up(error)
                continue
            if not piece:
                await self._take_up(Broken("ended early"))
                continue
            return self._gave(piece)
        return b""

    def at_hand(self) -> memoryview:
        if self._pourable is None:
            held, self._held = memoryview(self._held), b""
        else:
            held = self._pourable.at_hand()
        self._at += self._bounded(held)
        return held

    def pour(self, to: int, most: int) -> int:
        """As Pourable.pour. What breaks is no error yet: ``ready`` takes it up again."""
        most = min(most, self._stop - self._at)
        if most <= 0:
            return 0
        if self._pourable is None:
            moved = self._write(to, most)
        elif self._broken is not None:
            return 0
        else:
            try:
                moved = self._pourable.pour(to, most)
            except Broken as error:
                self._broken = error
                return 0
        self._at += moved
        return moved

    async def ready(self) -> None:
        """As Pourable.ready, but Broken is final: it was tried again."""
        if self._held or self._at >= self._stop:
            return
        if self._pourable is None:
            piece = await self.read()
            self._at -= len(piece)
            self._held = piece
            return
        try:
            if self._broken is not None:
                raise self._broken
            await self._pourable.ready()
        except Broken as error:
            await self._take_up(error)

    async def close(self) -> None:
        self._resumes = -1  # a read that is still trying tries no more
        self._held = b""
        await self._source.close()

    def _follow(self, source: Source) -> None:
        self._source = source
        self._pourable = source if _pours(source) else None

    def _gave(self, piece: bytes) -> bytes:
        self._at += self._bounded(piece)
        return piece

    def _bounded(self, piece: bytes | memoryview) -> int:
        """How many it has. Raises Broken."""
        count = len(piece)
        if count > self._stop - self._at:
            raise Broken("more bytes came than were asked for")
        return count

    def _write(self, to: int, most: int) -> int:
        if not self._held:
            return 0
        try:
            moved = os.write(to, self._held[:most])
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:
            raise ConnectionResetError(*error.args) from None
        self._held = self._held[moved:]
        return moved

    async def _take_up(self, why: Exception) -> None:
        self._broken = None
        await self._source.close()
        while self.resumed < self._resumes:
            self.resumed += 1
            if isinstance(self._store, Counted):
                self._store.counts.resumes += 1
            await asyncio.sleep(jittered(self.resumed))
            try:
                source = await self._store.open(self._key, Span(self._at, self._stop), self._version)
            except (Unavailable, OriginTimeout) as error:
                why = error
            except (NotFound, OriginFailed) as error:
                raise Broken(f"cannot be taken up again: {type(error).__name__} {error}") from error
            else:
                self._follow(source)
                if self._resumes < 0:  # closed while the store was being asked
                    await source.close()
                return
        raise Broken(f"given up after {self.resumed} resumes: {why}") from why


def _pours(source: Source) -> TypeGuard[Pourable]:
    """As isinstance says, for a tenth of the time."""
    return hasattr(source, "pour")


async def open_resuming(store: Store, key: str, span: Span, version: str, resumes: int) -> Resuming:
    """``store.open``, whose body is taken up again at most ``resumes`` times. Raises what ``open`` raises."""
    return Resuming(store, key, span, version, resumes, await store.open(key, span, version))
