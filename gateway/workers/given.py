"""What a process is given by whoever starts it: sockets, an address to tell that it is ready, and a worker's number.

Sockets come as systemd gives them (sd_listen_fds(3)): ``LISTEN_FDS`` of them from descriptor 3 on, for the process
``LISTEN_PID``. A supervisor that starts its children without a fork of its own cannot know their ids, so an absent
``LISTEN_PID`` stands for any process. Readiness is told as sd_notify(3) says: a datagram to ``NOTIFY_SOCKET``.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Self

from ..config import ConfigError

FIRST = 3
"""The first socket's descriptor."""
SLOT = "RECORDING_GATEWAY_WORKER"
"""Names the environment variable that holds a worker's number, from 0 on; unset in a process that has no supervisor."""
LEASH = "RECORDING_GATEWAY_LEASH"
"""Names the environment variable that holds the descriptor of a pipe which the supervisor alone keeps open: it ends with that."""

READY = "READY=1"
STOPPING = "STOPPING=1"


@dataclass(frozen=True, slots=True)
class Given:
    """What was given. ``sockets`` are bound, and may listen already."""

    sockets: tuple[socket.socket, ...] = ()
    notify: str | None = None
    """A path, or @ and an abstract name."""
    slot: int | None = None
    leash: int | None = None

    @classmethod
    def take(cls) -> Self:
        """What this process was given, out of its environment: children are not given it again. Raises ConfigError."""
        slot, leash = os.environ.pop(SLOT, None), os.environ.pop(LEASH, None)
        taken = cls(
            _sockets(),
            os.environ.pop("NOTIFY_SOCKET", None),
            None if slot is None else int(slot),
            None if leash is None else int(leash),
        )
        if taken.leash is not None:
            os.set_inheritable(taken.leash, False)
        return taken

    def tell(self, *states: str) -> None:
        """Tells ``states`` to whoever waits for them, if anybody does."""
        if self.notify is None:
            return
        address = "\0" + self.notify[1:] if self.notify.startswith("@") else self.notify
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(states).encode(), address)  # nobody waits any more, then


def _sockets() -> tuple[socket.socket, ...]:
    count, owner = os.environ.pop("LISTEN_FDS", None), os.environ.pop("LISTEN_PID", None)
    os.environ.pop("LISTEN_FDNAMES", None)
    if count is None or owner not in {None, str(os.getpid())}:
        return ()
    try:
        return tuple(_listener(FIRST + at) for at in range(int(count)))
    except ValueError as error:
        raise ConfigError([f"LISTEN_FDS: {count!r} is no number; leave it to systemd"]) from error


def _listener(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError([f"LISTEN_FDS: descriptor {descriptor}: {error.strerror}; give a TCP socket"]) from error
    if taken.family not in {socket.AF_INET, socket.AF_INET6} or taken.type != socket.SOCK_STREAM:
        raise ConfigError([f"LISTEN_FDS: descriptor {descriptor} is no TCP socket; use ListenStream=port"])
    taken.setblocking(False)
    return taken
