"""Where children tell that they are ready: sd_notify(3), each datagram with the process id that the kernel vouches for."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CREDENTIALS = struct.Struct("3i")
"""unix(7): pid, uid and gid."""
_MOST = 4096


class Notices:
    """Listens while the context lasts. ``heard`` is called with a process id and one of its states, as "READY=1"."""

    def __init__(self, heard: Callable[[int, str], None]) -> None:
        self._heard = heard
        self.address = f"@recording-gateway-{secrets.token_hex(8)}"
        """For NOTIFY_SOCKET. An abstract name: there may be no folder to write to."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self.address[1:])
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                told, extra, _, _ = self._socket.recvmsg(_MOST, socket.CMSG_SPACE(_CREDENTIALS.size))
                pids = [
                    _CREDENTIALS.unpack(data)[0]
                    for level, kind, data in extra
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
                ]
                for state in told.decode("utf-8", "replace").splitlines():
                    for pid in pids:
                        self._heard(pid, state)
