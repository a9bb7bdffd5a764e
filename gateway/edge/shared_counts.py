"""Where requests are counted that replicas share a limit of: in a Redis, or a Valkey.

Imported where that is configured and at no other time: the client takes long to import.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from ..errors import Unavailable
from .counts import KEYS, BoundedMemory, Counter, Wait

log = structlog.get_logger("gateway.limits")

_CONNECTIONS = 64
_PROBE_S = 1.0
_PREFIX = "recording-gateway"
_PROBE = RateLimitItemPerMinute(1_000_000, namespace="probe")


class SharedCounts:
    """Counts in Redis; in memory while that is away or slow. It is asked once a second whether it is back."""

    def __init__(self, url: str, *, wait_s: float, size: int = KEYS) -> None:
        """Connects when first asked to count. ``wait_s``: seconds that counting may take.

        Raises ValueError: an option in the URL's query is none.
        """
        self._pool = BlockingConnectionPool.from_url(
            url, max_connections=_CONNECTIONS, timeout=wait_s, socket_connect_timeout=wait_s, socket_timeout=wait_s
        )
        try:  # now: else each count would fail by it, as in an outage
            self._pool.connection_class(**self._pool.connection_kwargs)
        except (TypeError, RedisError) as error:
            raise ValueError(_said(error)) from error
        self._remote = Counter(
            RedisStorage(
                "redis://",
                implementation="redispy",
                key_prefix=_PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # as documented; its annotation leaves it out
            )
        )
        self._memory = Counter(BoundedMemory(size))
        self._wait_s = wait_s
        self._looking: asyncio.Task[None] | None = None
        """Set while Redis is away."""

    async def hit(self, item: RateLimitItem, who: str) -> Wait:
        return await self._ask(lambda counter: counter.hit(item, who))

    async def look(self, item: RateLimitItem, who: str) -> Wait:
        return await self._ask(lambda counter: counter.look(item, who))

    async def check(self) -> None:
        """Raises Unavailable, saying why."""
        try:
            await self._try()
        except Exception as error:
            raise Unavailable(_said(error)) from error

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await self._pool.aclose()

    async def _ask(self, question: Callable[[Counter], Awaitable[Wait]]) -> Wait:
        if self._looking is None:
            try:
                async with asyncio.timeout(self._wait_s):
                    return await question(self._remote)
            except Exception as error:  # noqa: BLE001  what answers nonsense (the client's errors are many then) is away too
                self._lost(error)
        return await question(self._memory)

    def _lost(self, error: Exception) -> None:
        if self._looking is None:
            log.warning("limits.shared_counts_lost", error=_said(error))
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Until a count is taken again."""
        while True:
            await asyncio.sleep(_PROBE_S)
            with contextlib.suppress(Exception):
                await self._try()
                break
        log.info("limits.shared_counts_found")
        self._looking = None

    async def _try(self) -> None:
        """Counts one: a Redis that answers and takes no writes is of no use."""
        async with asyncio.timeout(self._wait_s):
            await self._remote.hit(_PROBE, "probe")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
