"""Which playback a request belongs to: one is many requests (players seek, probe and hang up)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

KEPT = 20_000
"""Listeners remembered; about 1 KB each."""

Key = tuple[UUID | str | int | None, ...]
"""Who listens to what: tenant, actor, credential, address, user agent, recording, etag, …"""


@dataclass(slots=True)
class _Playback:
    session: UUID
    last: float
    """When it was last heard of."""
    bodies: int = 0
    """On their way."""


class Sessions:
    """Requests of one listener share a session until ``idle_s`` seconds go by without one, nor a body on its way.

    A new session's id follows from the key and the time alone, taken in steps of ``idle_s``: replicas that see the same
    listener begin within one step agree without talking. A later session of the same listener lies in a later step.
    """

    def __init__(self, idle_s: float, kept: int = KEPT) -> None:
        self.idle_s = idle_s
        self._kept = kept
        self._known: OrderedDict[Key, _Playback] = OrderedDict()

    def of(self, key: Key, now: float) -> UUID:
        """The session of a request at ``now``, in seconds since the epoch. About 1 µs where the listener is known."""
        known = self._known.pop(key, None)
        # ``abs``, for a clock that is set back by hours would make the session last until it has caught up.
        if known is None or not (known.bodies or abs(now - known.last) < self.idle_s):
            known = _Playback(session_id(key, int(now // self.idle_s)), now)
        known.last = now
        self._known[key] = known
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return known.session

    def playing(self, key: Key) -> Callable[[float], None]:
        """A body of the session that ``of`` gave last is on its way, until what this gives is told when it was over."""
        known = self._known.get(key)
        if known is None:  # so many others came since that it was forgotten
            return lambda _now: None
        known.bodies += 1

        def over(now: float) -> None:
            known.bodies -= 1
            known.last = now

        return over


def session_id(key: Key, step: int) -> UUID:
    """A UUIDv8 (RFC 9562, 5.8): hashed from the key and the step."""
    parts = (b"-" if part is None else b"+" + str(part).encode("utf-8", "surrogateescape") for part in (*key, step))
    number = int.from_bytes(blake2b(b"\0".join(parts), digest_size=16).digest(), "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
