"""An issuer's published keys, fetched without blocking and kept (RFC 7517 section 5).

What a stranger can make us do is bounded: however many unknown key ids come, there is one fetch at a time, and one per
``min_interval_s``. A fetch that fails leaves the keys as they were.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from ..errors import Unavailable
from .jose import refused
from .keyset import KeySet, PublicKey, parse_jwks

MAX_BYTES = 262_144
"""Of a key set's document."""
RETRY_S = 5.0
"""Seconds between fetches as long as there are no keys at all: a blip at start costs seconds, not the whole interval."""
_TIMEOUT = ClientTimeout(total=5, sock_connect=3)

log = structlog.get_logger("gateway.identity")


class Jwks:
    """The keys of one issuer. Keys older than ``refresh_s`` are renewed behind the requests that use them."""

    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        session: ClientSession,
        *,
        refresh_s: float,
        min_interval_s: float,
        timeout: ClientTimeout = _TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._session = session
        self._refresh_s = refresh_s
        self._min_interval_s = min_interval_s
        self._timeout = timeout
        self._clock = clock
        self._keys = KeySet()
        self._fetched = self._asked = -math.inf
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Starts the first fetch, so that the first request need not wait for it."""
        self._fetch()

    async def key(self, kid: str | None, algorithm: str) -> PublicKey:
        """The key that verifies ``algorithm`` under ``kid``; waits for a fetch only where it has no such key.

        Raises Unauthenticated (the issuer publishes no such key), Unavailable (it could not be asked).
        """
        key = self._keys.pick(kid, algorithm)
        age = self._clock() - self._fetched
        if key is not None and age < self._refresh_s:
            return key
        task = self._fetch()
        # Nobody used these keys for a whole further period: the issuer may have withdrawn one, so its word is awaited.
        forgotten = age >= 2 * self._refresh_s and self._failure is None
        if task is not None and (key is None or forgotten):
            await asyncio.shield(task)
            key = self._keys.pick(kid, algorithm)
        if key is not None:
            return key
        if self._failure is not None:
            raise self._away()
        raise refused("signed with a key its issuer does not publish for that algorithm")

    async def check(self) -> None:
        """Waits for the first fetch. Raises Unavailable: it failed, or gave no key that verifies anything here."""
        if (task := self._fetch()) is not None:
            await asyncio.shield(task)
        if self._failure is not None:
            raise self._away()

    async def close(self) -> None:
        """Gives up a fetch under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _away(self) -> Unavailable:
        return Unavailable(f"JWKS {self._url}: {self._failure}", retry_after=max(1, math.ceil(self._wait())))

    def _wait(self) -> float:
        """Seconds until the issuer may be asked again."""
        interval = self._min_interval_s if self._keys.keys else min(RETRY_S, self._min_interval_s)
        return self._asked + interval - self._clock()

    def _fetch(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; None: it is too soon for one."""
        if self._task is not None and not self._task.done():
            return self._task
        if self._wait() > 0:
            return None
        self._asked = self._clock()
        self._task = asyncio.create_task(self._renew(), name=f"jwks {self._url}")
        return self._task

    async def _renew(self) -> None:
        try:
            keys = parse_jwks(await self._download(), self._algorithms)
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            self._failure = f"{type(error).__name__}: {error}"
            log.warning("jwks fetch failed", url=self._url, error=self._failure, kept=len(self._keys.keys))
            return
        if keys != self._keys:
            kids = [key.kid for key in keys.keys]
            log.info("jwks fetched", url=self._url, kids=kids, unfit=keys.unfit)
        self._keys, self._fetched, self._failure = keys, self._clock(), None

    async def _download(self) -> bytes:
        accept = {"Accept": "application/jwk-set+json, application/json"}
        async with self._session.get(
            self._url, headers=accept, timeout=self._timeout, allow_redirects=False
        ) as response:
            if response.status != 200:  # noqa: PLR2004  OK is its own name
                raise ValueError(f"answered {response.status}")
            document = bytearray()
            async for piece in response.content.iter_any():
                document += piece
                if len(document) > MAX_BYTES:
                    raise ValueError(f"larger than {MAX_BYTES} bytes")
            return bytes(document)
