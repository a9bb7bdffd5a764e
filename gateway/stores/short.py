"""A short read for whoever waits without a coroutine: begun at once, and told of by a call once all of it is here.

What goes wrong is not judged here: whoever began it asks the store again, by ``open``, which has words and retries for it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from math import inf
from typing import Final, Protocol, runtime_checkable

from ..model import PIECE, Span
from .answer import fault
from .connection import DRY, Connection
from .counts import Counts
from .head import END, Head, NotHttp
from .shape import Shape
from .target import Target

HEAD_ROOM: Final = 4 * 1024
"""Bytes for the head of an answer: they are shorter."""
LEARNT_S: Final = 1.0
"""Seconds from one shape that is learnt to the next."""
ROOMS_KEPT: Final = 64
"""Of HEAD_ROOM and a piece each."""
_GOOD: Final = frozenset({200, 206})


class Told(Protocol):
    """Who began a short read."""

    def received(self) -> None:
        """Some of it is here: ``look`` at it, now or in a moment."""
        ...

    def came(self) -> None:
        """All of its bytes are here, as ``body`` gives them."""
        ...

    def failed(self) -> None:
        """They are not to be had this way."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """A store that begins short reads."""

    def prompt(self, key: str, version: str) -> Target | None:
        """What to give to ``begin``. None: it could not be begun at once."""
        ...

    def begin(self, target: Target, span: Span, told: Told) -> Short:
        """For at most PIECE bytes, which are still to be asked for. To be called right after ``prompt``."""
        ...


class Means:
    """What the short reads of one store share."""

    __slots__ = ("_learnt", "_rooms", "counts", "progress_s", "shape")

    def __init__(self, counts: Counts, progress_s: float) -> None:
        self.counts = counts
        self.progress_s = progress_s
        self._rooms: list[bytearray] = []
        self.shape: Shape | None = None
        """Of the store's answers, as the last one was that had to be parsed."""
        self._learnt = -inf

    def learn(self, head: bytes, pin: str) -> None:
        """``head`` was in order. At most once a second: answers may differ by turns."""
        now = time.monotonic()
        if now - self._learnt >= LEARNT_S:
            self._learnt = now
            with suppress(ValueError):
                self.shape = Shape(head, pin)

    def take(self) -> bytearray:
        """Room for an answer: the one given back last, which may still be in a cache."""
        return self._rooms.pop() if self._rooms else bytearray(HEAD_ROOM + PIECE)

    def give(self, room: bytearray) -> None:
        """It holds nothing any more that anybody wants."""
        if len(self._rooms) < ROOMS_KEPT:
            self._rooms.append(room)


class Short:
    """One over ``connection``, as its ``Waiting``. ``close`` it, however it ends."""

    __slots__ = (
        "_connection", "_deadline", "_ended", "_have", "_means", "_received", "_request", "_room", "_span", "_target", "_told", "_want",
    )  # fmt: skip

    def __init__(
        self,
        means: Means,
        target: Target,
        connection: Connection,
        span: Span,
        told: Told,
        *,
        request: bytes,
        deadline: float,
    ) -> None:
        """``request``: what is to be sent; ``deadline``: until when an answer must have begun, by the loop's clock."""
        self._means = means
        self._target = target
        self._connection = connection
        self._span = span
        self._told = told
        self._request = request
        self._deadline = deadline
        self._room: bytearray | None = None
        self._have = 0
        """Bytes of the answer that came."""
        self._want: int | None = None
        """Bytes of head and body; None: the head is not whole yet."""
        self._ended = False
        self._received = False

    def ask(self) -> None:
        """Its answer is taken in as it comes; ``told`` may hear of it before this returns."""
        if self._ended:
            return
        self._connection.ask_for(self, self._request, 0, self._deadline)
        if not self._ended:
            self._connection.gather(self._collect)

    def body(self) -> memoryview:
        """Once it ``came``, and until it is closed."""
        return memoryview(self._room or b"")[self._have - len(self._span) : self._have]

    def close(self) -> None:
        """Nobody is told any more, and the body is gone."""
        if not self._ended:
            self._ended = True
            self._connection.close()
        room, self._room = self._room, None
        if room is not None:
            self._means.give(room)

    def done(self) -> bool:
        return self._ended

    def set_exception(self, _exception: Exception, /) -> None:
        self._fail()

    def set_result(self, _result: tuple[Head, memoryview], /) -> None:
        raise AssertionError("it reads for itself")

    def look(self) -> None:
        """At what was received; ``told`` hears of it where it is all, or can't be what was asked for."""
        self._received = False
        if self._ended:
            return
        room, have = self._room, self._have
        assert room is not None
        try:
            good = self._want is not None or self._began(room, have)
        except NotHttp:
            good = False
        if not good or have > (self._want or have):
            self._fail()
        elif have == self._want:
            self._end()
        else:
            loop, connection = asyncio.get_running_loop(), self._connection
            connection.deadline = loop.time() + self._means.progress_s
            if connection.tls is not None:  # what it has decrypted is reported by nobody
                loop.call_soon(self._collect)

    def _collect(self) -> None:
        """The system call alone."""
        if self._ended:
            return
        room = self._room
        if room is None:
            room = self._room = self._means.take()
        have = self._have
        try:
            count = self._connection.sock.recv_into(memoryview(room)[have:] if have else room)
        except DRY:
            return
        except OSError:
            count = 0
        if not count:
            self._fail()
            return
        self._have = have + count
        if not self._received:
            self._received = True
            self._told.received()

    def _began(self, room: bytearray, have: int) -> bool:
        """Whether all is well so far; once the head is whole, ``_want`` is known."""
        means, pin, span = self._means, self._target.pin, self._span
        if means.shape is not None and (end := means.shape.end(room, have, span, pin.value)):
            self._want = end + span.stop - span.start
            return True
        end = room.find(END, 0, have)
        if end < 0:
            return have < HEAD_ROOM
        end += len(END)
        raw = bytes(room[:end])
        head = Head(raw)
        told = head.fields.get(pin.field)
        self._want = end + len(span)
        good = (
            head.status in _GOOD
            and head.keep_alive
            and (told == pin.value or (told is None and not pin.required))
            and fault(head.status, head.fields, span) is None
        )
        if good:
            means.learn(raw, pin.field)
        return good

    def _end(self) -> None:
        self._ended = True
        connection = self._connection
        connection.gathered()
        if connection.put_by():
            self._target.pool.put(connection)
        else:
            connection.close()
        self._told.came()

    def _fail(self) -> None:
        if not self._ended:
            self._ended = True
            self._means.counts.retries += 1
            self._connection.close()
            self._told.failed()
