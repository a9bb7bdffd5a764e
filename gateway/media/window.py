"""An object as far as its bytes are known: a few spans of it, and bounds on how many more may be asked for.

Parsers read through a Window without ever waiting: bytes that are not there yet raise Need, whoever holds the object
fetches them, and the parser runs anew from its start. Headers are small, so that costs less than a thread per object,
and leaves nothing to interrupt.
"""

from __future__ import annotations

import io

from ..model import PIECE, Span

BLOCK = 4096
"""Bytes are fetched in whole blocks of this many."""


class Unreadable(Exception):
    """The bytes are no media the gateway can describe. The message names what is wrong; it quotes no content."""


class Need(Exception):
    """The bytes of ``span`` have to be fetched first."""

    def __init__(self, span: Span) -> None:
        super().__init__(f"bytes {span.start} to {span.stop}")
        self.span = span


class Window:
    """What is known of an object of ``size`` bytes.

    Bounds, over the Window's whole life: ``budget`` bytes and ``reads`` spans fetched, ``steps`` looks at the bytes.
    What exceeds one of them is Unreadable, so a parser's time is bounded whatever an object claims of itself.
    """

    __slots__ = ("_ahead", "_blocks", "_end", "_reads", "_steps", "budget", "fetched", "reads", "size", "steps")

    def __init__(self, size: int, *, budget: int = 4 * 1024 * 1024, reads: int = 64, steps: int = 100_000) -> None:
        self.size = size
        self.budget = budget
        self.reads = reads
        self.steps = steps
        self.fetched = 0
        self._blocks: dict[int, bytes] = {}
        self._reads = 0
        self._steps = 0
        self._end = 0
        self._ahead = PIECE // 8

    @classmethod
    def over(cls, head: bytes, size: int | None = None) -> Window:
        """A Window in which ``head``, the object's first bytes, is known; ``size`` None: they are the whole object."""
        window = cls(len(head) if size is None else size)
        window.put(0, head)
        return window

    @property
    def fetches(self) -> int:
        """How many spans were planned so far."""
        return self._reads

    def put(self, start: int, data: bytes) -> None:
        """Makes known the bytes from ``start``, a multiple of BLOCK."""
        for offset in range(0, len(data), BLOCK):
            index, block = (start + offset) // BLOCK, data[offset : offset + BLOCK]
            if len(block) > len(self._blocks.get(index, b"")):
                self._blocks[index] = block

    def plan(self, need: Need) -> Span:
        """What to fetch for ``need``: whole blocks, read ahead further each time the walk goes on where it stopped."""
        start = need.span.start // BLOCK * BLOCK
        self._ahead = min(self._ahead * 2, 8 * PIECE) if start == self._end else PIECE // 4
        stop = -(-max(need.span.stop, start + self._ahead) // BLOCK) * BLOCK
        span = Span(start, min(stop, self.size))
        self._reads += 1
        self.fetched += len(span)
        if self._reads > self.reads or self.fetched > self.budget:
            raise Unreadable(f"cannot be described from {self.budget} bytes in {self.reads} reads")
        self._end = span.stop
        return span

    def at(self, offset: int, length: int) -> bytes:
        """The bytes from ``offset``: ``length`` of them, or fewer where the object ends. Raises Need, Unreadable."""
        self._steps += 1
        if self._steps > self.steps:
            raise Unreadable(f"cannot be described in {self.steps} steps")
        stop = min(offset + length, self.size)
        if offset < 0 or stop <= offset:
            return b""
        if stop - offset > self.budget:
            raise Unreadable(f"a header of {stop - offset} bytes is more than the {self.budget} that are read")
        first, last = offset // BLOCK, (stop - 1) // BLOCK
        pieces = []
        for index in range(first, last + 1):
            block = self._blocks.get(index)
            if block is None or index * BLOCK + len(block) < min((index + 1) * BLOCK, stop):
                raise Need(Span(max(offset, index * BLOCK), stop))
            pieces.append(block)
        start = offset - first * BLOCK
        return b"".join(pieces)[start : start + stop - offset]


class Handle(io.RawIOBase):
    """A Window as the read-only, seekable file that a library asks for."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._window.at(self._at, self._window.size if size is None or size < 0 else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + (0, self._at, self._window.size)[whence]
        if at < 0:
            raise OSError(f"seek to {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at
