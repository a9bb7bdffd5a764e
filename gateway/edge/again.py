"""A request like one before, answered without a task of its own: its intent durable, its bytes here, then all of it at once.

Where there are others, each step is taken with theirs (``rounds``). What does not go as it should is handed over to the one path, with the event that was begun: the client has had nothing yet.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import structlog
from uuid_utils import uuid7 as new_id

from ..audit.renewed import Event, Renewed
from ..audit.trail import JournalTrail
from ..errors import Unavailable
from ..event import CLIENT_GONE, COMPLETE, INTERRUPTED, Outcome, Result
from ..http.head import last_lines
from ..rounds import ANSWER, ASK, BEGIN, CONCLUDE, FIND, READ, TELL, WRITE, Rounds, Step
from ..stores.short import Short
from .delivery import Delivery, take_rest
from .lifecycle import Lifecycle
from .repeats import Asked, Repeats, head_of
from .server import Connection
from .told import Teller, Told

log = structlog.get_logger("gateway.request")

_PARTIAL = 206
_NOTHING = b"", memoryview(b"")


class Shortcut:
    """What a connection asks first, of each request."""

    def __init__(
        self,
        repeats: Repeats,
        trail: JournalTrail,
        lifecycle: Lifecycle,
        teller: Teller,
        rounds: Rounds,
        *,
        stall_s: float,
    ) -> None:
        self.repeats = repeats
        self.trail = trail
        self.lifecycle = lifecycle
        self.teller = teller
        self.rounds = rounds
        self.stall_s = stall_s
        self.clock = asyncio.get_running_loop().time
        self.open = 0
        """Requests that are being answered so."""

    def put_off(self, look: Callable[[], None]) -> bool:
        """Whether ``look`` is called in a moment, with that of others. False: nobody else is being answered so."""
        if self.open:
            self.rounds.add(FIND, look)
        return self.open > 0

    def take(self, connection: Connection, data: bytes) -> bool:
        """Whether ``data``, which is all that has come, is being answered. False: it is the path's."""
        if self.lifecycle.draining:
            return False
        asked = connection.asked = self.repeats.find(data, connection.peer, connection.asked)
        if asked is None:
            return False
        again = Again(self, connection, data, asked)
        connection.goes_on(again)
        self.step(BEGIN, again.begin, many=1)
        return True

    def step(self, step: Step, call: Callable[[], None], *, many: int = 2) -> None:
        """``call`` at once, unless ``many`` are open: then together with those of them that are as far."""
        if self.open >= many:
            self.rounds.add(step, call)
        else:
            call()


