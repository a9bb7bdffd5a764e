"""The address that all workers share: one socket for each slot, between which the kernel divides new connections."""

from __future__ import annotations

import contextlib
import fcntl
import socket
from collections.abc import Sequence

from ..config import Config
from ..edge.bind import bind

APART = 64
"""The least number of the descriptors that the supervisor keeps for workers: above those under which workers find them."""


class Port:
    """The address, held from the first to the last worker; or sockets that were given: then slots share those.

    A socket that is bound and never listens keeps it taken while no worker listens. Raises OSError where another process
    has it.
    """

    def __init__(self, config: Config, given: Sequence[socket.socket] = ()) -> None:
        self._given = given
        if given:
            self.config = config.listening_on(given[0].getsockname()[1])
            return
        bind(config).close()  # SO_REUSEPORT alone would let a second supervisor take half of the connections
        self._held = bind(config, shared=True)
        self.config = config.listening_on(self._held.getsockname()[1])

    def socket(self, slot: int, *, listening: bool) -> socket.socket:
        """A socket for ``slot``, to be closed by the caller. What comes before its worker is there waits, if ``listening``."""
        made = self._given[slot % len(self._given)].dup() if self._given else bind(self.config, shared=True)
        with made:
            if listening:
                made.listen(self.config.server.backlog)
            return socket.socket(fileno=fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, APART))

    @property
    def url(self) -> str:
        """Where the workers answer, on this machine."""
        return self.config.own_url

    def close(self) -> None:
        """Workers that listen go on."""
        for held in self._given or [self._held]:
            with contextlib.suppress(OSError):
                held.close()
