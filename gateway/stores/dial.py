"""Connecting to a store: its addresses, whichever of them answers first, and TLS where its URL says so."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohappyeyeballs import AddrInfoType, start_connection

REMEMBERED_S: Final = 10.0
"""Seconds that a name's addresses are believed."""
EYEBALLS_S: Final = 0.25
"""Seconds before the next address is tried beside the last (RFC 8305 section 5)."""


def client_context() -> ssl.SSLContext:
    """Verifies by what the system trusts; OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name something else."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def distrust(host: str, port: int | None, error: Exception) -> str:
    """How the operator is told of a certificate that was refused."""
    why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else kind(error)
    return f"the certificate of {host}:{port} cannot be verified ({why})"


def kind(error: BaseException) -> str:
    """What the operator is told of a connection that failed: its class, and of TLS in OpenSSL's word what went wrong."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return f"{type(error).__name__} {reason}" if reason else type(error).__name__


NARROW: Final = 128 * 1024
"""Bytes of a receive buffer, until whoever the bytes are for has proved quick."""
_WINDOW: Final[int | None] = getattr(socket, "TCP_WINDOW_CLAMP", None)


def bound(sock: socket.socket, size: int) -> None:
    """``size`` bytes may wait at a connected socket, and the other side is told of no more. Raises OSError.

    Once it is connected: of one bounded before that, TCP scales the window for that size (RFC 7323 section 2), and it stays as small for good.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    if _WINDOW is not None:  # else the window stays what the last size made it
        sock.setsockopt(socket.IPPROTO_TCP, _WINDOW, size)


class Dialer:
    """Makes connected sockets to one host and port. ``context`` None: without TLS."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, receive_buffer: int) -> None:
        self.host = host
        self.port = port
        self._context = context
        self._receive_buffer = receive_buffer
        self._addresses: Sequence[AddrInfoType] = ()
        self._until = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def dial(self) -> socket.socket:
        """Raises OSError, ssl.SSLCertVerificationError among them. How long it may take is the caller's to say."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            # Once, however many wait: the loop looks few names up at a time, and one that hangs cannot be called off.
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_up(loop))
                self._looking.add_done_callback(_seen)
            await asyncio.shield(self._looking)
        addresses = self._addresses
        self._addresses = [*addresses[1:], *addresses[:1]]  # a store with several is not asked at one of them only
        try:
            sock = await start_connection(
                addresses, happy_eyeballs_delay=EYEBALLS_S, loop=loop, socket_factory=self._socket
            )
        except (OSError, RuntimeError):
            self._until = float("-inf")
            raise
        wrapped: ssl.SSLSocket | None = None
        try:
            if self._receive_buffer:
                bound(sock, min(self._receive_buffer, NARROW))
            if self._context is None:
                return sock
            wrapped = self._context.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
            await _handshake(loop, wrapped)
        except BaseException:
            (wrapped or sock).close()
            raise
        return wrapped

    async def _look_up(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._addresses = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            self._until = loop.time() + REMEMBERED_S
        finally:
            self._looking = None

    @staticmethod
    def _socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def _seen(looking: asyncio.Task[None]) -> None:
    """Everybody who waited may have left: then nobody else asks for its error."""
    if not looking.cancelled():
        looking.exception()


async def _handshake(loop: asyncio.AbstractEventLoop, sock: ssl.SSLSocket) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _once(sock, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _once(sock, loop.add_writer, loop.remove_writer)
        else:
            return


async def _once(sock: socket.socket, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
    moved = asyncio.Event()
    add(sock.fileno(), moved.set)
    try:
        await moved.wait()
    finally:
        remove(sock.fileno())
