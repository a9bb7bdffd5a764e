"""Resolves the host names of webhooks, anew for each use, and checks every address that comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from ...config import Webhooks
from ...threads import Threads
from .guard import ELSEWHERE, Forbidden, Guard

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → its addresses. Raises OSError."""

_THREADS: Final = 128
"""A name server that does not answer holds a thread for longer than a try waits: with few threads one tenant would block all others."""
VETTING: Final = 16
"""Threads for URLs that requests bring. Anybody can send many, so they have none of the deliveries' threads."""


def guard_of(settings: Webhooks) -> Guard:
    return Guard(settings.allow_networks, http=settings.allow_http)


class Lookup:
    """The system's own resolver, on threads of its own: one that hangs keeps nobody else waiting."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = Threads(threads, "webhook-dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedResolver(AbstractResolver):
    """The resolver of the connector: looks a name up once, and gives its addresses only if all of them are allowed."""

    def __init__(self, resolve: Resolve, guard: Guard) -> None:
        self._resolve = resolve
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        addresses = await self._resolve(host, port)
        self._guard.check(addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Holds nothing."""


class Vetting:
    """May webhooks go to this URL, as far as can be told today? Sends nothing."""

    def __init__(self, settings: Webhooks, resolve: Resolve) -> None:
        self._guard = guard_of(settings)
        self._resolve = resolve
        self._within_s = settings.connect_s

    async def __call__(self, url: str) -> None:
        """Raises Forbidden."""
        target = self._guard.target(url)
        if target.literal is not None:
            return
        try:
            async with asyncio.timeout(self._within_s):
                addresses = await self._resolve(target.host, target.port)
        except OSError:  # TimeoutError is one
            raise Forbidden(ELSEWHERE) from None
        self._guard.check(addresses)
