"""What is asked, and how often: players, downloads, people who leave, and who has no business here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..sizes import ABANDONED, SPAN

ROOM = 16_000_000
"""Bytes that are always left where a reader leaves: more than buffers hold, so that the gateway cannot have been done."""
ABORTED = 2_000_000
"""Bytes at most that an aborted download takes."""
CHECKED = 64
"""One range in so many is held against the object, byte by byte."""
FRESH = 0.15
"""The share of requests on a connection of their own."""


class Kind(StrEnum):
    """What is asked."""

    RANGE = "range"
    SMALL = "small object"
    WHOLE = "whole object"
    SEEK = "seek"
    ABORT = "abort"
    HEAD = "head"
    UNPROVEN = "unproven"
    MISSING = "missing"
    BEYOND = "beyond the end"
    SLOW = "slow reader"
    STALLED = "stalled reader"


MIX: Mapping[Kind, float] = {
    Kind.RANGE: 76,
    Kind.SMALL: 4,
    Kind.WHOLE: 0.3,
    Kind.SEEK: 5,
    Kind.ABORT: 2,
    Kind.HEAD: 5,
    Kind.UNPROVEN: 2.5,
    Kind.MISSING: 2.5,
    Kind.BEYOND: 2.7,
}
"""Shares in hundredths. Slow and stalled readers are so many at a time instead."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and what should come of it."""

    kind: Kind
    request: bytes
    status: int
    length: int | None
    """Of its body, or of what HEAD asks about; None: a refusal's, which is as long as it says."""
    wanted: int | None = None
    """Bytes after which its reader leaves; None: it takes all."""
    fresh: bool = False
    rate: int = 0
    """Bytes a second it is read at; 0: as fast as they come."""
    check: int | None = None
    """Where in the object its body stands, if it is held against it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the client is told, as plain values."""

    port: int
    secret: str
    large: Sequence[str]
    """Request targets of objects of ``object_bytes``, all with the same bytes."""
    small: Sequence[str]
    """Of objects of SPAN bytes."""
    object_bytes: int
    content: str
    """File with a large object's bytes."""
    seed: int
    slow: int
    slow_rate: int
    slow_s: float
    stalled: int
    stall_s: float
    """After which the gateway cuts a stalled reader off."""


class Asker:
    """Makes requests up, by chance."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._kinds = list(MIX)
        self._weights = list(MIX.values())
        self._tail = f" HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nAuthorization: Bearer {plan.secret}\r\n\r\n".encode()
        self._make: Mapping[Kind, Callable[[], Ask]] = {
            Kind.RANGE: self._range,
            Kind.SMALL: lambda: self._whole(Kind.SMALL, plan.small, SPAN),
            Kind.WHOLE: lambda: self._whole(Kind.WHOLE, plan.large, plan.object_bytes),
            Kind.SEEK: lambda: self._open(Kind.SEEK, ABANDONED),
            Kind.ABORT: self._abort,
            Kind.HEAD: self._head,
            Kind.UNPROVEN: self._unproven,
            Kind.MISSING: self._missing,
            Kind.BEYOND: self._beyond,
        }

    def pause(self, rate: float) -> float:
        """Seconds to the next of ``rate`` a second, who know nothing of each other."""
        return self._chance.expovariate(rate)

    def any(self) -> Ask:
        """One of the mix."""
        return self._make[self._chance.choices(self._kinds, self._weights)[0]]()

    def slow(self) -> Ask:
        """Half of them take all they asked for, the others leave."""
        length = int(self._plan.slow_rate * self._plan.slow_s * self._chance.uniform(0.5, 1.5))
        length = min(length, self._plan.object_bytes - ROOM)
        if self._chance.random() < 0.5:
            first = self._chance.randrange(self._plan.object_bytes - length)
            return Ask(
                Kind.SLOW, self._large((first, first + length - 1)), 206, length, fresh=True, rate=self._plan.slow_rate
            )
        left = self._open(Kind.SLOW, length)
        return Ask(Kind.SLOW, left.request, 206, left.length, length, fresh=True, rate=self._plan.slow_rate)

    def stalled(self) -> Ask:
        """Takes nothing of its body."""
        return self._open(Kind.STALLED, None)

    def _fresh(self) -> bool:
        return self._chance.random() < FRESH

    def _get(self, target: str, span: tuple[int, int | None] | None = None, method: str = "GET") -> bytes:
        if span is None:
            return f"{method} {target}".encode() + self._tail
        told = f"\r\nRange: bytes={span[0]}-{'' if span[1] is None else span[1]}\r\n\r\n".encode()
        return f"{method} {target}".encode() + self._tail[:-4] + told

    def _large(self, span: tuple[int, int | None] | None = None) -> bytes:
        return self._get(self._chance.choice(self._plan.large), span)

    def _range(self) -> Ask:
        first = self._chance.randrange(self._plan.object_bytes - SPAN)
        check = first if self._chance.randrange(CHECKED) == 0 else None
        return Ask(Kind.RANGE, self._large((first, first + SPAN - 1)), 206, SPAN, fresh=self._fresh(), check=check)

    def _whole(self, kind: Kind, targets: Sequence[str], length: int) -> Ask:
        return Ask(kind, self._get(self._chance.choice(targets)), 200, length, fresh=self._fresh())

    def _open(self, kind: Kind, wanted: int | None) -> Ask:
        first = self._chance.randrange(self._plan.object_bytes - ROOM - (wanted or 0) + 1)
        return Ask(kind, self._large((first, None)), 206, self._plan.object_bytes - first, wanted, fresh=self._fresh())

    def _abort(self) -> Ask:
        wanted = self._chance.randrange(ABORTED)
        return Ask(Kind.ABORT, self._large(), 200, self._plan.object_bytes, wanted, fresh=self._fresh())

    def _head(self) -> Ask:
        target = self._chance.choice(self._plan.large)
        return Ask(Kind.HEAD, self._get(target, method="HEAD"), 200, self._plan.object_bytes, fresh=self._fresh())

    def _unproven(self) -> Ask:
        request = self._large().replace(self._plan.secret.encode(), b"rg_live_" + b"0" * 40)
        return Ask(Kind.UNPROVEN, request, 401, None, fresh=self._fresh())

    def _missing(self) -> Ask:
        number = self._chance.getrandbits(48)
        return Ask(Kind.MISSING, self._get(f"/v1/recordings/5eb10000-0000-4000-8000-{number:012x}/audio"), 404, None)

    def _beyond(self) -> Ask:
        return Ask(Kind.BEYOND, self._large((self._plan.object_bytes, None)), 416, None, fresh=self._fresh())
