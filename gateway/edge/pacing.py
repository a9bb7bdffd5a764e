"""Clients of this very host are sent their bytes without pacing.

Where the system's congestion control paces (bbr does), TCP sets a timer for every few packets, and waits. Between two sockets
of one host there is no path to spare, and the timers cost more than the bytes (docs/decisions/0028). A connection that
has begun to pace keeps its timer, whatever it is given: so all are accepted without, and those from elsewhere are given the system's.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import Final, Protocol

PLAIN: Final = b"reno"
"""RFC 5681's own: every Linux has it, and lets anybody take it."""
PACES: Final = (b"bbr",)
"""How the names of those begin that pace."""
_NAME_BYTES: Final = 16


class Tunable(Protocol):
    """A socket, or asyncio's view of one."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


@functools.cache
def pacing() -> bytes | None:
    """The system's congestion control, if it paces, and this process may go from it to PLAIN and back. Asked once."""
    if not hasattr(socket, "TCP_CONGESTION"):
        return None
    with socket.socket() as tried:
        try:
            system = tried.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES).rstrip(b"\0")
            if not system.startswith(PACES):
                return None
            _take(tried, PLAIN)
            _take(tried, system)
        except OSError:
            return None
    return system


def accept_unpaced(listener: socket.socket) -> None:
    """What ``listener`` accepts does not pace, until ``pace_from_afar``."""
    if pacing() is not None:
        _take(listener, PLAIN)


def pace_from_afar(accepted: Tunable, peer: str, own: str) -> None:
    """Gives a connection the system's congestion control, unless both of its addresses, ``peer`` and ``own``, are this host's."""
    system = pacing()
    if system is not None and not near(peer, own):
        with contextlib.suppress(OSError):  # it has left already
            _take(accepted, system)


def near(peer: str, own: str) -> bool:
    """Whether two addresses of one connection are of one host."""
    return peer == own or peer.startswith("127.")


def _take(sock: Tunable, name: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
