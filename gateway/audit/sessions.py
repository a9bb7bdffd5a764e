"""Which playback a request belongs to: one is many requests (players seek, probe and hang up)."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from uuid import UUID

KEPT = 20_000
"""Listeners remembered; about 1 KB each."""

Key = tuple[UUID | str | int | None, ...]
"""Who listens to what: tenant, actor, credential, address, user agent, recording, etag, …"""


class Sessions:
    """Requests of one listener share a session until ``idle_s`` seconds go by without one.

    A new session's id follows from the key and the time alone, taken in steps of ``idle_s``: replicas that see the same
    listener begin within one step agree without talking. A later session of the same listener lies in a later step.
    """

    def __init__(self, idle_s: float, kept: int = KEPT) -> None:
        self._idle_s = idle_s
        self._kept = kept
        self._known: OrderedDict[Key, tuple[UUID, float]] = OrderedDict()

    def of(self, key: Key, now: float) -> UUID:
        """The session of a request at ``now``, in seconds since the epoch. About 1 µs where the listener is known."""
        known = self._known.pop(key, None)
        if known is not None and now - known[1] < self._idle_s:
            session = known[0]
        else:
            session = session_id(key, int(now // self._idle_s))
        self._known[key] = session, now
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return session


def session_id(key: Key, step: int) -> UUID:
    """A UUIDv8 (RFC 9562, 5.8): hashed from the key and the step."""
    parts = (b"-" if part is None else b"+" + str(part).encode("utf-8", "surrogateescape") for part in (*key, step))
    number = int.from_bytes(blake2b(b"\0".join(parts), digest_size=16).digest(), "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
