"""The address that clients connect to, as a socket."""

from __future__ import annotations

import socket

from ..config import Config
from .pacing import accept_unpaced


def bind(config: Config, *, shared: bool = False) -> socket.socket:
    """The configured address. ``shared``: others of this user may take it as well, and nothing is queued yet. Raises OSError."""
    server = config.server
    bound = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if server.send_buffer_bytes:  # what it accepts inherits
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, server.send_buffer_bytes)
        accept_unpaced(bound)
        bound.bind((server.host, server.port))
        if not shared:
            bound.listen(server.backlog)
    except BaseException:
        bound.close()
        raise
    return bound
