"""TCP ports of loopback."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

UNGIVEN = range(20_000, 22_700)
"""Below the ports that systems use for outgoing connections, so that none is taken between the check and the server's start.

That also holds for the ports 10,000 above, which SeaweedFS takes besides.
"""
_given: set[int] = set()
"""Ports given before, never given again: their servers may not have started yet, or be down for a moment."""


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nothing listens on now, none of them given before. Raises OSError: there are not so many."""
    with ExitStack() as held:
        ports: list[int] = []
        left = [port for port in UNGIVEN if port not in _given]
        for port in random.sample(left, len(left)):
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == count:
                _given.update(ports)
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
