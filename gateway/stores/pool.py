"""The connections to one host and port of a store: kept alive, bounded in number, most recently used first."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from typing import Final

from ..config import Origin
from ..errors import OriginFailed, Unavailable
from .connection import Connection
from .counts import Counts
from .dial import Dialer, distrust, kind

IDLE_S: Final = 15.0
"""Seconds that an unused connection is kept; stores keep theirs for longer."""


class Pool:
    """Made inside the loop that uses it."""

    def __init__(self, where: str, dialer: Dialer, settings: Origin, counts: Counts) -> None:
        self._where = where
        self._dialer = dialer
        self._settings = settings
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._permits = settings.connections
        """Connections that may still be made."""
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False

    @property
    def kept(self) -> bool:
        """Whether ``take`` has one."""
        return bool(self._idle)

    def take(self) -> Connection | None:
        """One that is kept, at once; None: there is none."""
        if not self._idle:
            return None
        connection = self._idle.pop()
        connection.idle = False
        self._counts.reused += 1
        return connection

    async def get(self) -> Connection:
        """A new connection or, where the bound is reached, the first one that is given back. Raises Unavailable, OriginFailed."""
        if self._permits > 0:
            self._permits -= 1
        elif (connection := await self._turn()) is not None:
            self._counts.reused += 1
            return connection
        return await self._connect()

    async def replace(self, stale: Connection) -> Connection:
        """A new one in the place of ``stale``. Raises as ``get``."""
        self._counts.replaced += 1
        self._open.discard(stale)  # so that its permit stays with us
        stale.close()
        return await self._connect()

    def put(self, connection: Connection) -> None:
        """Gives back a connection whose answer was read to the end, to be used again."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle = True
        connection.since = self._loop.time()
        self._idle.append(connection)

    def sweep(self, now: float) -> bool:
        """Ends waits that are over and connections nobody has used; False: there is nothing to sweep."""
        for connection in [each for each in self._open if each.deadline <= now]:
            connection.expire()
        while self._idle and self._idle[0].since + IDLE_S <= now:
            self._idle[0].close()
        return bool(self._open)

    def close(self) -> None:
        """Every connection, in use or not; no more are made."""
        self._closed = True
        for connection in list(self._open):
            connection.close()

    async def _turn(self) -> Connection | None:
        """Waits until a connection is given back, or (None) a new one may be made. Raises Unavailable after ``connect_s``."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._settings.connect_s):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # its turn came as it left
                if (connection := waiter.result()) is not None:
                    self.put(connection)
                else:
                    self._permit()
            else:
                waiter.cancel()
                with suppress(ValueError):  # nobody may be put by for as long as the streams under way take
                    self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"{self._where}: no connection within connect_s ({self._settings.connect_s:g} s);"
                    f" all {self._settings.connections} connections are in use"
                ) from None
            raise

    async def _connect(self) -> Connection:
        """Made on a permit, which is given back where that fails."""
        there = f"{self._dialer.host}:{self._dialer.port}"
        try:
            self._refuse_closed()
            async with asyncio.timeout(self._settings.connect_s):
                sock = await self._dialer.dial()
        except ssl.SSLCertVerificationError as error:
            self._permit()
            raise OriginFailed(f"{self._where}: {distrust(self._dialer.host, self._dialer.port, error)}") from None
        except TimeoutError:
            self._permit()
            raise Unavailable(
                f"{self._where}: no connection to {there} within connect_s ({self._settings.connect_s:g} s)"
            ) from None
        except (OSError, RuntimeError) as error:  # RuntimeError: what uvloop makes of some of them
            self._permit()
            raise Unavailable(f"{self._where}: cannot connect to {there} ({kind(error)})") from None
        except BaseException:
            self._permit()
            raise
        connection = Connection(self._loop, sock, self._gone)
        self._open.add(connection)
        self._counts.connections += 1
        try:
            self._refuse_closed()
        except Unavailable:
            connection.close()
            raise
        return connection

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"{self._where}: it was closed")

    def _gone(self, connection: Connection) -> None:
        if connection.idle:
            self._idle.remove(connection)
        if connection in self._open:
            self._open.discard(connection)
            self._permit()

    def _permit(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._permits += 1
