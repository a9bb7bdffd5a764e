"""TCP ports of loopback."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

UNGIVEN = range(20_000, 30_000)
"""Below the ports that systems give to outgoing connections: nobody takes one between our looking and our server's start."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports of loopback that nothing listens on now. Raises OSError: there are not so many."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(UNGIVEN, len(UNGIVEN)):
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"no {count} ports from {UNGIVEN.start} to {UNGIVEN.stop - 1} are free on loopback")


def is_free(port: int) -> bool:
    """Whether ``port`` of loopback can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
