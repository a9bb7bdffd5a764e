"""A short read for whoever waits without a coroutine: begun at once, and told of by a call once all of it is here.

What goes wrong is not judged here: whoever began it asks the store again, by ``open``, which has words and retries for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..model import Span
from .answer import Pin, fault
from .connection import DRY, Connection
from .counts import Counts
from .head import Head
from .pool import Pool

_GOOD = frozenset({200, 206})


class Told(Protocol):
    """Who began a short read."""

    def came(self, pieces: Sequence[bytes | memoryview], /) -> None:
        """All of its bytes are here; its connection serves others by now."""
        ...

    def failed(self) -> None:
        """They are not to be had this way."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """A store that begins short reads."""

    def prompt(self, key: str, version: str) -> bool:
        """Whether ``begin`` would do so now."""
        ...

    def begin(self, key: str, span: Span, version: str, told: Told) -> Short | None:
        """Reads at most PIECE bytes. None: not at once, and nothing was asked of the store."""
        ...


class Short:
    """One that is under way, as its connection's ``Waiting``."""

    __slots__ = (
        "_connection",
        "_counts",
        "_ended",
        "_left",
        "_pieces",
        "_pin",
        "_pool",
        "_progress_s",
        "_span",
        "_told",
    )

    def __init__(
        self,
        pool: Pool,
        connection: Connection,
        span: Span,
        pin: Pin,
        counts: Counts,
        told: Told,
        progress_s: float,
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._span = span
        self._pin = pin
        self._counts = counts
        self._told = told
        self._progress_s = progress_s
        self._pieces: list[bytes | memoryview] = []
        self._left = len(span)
        self._ended = False

    def close(self) -> None:
        """Nobody is told any more."""
        if not self._ended:
            self._ended = True
            self._connection.close()

    def done(self) -> bool:
        return self._ended

    def set_exception(self, _exception: Exception, /) -> None:
        self._fail()

    def set_result(self, result: tuple[Head, memoryview], /) -> None:
        head, rest = result
        if (
            head.status not in _GOOD
            or not head.keep_alive
            or len(rest) > self._left
            or head.fields.get(self._pin.field, None if self._pin.required else self._pin.value) != self._pin.value
            or fault(head.status, head.fields, self._span) is not None
        ):
            self._fail()
            return
        self._left -= len(rest)
        self._pieces.append(rest)
        if not self._left:
            self._end()
            return
        connection = self._connection
        connection.gather(self, self._collect, asyncio.get_running_loop().time() + self._progress_s)
        if connection.tls is not None and connection.tls.pending():
            self._collect()  # the socket would not tell of it

    def _collect(self) -> None:
        try:
            while self._left:
                piece = self._connection.sock.recv(self._left)
                if not piece:
                    self._fail()
                    return
                self._pieces.append(piece)
                self._left -= len(piece)
                if self._connection.tls is None:
                    break
        except DRY:
            return
        except OSError:
            self._fail()
            return
        if not self._left:
            self._end()

    def _end(self) -> None:
        self._ended = True
        connection = self._connection
        connection.gathered()
        if connection.put_by():
            self._pool.put(connection)
        else:
            connection.close()
        self._told.came(self._pieces)

    def _fail(self) -> None:
        if not self._ended:
            self._ended = True
            self._counts.retries += 1
            self._connection.close()
            self._told.failed()
