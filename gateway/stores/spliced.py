"""A long answer as a Source whose bytes the kernel moves, from the store's socket to the client's (splice(2)).

What is in a pipe is off the origin's socket; where there are no more pipes, bytes are copied, and wait at that socket.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from ..model import PIECE
from .body import FAIR, Body, Means, give, lost
from .connection import Connection
from .pipes import Pipe
from .pool import Pool

FLAGS: Final = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)


def body_of(means: Means, pool: Pool, connection: Connection, came: memoryview, length: int, *, keep: bool) -> Body:
    """The way for this answer, as Body. A short one, or what of a long one is little, is not worth a pipe; TLS is no splice's."""
    long = length - len(came) > PIECE
    way = Spliced if long and means.pipes is not None and connection.tls is None else Body
    return way(means, pool, connection, came, length, keep=keep)


class Spliced(Body):
    """A pipe is taken while bytes wait in it, and no longer."""

    __slots__ = ("_pipe",)

    def __init__(
        self, means: Means, pool: Pool, connection: Connection, came: memoryview, length: int, *, keep: bool
    ) -> None:
        super().__init__(means, pool, connection, came, length, keep=keep)
        self._pipe: Pipe | None = None

    async def close(self) -> None:
        self._drop_pipe()
        await super().close()

    def _waits(self) -> bool:
        return self._pipe is not None or bool(self._held)

    def _next(self) -> bytes:
        if self._held or self._pipe is None:
            return super()._next()
        piece = os.read(self._pipe.exit, PIECE)
        self._pipe.filled -= len(piece)
        if not self._pipe.filled:
            self._drop_pipe()
        return piece

    def _move(self, to: int, most: int) -> int:
        moved = 0
        # Not once more for the little that is missing: it would break the origin's segments in two, and wake everybody.
        while moved < min(most, FAIR // 2) and (self._pipe is not None or self._connection is not None):
            if self._pipe is None and not self._take_pipe():
                return moved + self._lend(to, min(most - moved, FAIR), moved=moved > 0)
            pipe = self._pipe
            if pipe is None or not self._fill(pipe):
                self._drop_pipe()
                break
            want = min(pipe.filled, most - moved)
            try:
                given = os.splice(pipe.exit, to, want, flags=FLAGS)
            except OSError as error:
                if moved:
                    break
                raise lost(error) from None
            pipe.filled -= given
            moved += given
            if given < want:
                break
        if self._pipe is not None and not self._pipe.filled:
            self._drop_pipe()
        return moved

    def _fill(self, pipe: Pipe) -> bool:
        """Whether there is anything in it, from before or now."""
        if pipe.filled or self._connection is None:
            return pipe.filled > 0
        try:
            count = os.splice(self._connection.descriptor, pipe.entry, min(self._left, FAIR), flags=FLAGS)
        except BlockingIOError:
            return False
        except OSError as error:
            self._break(error)
            return False
        pipe.filled = count
        self._took(count)
        if not count:
            self._break(None)
        elif not self._left:
            self._done()
        return count > 0

    def _lend(self, to: int, most: int, *, moved: bool) -> int:
        """Copies, and takes off the origin's socket only what the client took: nothing waits here."""
        total = 0
        view = memoryview(self._means.scratch)
        while total < most and (count := self._look(min(self._left, most - total, self._gulp))):
            try:
                given = give(to, view[:count])
            except (BlockingIOError, ConnectionError):
                if total or moved:
                    break
                raise
            self._drop(given)
            total += given
            if given < count:
                break
        return total

    def _look(self, most: int) -> int:
        """So many bytes are in the scratch, and at the origin's socket still; 0: none yet, or ``_fault``."""
        if self._connection is None:
            return 0
        try:
            count = self._connection.sock.recv_into(self._means.scratch, most, socket.MSG_PEEK)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._break(error)
            return 0
        if not count:
            self._break(None)
        return count

    def _drop(self, count: int) -> None:
        """What was looked at, off the origin's socket without another copy (MSG_TRUNC, tcp(7))."""
        assert self._connection is not None
        self._took(count)
        try:
            self._connection.sock.recv_into(self._means.scratch, count, socket.MSG_TRUNC)
        except OSError as error:  # it was reset since
            self._keep = False
            if self._left:
                self._break(error)
        if not self._left:
            self._done()

    def _take_pipe(self) -> bool:
        self._pipe = None if self._means.pipes is None else self._means.pipes.take()
        return self._pipe is not None

    def _drop_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None and self._means.pipes is not None:
            self._means.pipes.give(pipe)
