"""A store's answer as a Source: read piece by piece, or poured into a client's socket by way of this process.

Bytes are taken off the origin's socket only while somebody takes them, but for the last 64 KiB of a short answer.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Final

from ..errors import Broken
from ..model import PIECE
from .connection import DRY, Connection
from .counts import Counts
from .pipes import Pipes
from .pool import Pool

FAIR: Final = 1024 * 1024
"""Bytes that one call of ``pour`` moves, about, so that nobody else waits long."""
STRETCH: Final = 1024 * 1024
"""Bytes over which a client's pace is judged."""
QUICK_S: Final = 0.25
"""Seconds in which a quick client takes a STRETCH."""
_NOTHING: Final = memoryview(b"")


@dataclass(slots=True)
class Means:
    """What the bodies of one store share."""

    where: str
    progress_s: float
    counts: Counts
    scratch: bytearray
    """A buffer that all bodies share: nothing may be left in it across an await."""
    pipes: Pipes | None
    """None: this system does not splice."""
    widest: int
    """Bytes of a connection's receive buffer once its client has proved quick. 0: the kernel has its own way."""


class Body:
    """A Pourable over one answer. Its connection goes back as soon as the last byte is off it."""

    __slots__ = (
        "_connection",
        "_fault",
        "_full",
        "_gulp",
        "_held",
        "_keep",
        "_left",
        "_means",
        "_pool",
        "_since",
        "_stretch",
    )

    def __init__(
        self, means: Means, pool: Pool, connection: Connection, came: memoryview, length: int, *, keep: bool
    ) -> None:
        """``came``: what came with the head, no more than ``length``. ``keep``: the connection may serve again."""
        self._means = means
        self._pool = pool
        self._connection: Connection | None = connection
        self._held = came
        self._left = length - len(came)
        """Bytes of the body that are still the connection's."""
        self._keep = keep
        self._fault: Broken | None = None
        self._full = False
        """Whether the client's socket took no more since its pace was judged last."""
        self._stretch = PIECE
        self._since = 0.0
        self._gulp = PIECE
        if not self._left:
            self._done()
        elif length <= PIECE:
            connection.collect = self._collect
            if connection.tls is not None:
                # TLS gives one record at a time: there may be more to leave with the head.
                self._collect()

    def at_hand(self) -> memoryview:
        held, self._held = self._held, _NOTHING
        return held

    async def read(self) -> bytes:
        self._full = True  # for all that is known here
        while True:
            if piece := self._next():
                return piece
            if self._fault is not None:
                raise self._fault
            if not self._left:
                return b""
            await self.ready()

    def pour(self, to: int, most: int) -> int:
        try:
            return self._pour(to, most)
        except BlockingIOError:
            self._full = True
            raise

    def _pour(self, to: int, most: int) -> int:
        moved = 0
        if self._held:
            moved = give(to, self._held if len(self._held) <= most else self._held[:most])
            self._held = self._held[moved:]
            if self._held:
                return moved
        try:
            moved += self._move(to, most - moved)
        except (BlockingIOError, ConnectionError):
            if not moved:
                raise
        if not moved and self._fault is not None:
            raise self._fault
        return moved

    async def ready(self) -> None:
        if self._waits():
            return
        connection = self._connection
        if connection is None:
            if self._fault is not None:
                raise self._fault
            return
        if connection.tls is not None and connection.tls.pending():
            return
        try:
            await connection.readable(self._means.progress_s)
        except OSError as error:
            self._break(error)
        if self._fault is not None and not self._held:
            raise self._fault

    async def close(self) -> None:
        self._held = _NOTHING
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._fault = Broken(f"{self._means.where}: read after close")
            connection.close()

    # --- taking

    def _waits(self) -> bool:
        """Whether there is something to give that is off the origin's socket already."""
        return bool(self._held)

    def _next(self) -> bytes:
        """The next piece, as far as it needs no waiting; else empty."""
        if self._held:
            piece = self._held[:PIECE].tobytes()
            self._held = self._held[PIECE:]
            return piece
        if self._connection is None:
            return b""
        count = self._receive(self._connection, min(self._left, PIECE))
        return bytes(memoryview(self._means.scratch)[:count])

    def _collect(self) -> None:
        """Takes what there is of a short answer."""
        connection = self._connection
        if connection is None:
            return
        if count := self._receive(connection, self._left):
            self._held = memoryview(b"".join((self._held, memoryview(self._means.scratch)[:count])))
            connection.wake()

    def _receive(self, connection: Connection, most: int) -> int:
        """Bytes that came into the scratch; the connection is put by after the last one. 0: none yet, or ``_fault``."""
        got = 0
        try:
            if connection.tls is not None:
                view = memoryview(self._means.scratch)
                # recv_into is this, by two more calls of Python for each record
                while got < most and (count := connection.tls.read(most - got, view[got:])):
                    got += count  # type: ignore[operator]  # typeshed knows read without a buffer alone
                ended = got < most
            else:
                got = connection.sock.recv_into(self._means.scratch, most)
                ended = not got
        except DRY:
            ended = False
        except (OSError, ValueError) as error:  # ValueError: a TLS one was closed
            self._took(got)
            self._break(error)
            return got
        self._took(got)
        if ended:
            self._break(None)
        elif not self._left:
            self._done()
        return got

    def _took(self, count: int) -> None:
        """So many bytes are off the origin's socket."""
        self._left -= count
        self._stretch -= count
        if self._stretch < 0:
            self._judge_pace()

    def _judge_pace(self) -> None:
        """Widens the receive buffer while the client takes megabytes a second, or all that comes; else narrows it.

        For a quick client that saves wakes; for one that takes all that comes it lets a distant store reach full speed.
        """
        now, connection = time.monotonic(), self._connection
        if connection is not None and self._since:
            if now - self._since <= QUICK_S or not self._full:
                connection.widen(self._means.widest)
                self._gulp = len(self._means.scratch)
            else:
                connection.narrow()
                self._gulp = PIECE
        self._since, self._stretch, self._full = now, STRETCH, False

    def _done(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.collect = None
        connection.wake()
        if self._keep and connection.put_by():
            self._pool.put(connection)
        else:
            connection.close()

    def _break(self, error: Exception | None) -> None:
        """``error`` None: the store ended it."""
        if self._fault is None:
            self._means.counts.errors["origin_broken"] += 1
            self._fault = Broken(
                f"{self._means.where}: body ended {self._left} bytes early"
                if error is None
                else f"{self._means.where}: body broke {self._left} bytes before its end ({type(error).__name__})"
            )
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- giving

    def _move(self, to: int, most: int) -> int:
        """Bytes moved, ``most`` or fewer. Raises BlockingIOError, ConnectionError where there were none."""
        moved, most = 0, min(most, FAIR)
        view = memoryview(self._means.scratch)
        while moved < most and self._connection is not None:
            count = self._receive(self._connection, min(self._left, most - moved, self._gulp))
            if not count:
                break
            try:
                given = give(to, view[:count])
            except (BlockingIOError, ConnectionError):
                self._held = memoryview(view[:count].tobytes())
                if moved:
                    break
                raise
            moved += given
            if given < count:
                self._held = memoryview(view[given:count].tobytes())
                break
        return moved


def give(to: int, data: memoryview) -> int:
    """Raises BlockingIOError, ConnectionError."""
    try:
        return os.write(to, data)
    except OSError as error:
        raise lost(error) from None


def lost(error: OSError) -> OSError:
    """The error as ``pour`` raises it: BlockingIOError (full) or a ConnectionError (gone)."""
    return error if isinstance(error, BlockingIOError | ConnectionError) else ConnectionResetError(*error.args)