class Again:
    """One that is being answered. It ends once: told of and recorded here, or by whoever takes it over."""

    __slots__ = (
        "_asked", "_connection", "_data", "_event", "_here", "_intended", "_left", "_over", "_pieces", "_release", "_sent",
        "_short", "_shortcut", "_taken", "_task", "_to", "begun", "handed_over", "request_id",
    )  # fmt: skip

    handed_over: bool
    """The path has it, or will have in a moment."""
    begun: float
    """When it came, by the loop's clock."""

    def __init__(self, shortcut: Shortcut, connection: Connection, data: bytes, asked: Asked) -> None:
        self._shortcut = shortcut
        self._connection = connection
        self._data = data
        self._asked = asked
        self._over = False
        self._short: Short | None = None
        self._intended: Renewed | None = None
        self._here = False
        self._task: asyncio.Task[None] | None = None
        self._pieces = _NOTHING
        self.handed_over = False
        self.begun = shortcut.clock()
        self.request_id = asked.request_id or new_id().hex

    def begin(self) -> None:
        """Where it cannot be begun, the path is given it."""
        if self._over:
            return
        shortcut, asked = self._shortcut, self._asked
        repeat, repeats = asked.repeat, shortcut.repeats
        target = None if shortcut.lifecycle.draining else repeats.admit(asked)
        if target is None:
            self._give_back()
            return
        self._event = Event()
        try:
            self._intended = repeats.intend(asked, self._event, self.request_id, self._heard)
        except Unavailable:
            self._give_back()
            return
        self._release: Callable[[], None] = repeats.streams.admit(repeat.tenant, repeat.address)
        shortcut.lifecycle.began()
        shortcut.open += 1
        self._short = repeat.store.begin(target, asked.span, self)
        shortcut.step(ASK, self._short.ask)

    def _give_back(self) -> None:
        self._over = True
        self._connection.give_back(self._data)

    @property
    def durable(self) -> Awaitable[None]:
        """The intent, for whoever takes it over."""
        assert self._intended is not None
        return self._intended

    @property
    def event(self) -> UUID:
        return self._event.id

    @property
    def of(self) -> tuple[UUID, str]:
        return self._asked.repeat.of

    @property
    def occurred_at(self) -> datetime:
        return self._event.occurred_at

    # --- what it waits for

    def received(self) -> None:
        self._shortcut.step(READ, self._read)

    def _read(self) -> None:
        if self._short is not None:
            self._short.look()

    def came(self) -> None:
        self._here = True
        self._go_on()

    def failed(self) -> None:
        if not self._over:
            self._safely(
                self._hand_over
            )  # each failure costs the store a connection: it is not asked twice for all of an outage

    def _heard(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        """As far as what has come allows. Never raises: whoever tells of it has others to tell."""
        intended = self._intended
        if self._over or self.handed_over or intended is None:
            return
        if intended.failed:
            self._safely(self._hand_over)
        elif self._here and intended.durable:
            self._shortcut.step(ANSWER, self._answer)

    def _safely(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            log.exception("defect", request_id=self.request_id, surface=self._asked.repeat.surface)
            if self._connection.transport is not None:
                self._connection.transport.abort()

    # --- what becomes of it

    def _answer(self) -> None:
        if not (self._over or self.handed_over):
            self._safely(self._make)

    def _make(self) -> None:
        shortcut, connection = self._shortcut, self._connection
        transport = connection.transport
        if shortcut.lifecycle.draining or transport is None or connection.socket is None:
            self._hand_over()
            return
        if transport.is_closing():
            return  # its loss is about to be told
        assert self._short is not None
        self._pieces = head_of(self._asked, self.request_id) + last_lines(), self._short.body()
        self._to = connection.socket.fileno()
        shortcut.step(WRITE, self._write)

    def _write(self) -> None:
        """The system call alone."""
        if self._over or self.handed_over:
            return
        self._connection.under_way = True
        try:
            self._taken: int | None = os.writev(self._to, self._pieces)
        except BlockingIOError:
            self._taken = 0
        except OSError:
            self._taken = None
        self._left = self._shortcut.clock()
        self._shortcut.step(CONCLUDE, self._conclude)

    def _conclude(self) -> None:
        self._safely(self._see)

    def _see(self) -> None:
        """What has left."""
        connection, (head, body), taken = self._connection, self._pieces, self._taken
        length, transport = len(body), connection.transport
        if taken == len(head) + length:
            self._let_go()
            self._shortcut.trail.complete(self._event, _PARTIAL, length)
            self._done()
            self._over, self._sent = True, length
            self._shortcut.step(TELL, self._tell_complete)
        elif taken is None or transport is None:
            if transport is not None:
                transport.abort()
            self._end(_PARTIAL, CLIENT_GONE, length, None)
        else:
            transport.write(b"".join((head, body))[taken:])
            self._let_go()
            self._over = True
            self._task = asyncio.get_running_loop().create_task(self._wait(transport, length))

    async def _wait(self, transport: asyncio.Transport, length: int) -> None:
        """Until the client has taken the rest."""
        came = Delivery(sent=length, began=self._shortcut.clock())
        try:
            await take_rest(self._connection, transport, came, stall_s=self._shortcut.stall_s)
        finally:
            self._end(_PARTIAL, came.result, came.sent, came.reason, began=came.began)

    def lost(self) -> None:
        """The client has left."""
        if not self._over:
            self._end(0, CLIENT_GONE, 0, "before_first_byte")

    def cut_off(self) -> None:
        """This process is ending."""
        if self._task is not None:
            self._task.cancel()
        elif not self._over:
            self._end(0, INTERRUPTED, 0, "shutdown")

    def taken_over(self) -> None:
        """The path goes on with its event, and will tell of it."""
        self._over = True
        self._shortcut.open -= 1
        self._shortcut.lifecycle.ended()

    def _hand_over(self) -> None:
        if self.handed_over:
            return
        self.handed_over = True
        self._let_go()
        self._release()
        self._connection.hand_over(self._data)

    def _let_go(self) -> None:
        """Of the store's answer, which holds this in turn."""
        self._pieces = _NOTHING
        if self._short is not None:
            self._short.close()
            self._short = None

    def _tell_complete(self) -> None:
        self._tell(_PARTIAL, COMPLETE, self._sent, None, self._left)

    def _end(self, status: int, result: Result, sent: int, reason: str | None, *, began: float | None = None) -> None:
        self._over = True
        self._let_go()
        if self._intended is None:
            return  # nothing was begun
        self._shortcut.trail.conclude(
            Outcome(self.event, self.occurred_at, datetime.now(UTC), status, sent, result, reason)
        )
        self._done()
        self._tell(status, result, sent, reason if status or result is INTERRUPTED else None, began)

    def _done(self) -> None:
        shortcut = self._shortcut
        self._release()
        shortcut.open -= 1
        shortcut.lifecycle.ended()
        self._connection.answered()
        self._connection.goes_on(None)

    def _tell(self, status: int, result: Result, sent: int, reason: str | None, began: float | None) -> None:
        repeat = self._asked.repeat
        told = Told(
            self.request_id, repeat.address, None, repeat.surface, repeat.route, status, sent, result, reason, began=began
        )  # fmt: skip
        self._shortcut.teller.tell("GET", told, self.begun)
