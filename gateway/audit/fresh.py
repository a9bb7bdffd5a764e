"""What became durable a moment ago, still in memory: while the shipper keeps up, nothing is read back from the disk."""

from __future__ import annotations

from collections import deque
from typing import Final

from .frames import Record, split

MOST: Final = 1024 * 1024
"""Bytes kept: of some 1,500 accesses."""


class Fresh:
    """Pieces of whole frames, each by how many bytes were ever durable before it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def add(self, at: int, data: bytes) -> None:
        """What has followed all before ``at``. Where it is too much the oldest goes."""
        self._pieces.append((at, data))
        self._size += len(data)
        while self._size > self._most:
            self._drop()

    def take(self, at: int, size: int, limit: int) -> tuple[list[Record], int] | None:
        """Records from ``at`` on, ``limit`` at most, and how many of the ``size`` bytes there they are. None: they aren't here.

        What stands before ``at`` is not wanted any more.
        """
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= at:
            self._drop()
        if not self._pieces or self._pieces[0][0] > at:
            return None
        records: list[Record] = []
        taken = 0
        for start, data in self._pieces:
            begin = max(at - start, 0)
            if start + len(data) > at + size or len(records) >= limit:
                break
            found, end = split(data, begin, limit - len(records))
            records += found
            taken += end - begin
        return (records, taken) if taken else None

    def _drop(self) -> None:
        self._size -= len(self._pieces.popleft()[1])
