"""Intents like one before: of an access that differs from it in its event, its time, its request and its range alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import orjson
from uuid_utils import uuid7

from ..errors import Unavailable
from ..event import COMPLETE, Intent, Outcome
from ..pattern import pattern
from .events import INDEXED, encode
from .journal import NotDurable

_FILLED = 36 + 32 + 128 + 43 + 36
"""Bytes that are filled in at the most: the event's id, when, the request's id, the range, the session's id."""


class Event:
    """An event that begins: now, unless another time is given."""

    __slots__ = ("number", "occurred_at", "text", "when")

    def __init__(self, occurred_at: datetime | None = None) -> None:
        new = uuid7()
        self.number = new.int
        self.text = str(new).encode()
        """The UUIDv7 as the records have it."""
        self.occurred_at = occurred_at or datetime.now(UTC)
        self.when = orjson.dumps(self.occurred_at)[1:-1]
        """``occurred_at`` as the records have it."""

    @property
    def id(self) -> UUID:
        return UUID(int=self.number)


class Likeness:
    """What the intents of one kind of access have in common. ValueError: ``intent`` is none that has a like."""

    __slots__ = ("_pattern",)

    def __init__(self, intent: Intent) -> None:

        def make(event: str, occurred: str, request: str, asked: str, session: str) -> bytes:
            as_text = cast(Any, (occurred, session))  # they stand in it as texts anyway
            return encode(
                replace(
                    intent,
                    event_id=UUID(event),
                    occurred_at=as_text[0],
                    request_id=request,
                    range=asked,
                    session=as_text[1],
                )
            )

        self._pattern = pattern(make, 5)
        if len(self._pattern) + _FILLED > INDEXED:
            raise ValueError("so long that it may have been cut")

    def encode(self, event: Event, request_id: str, asked: bytes, session: bytes) -> bytes:
        """As ``events.encode``: of texts that JSON need not escape. ``session`` is a UUID's."""
        return self._pattern % (event.text, event.when, request_id.encode(), asked, session)


def encode_complete(event: Event, status: int, bytes_sent: int) -> bytes:
    """As ``events.encode`` of the outcome of what is complete, now."""
    completed_at = orjson.dumps(datetime.now(UTC))
    return _COMPLETE % (event.text, event.when, completed_at[1:-1], b"%d" % status, b"%d" % bytes_sent)


def _complete(event: str, occurred: str, completed: str, status: str, bytes_sent: str) -> bytes:
    texts = cast(
        Any, (occurred, completed, status, bytes_sent)
    )  # they stand in it as texts, and two of them as numbers
    told = encode(Outcome(UUID(event), texts[0], texts[1], texts[2], texts[3], COMPLETE))
    for number in (status, bytes_sent):
        told = told.replace(f'"{number}"'.encode(), number.encode())
    return told


_COMPLETE = pattern(_complete, 5)


class Renewed:
    """Such an intent on its way to the disk, as the journal's ``Waiter``: whoever began it is told by a call, or awaits it."""

    __slots__ = ("_conclude", "_ended", "_error", "_told")

    def __init__(self, told: Callable[[], None], conclude: Callable[[str], None]) -> None:
        """``conclude``: closes the event for a reason, where the intent is not durable."""
        self._told = told
        self._conclude = conclude
        self._error: NotDurable | None = None
        self._ended = False

    @property
    def durable(self) -> bool:
        """It is."""
        return self._ended and self._error is None

    @property
    def failed(self) -> bool:
        """It is not, and whoever awaits it hears why."""
        return self._error is not None

    def done(self) -> bool:
        return self._ended

    def set_result(self, _result: None, /) -> None:
        self._ended = True
        self._tell()

    def set_exception(self, error: NotDurable, /) -> None:
        self._ended, self._error = True, error
        self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, _nothing  # whoever is told may hold this: no ring is left to the collector
        told()

    def exception(self) -> NotDurable | None:
        return self._error

    def __await__(self) -> Generator[Any, None, None]:
        """Returns once it is durable. Raises Unavailable: it is not, and the event is concluded."""
        if not self._ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def told() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self._told = told
            yield from waiter
        if self._error is not None:
            self._conclude(self._error.reason)
            raise Unavailable(str(self._error)) from self._error


def _nothing() -> None:
    """Who was told already."""
