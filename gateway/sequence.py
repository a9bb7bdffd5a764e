"""Several spans of one object, with what goes between them, as one Source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .model import Part, Source, Span

Opener = Callable[[Span], Awaitable[Source]]


class Sequenced:
    """A multipart/byteranges body: each part's head, its bytes, and the tail. One origin read is open at a time.

    The first part's Source comes opened, so that its store could still refuse; the others are opened when they are due,
    at the same version.
    """

    def __init__(self, parts: Sequence[Part], tail: bytes, first: Source, opener: Opener) -> None:
        self._parts = list(parts)
        self._tail = tail
        self._opener = opener
        self._source: Source | None = first
        self._index = 0
        self._headed = False

    async def read(self) -> bytes:
        """The next piece, a part's head or the tail counting as one."""
        while self._index < len(self._parts):
            part = self._parts[self._index]
            if not self._headed:
                self._headed = True
                return part.head
            if self._source is None:
                self._source = await self._opener(part.span)
            if piece := await self._source.read():
                return piece
            await self._source.close()
            self._source, self._headed = None, False
            self._index += 1
        tail, self._tail = self._tail, b""
        return tail

    async def close(self) -> None:
        """Closes what is open; may be repeated."""
        if self._source is not None:
            await self._source.close()
            self._source = None


def object_bytes(parts: Sequence[Part], span: Span | None, sent: int) -> int:
    """How many of the first ``sent`` bytes of a body are the object's own, and not framing."""
    if not parts:
        return sent if span is None else min(sent, len(span))
    own = 0
    for part in parts:
        sent -= len(part.head)
        if sent <= 0:
            break
        own += min(sent, len(part.span))
        sent -= len(part.span)
        if sent <= 0:
            break
    return own
