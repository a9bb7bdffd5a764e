"""A connection of its own that LISTENs for what others change, and notices within seconds when it is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Protocol, Self

import structlog

from ..errors import Unavailable
from ..postgres import Connection, Pool, Pooled, is_outage
from .tasks import Tasks

CHANNEL = "recording_gateway"
PROBE_S = 2.0
"""Seconds between signs of life, and for each to be answered: a dead line is noticed within twice that."""
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0

_log = structlog.get_logger(__name__)


class Hearer(Protocol):
    """Whoever is told of changes. None of these may raise or block."""

    def restored(self) -> None:
        """From now on every change is told."""

    def lost(self) -> None:
        """From now on none is. May be told more than once."""

    def changed(self, tag: str) -> None:
        """``call:<uuid>``, ``tenant:<uuid>``, ``link:<uuid>`` or ``key:<hex of its SHA-256>`` has changed.

        ``webhook:due``: there is something to send.
        """


class Hearers:
    """Several, each told everything in turn."""

    def __init__(self, *hearers: Hearer) -> None:
        self._hearers = hearers

    def restored(self) -> None:
        for hearer in self._hearers:
            hearer.restored()

    def lost(self) -> None:
        for hearer in self._hearers:
            hearer.lost()

    def changed(self, tag: str) -> None:
        for hearer in self._hearers:
            hearer.changed(tag)


class Renewal:
    """A Hearer that drops a pool's idle connections after the listening connection was lost: they may be just as dead.

    Otherwise each would be discovered by a question that waits in vain for its answer.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks = Tasks()
        self._lost = False

    def restored(self) -> None:
        if self._lost:
            self._lost = False
            self._tasks.start(self._drop())

    def lost(self) -> None:
        self._lost = True

    def changed(self, tag: str) -> None: ...

    async def _drop(self) -> None:
        async with AsyncExitStack() as held:
            for _ in range(self._pool.get_idle_size()):
                connection = await held.enter_async_context(self._pool.acquire())
                connection.terminate()


class Listener:
    """An async context manager: it listens while entered. Whether Postgres can be reached at the time or not."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], hearer: Hearer, *, probe_s: float = PROBE_S
    ) -> None:
        self._connect = connect
        self._hearer = hearer
        self._probe_s = probe_s
        self._delay = RETRY_MIN_S
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  whatever ends a connection, another is tried; it is logged
                if not isinstance(error, Unavailable) and not is_outage(error):
                    _log.exception("catalog.listener_failed")
                elif self._delay == RETRY_MIN_S:
                    _log.warning("catalog.listener_lost", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._delay * random.uniform(0.5, 1))  # noqa: S311  jitter
            self._delay = min(self._delay * 2, RETRY_MAX_S)

    async def _listen(self) -> None:
        """Never returns; raises when the connection is lost."""
        connection = await self._connect()
        gone = asyncio.Event()

        def left(_connection: Connection | Pooled) -> None:
            if not gone.is_set():
                gone.set()
                self._hearer.lost()

        try:
            connection.add_termination_listener(left)
            async with asyncio.timeout(self._probe_s):
                await connection.add_listener(CHANNEL, self._notified)
            self._hearer.restored()
            self._delay = RETRY_MIN_S
            _log.info("catalog.listening")
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._probe_s):
                        await gone.wait()
                if gone.is_set():
                    raise ConnectionResetError("the listening connection was closed")
                await connection.execute("SELECT 1", timeout=self._probe_s)
        finally:
            left(connection)
            connection.terminate()

    def _notified(self, _connection: Connection | Pooled, _pid: int, _channel: str, payload: object) -> None:
        self._hearer.changed(str(payload))
