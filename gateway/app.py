"""The composition root: a Config becomes clients, clients become the one path, and every lifetime is owned here."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Self
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from .access import Access
from .audit import Audit, Sessions
from .audit.sessions import Key
from .catalog.cache import CachedCatalog
from .catalog.links import LinkBook
from .catalog.listener import Hearers, Listener, Renewal
from .catalog.registry import Registry
from .catalog.retention import leased
from .catalog.store import PostgresCatalog
from .catalog.webhooks import WebhookBook
from .config import Config
from .draft import AGENT_KEPT, Draft
from .edge.again import Shortcut
from .edge.bind import bind
from .edge.handler import Handler
from .edge.lifecycle import Lifecycle
from .edge.limits import RateLimits
from .edge.repeats import Repeats
from .edge.server import Server
from .edge.streams import StreamBounds
from .edge.told import Teller
from .http.cors import response_headers
from .http.forwarded import is_trusted
from .identity import Identity
from .lifecycle.pipeline import Pipeline
from .lifecycle.places import alike
from .lifecycle.retention import Sweeper
from .lifecycle.sweeps import Sweeps
from .lifecycle.webhooks import Webhooks
from .linking import minter
from .listening import Listening
from .model import Store
from .mounting import router
from .operations import Dependencies, operations
from .playback import Playback
from .policy import Roles
from .postgres import Pool, connect, open_pool
from .rounds import Rounds
from .stores import open_resuming, open_stores
from .telemetry.figures import Sources
from .telemetry.lag import LoopLag
from .telemetry.meter import Meter
from .telemetry.served import refuse_unservable, serve_figures
from .telemetry.spans import TracedCatalog, TracedOpening, TracedProver, TracedTrail
from .telemetry.tracing import open_tracer

log = structlog.get_logger("gateway.app")

_CANCEL_S = 0.2
"""Seconds that what is cancelled has to end."""
_FRESH_S = 0.5
"""Seconds in which a connection made just before the listener closed, or amid a head, has to ask something."""
_LOOK_S = 0.05


class Gateway:
    """A running gateway. ``start`` it; ``stop`` it once."""

    def __init__(
        self,
        config: Config,
        server: Server,
        listener: Listening,
        lifecycle: Lifecycle,
        stack: AsyncExitStack,
    ) -> None:
        self._config = config
        self._server = server
        self._listener = listener
        self._lifecycle = lifecycle
        self._stack = stack
        self._hurry = asyncio.Event()

    @classmethod
    async def start(cls, config: Config, sock: socket.socket | None = None) -> Self:
        """Listening when it returns, on ``sock`` where that was bound by others. Raises ConfigError; OSError: the port is taken."""
        sock = sock or bind(config)
        config = config.listening_on(sock.getsockname()[1])
        async with AsyncExitStack() as stack:
            stack.callback(sock.close)
            routes = router(config)
            await refuse_unservable(config.metrics)
            tracing = open_tracer(config.tracing, scheme=_scheme(config), version=version("recording-gateway"))
            tracer = await stack.enter_async_context(tracing)
            pool = await open_pool(config.database)
            stack.push_async_callback(_close_pool, pool)
            asked = PostgresCatalog(pool, config.database)
            stack.push_async_callback(asked.close)
            catalog = CachedCatalog(asked, config.catalog)
            stack.push_async_callback(catalog.close)
            stores = await stack.enter_async_context(open_stores(config.stores, config.origin))
            registry = Registry(pool, config.database)
            identity = await Identity.open(config.identity, catalog)
            stack.push_async_callback(identity.close)
            limits = RateLimits.open(config.limits)
            stack.push_async_callback(limits.close)
            rounds = Rounds()
            audit = await stack.enter_async_context(
                Audit(config.audit, pool, flush_s=config.server.flush_s, rounds=rounds)
            )
            book = LinkBook(pool, config.database, idle_s=config.audit.session_idle_s)
            stack.push_async_callback(book.close)
            # Behind all that the configuration may be refused for: what is sent cannot be taken back.
            webhooks = Webhooks(config.webhooks, config.database, pool, WebhookBook(pool, config.database))
            await stack.enter_async_context(webhooks)
            hearers = Hearers(catalog, webhooks.sender, Renewal(pool))
            await stack.enter_async_context(Listener(partial(connect, config.database), hearers))
            if config.retention.sweep:
                await stack.enter_async_context(_sweeps(config, stores, audit))
            streams = StreamBounds(config.limits)
            access = Access(
                prover=identity,
                catalog=catalog,
                stores=stores,
                playback=_playback(config, stores, audit, book, streams),
                trail=audit.trail,
                mint=minter(config, identity.links, book),
                limits=limits,
                roles=Roles(config.identity.roles),
                operations=operations(
                    Dependencies(
                        config,
                        pool,
                        registry,
                        Pipeline(stores, registry, asked),
                        book,
                        webhooks.desk,
                        catalog.changed,
                    )
                ),
            )
            lifecycle = Lifecycle(
                {"postgres": asked.check, "journal": audit.check}
                | {f"store.{name}": store.check for name, store in stores.items()}
            )
            stack.push_async_callback(lifecycle.close)
            meter = Meter()
            teller = Teller(config.log, meter)
            stack.callback(teller.flush)
            repeats, shortcut = None, None
            if config.server.repeats and tracer is None:
                repeats = Repeats(
                    catalog,
                    partial(identity.standing, catalog.known_key),
                    limits,
                    streams,
                    stores,
                    _listener,
                    audit.trail,
                    audit.sessions,
                    partial(is_trusted, trusted_networks=config.server.trusted_proxies),
                )
                shortcut = Shortcut(
                    repeats, audit.trail, lifecycle, teller, rounds, stall_s=config.server.write_stall_s
                )
            seen = access if tracer is None else _traced(access)
            handler = Handler(config, routes, seen, lifecycle, teller, tracer, repeats)
            server = _server(config, handler, shortcut)
            sources = Sources(
                version=version("recording-gateway"),
                meter=meter,
                lag=LoopLag(),
                in_flight=lambda: lifecycle.in_flight,
                connections=lambda: len(server.connections),
                audit=audit.stats,
                pool=pool,
                caches=catalog.shelves,
                heard=lambda: catalog.line.heard,
                stores=stores,
                streams=streams,
            )
            await stack.enter_async_context(serve_figures(config.metrics, sources))
            listener = Listening(sock, server, backlog=config.server.backlog)
            return cls(config, server, listener, lifecycle, stack.pop_all())
        raise AssertionError  # unreachable: the stack re-raises

    @property
    def base_url(self) -> str:
        """Where it answers, on this machine."""
        return self._config.own_url

    async def stop(self, *, delay_s: float = 0, drain_s: float = 0) -> None:
        """Fails readiness, waits ``delay_s``, closes the listener, gives requests in flight ``drain_s``, flushes the audit."""
        self._lifecycle.draining = self._lifecycle.leaving = True
        await _either(self._hurry.wait(), asyncio.sleep(delay_s))
        await self._listener.close()
        await self._finish(drain_s)

    async def retire(self, *, drain_s: float = 0) -> None:
        """Leaves the port to a successor that listens already, and gives every connection ``drain_s`` to end by itself.

        Readiness stays as it is. What is idle may ask once more: were it closed, its next request might be on the way.
        """
        self._lifecycle.draining = True
        await self._listener.close()
        await _either(self._hurry.wait(), asyncio.sleep(drain_s), self._left())
        await self._finish(0)

    async def _finish(self, drain_s: float) -> None:
        self._server.pre_shutdown()
        await _either(self._hurry.wait(), self._drained(drain_s))
        if self._lifecycle.in_flight:
            log.warning("cut off at shutdown", requests=self._lifecycle.in_flight, after_s=drain_s)
        await self._server.shutdown(_CANCEL_S)
        await self._stack.aclose()

    async def _left(self) -> None:
        while self._server.connections:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(_LOOK_S)

    async def _drained(self, within_s: float) -> None:
        await self._server.heard(min(_FRESH_S, within_s))
        await self._lifecycle.drained(within_s)

    def hurry(self) -> None:
        """Cuts the waiting in ``stop`` short."""
        self._hurry.set()


def _sweeps(config: Config, stores: Mapping[str, Store], audit: Audit) -> Sweeps:
    lease = partial(leased, config.database)
    sweeper = Sweeper(stores, audit.trail, lease, batch=config.retention.batch, alike=alike(config.stores))
    return Sweeps(sweeper, config.retention.interval_s)


def _playback(
    config: Config, stores: Mapping[str, Store], audit: Audit, uses: LinkBook, streams: StreamBounds
) -> Playback:
    return Playback(
        stores=stores,
        open_source=partial(open_resuming, resumes=config.origin.resumes),
        trail=audit.trail,
        session_of=partial(_session_of, audit.sessions),
        playing=partial(_playing, audit.sessions),
        uses=uses,
        streams=streams,
    )


def _server(config: Config, handler: Handler, shortcut: Shortcut | None) -> Server:
    return Server(
        handler,
        taking=shortcut,
        head_timeout=config.server.header_timeout_s,
        max_line=config.server.max_header_bytes,
        max_body=config.server.max_body_bytes,
        fields=response_headers(config.cors.origins, None),
        keepalive_timeout=config.server.keepalive_s,
        auto_decompress=False,
        access_log=None,
    )


def _traced(access: Access) -> Access:
    """The same, whose steps are spans."""
    trail, playback = TracedTrail(access.trail), access.playback
    return replace(
        access,
        prover=TracedProver(access.prover),
        catalog=TracedCatalog(access.catalog),
        playback=replace(playback, trail=trail, open_source=TracedOpening(playback.open_source)),
        trail=trail,
    )


def _scheme(config: Config) -> str:
    return urlsplit(config.server.public_url or config.own_url).scheme


async def _either(*waits: Coroutine[object, object, object]) -> None:
    """Until the first of ``waits`` is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _close_pool(pool: Pool) -> None:
    """Gives connections a moment to come back; one that is stuck is cut."""
    try:
        async with asyncio.timeout(_CANCEL_S * 10):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _session_of(sessions: Sessions, draft: Draft, recording: UUID, etag: str) -> UUID:
    return sessions.of(_listener(draft, recording, etag), draft.occurred_at.timestamp())


def _playing(sessions: Sessions, draft: Draft, recording: UUID, etag: str) -> Callable[[], None]:
    over = sessions.playing(_listener(draft, recording, etag))
    return lambda: over(time.time())


def _listener(draft: Draft, recording: UUID, etag: str) -> Key:
    caller, head = draft.caller, draft.head
    agent = head.headers.get("User-Agent")
    if agent is not None:
        agent = agent[:AGENT_KEPT]  # as the audit has it: 20,000 of the longest would take hundreds of megabytes
    if caller is None:
        return (head.address, agent, recording.int, etag)
    # numbers, for UUIDs are slow to hash
    return (caller.tenant.int, caller.subject, caller.credential, head.address, agent, recording.int, etag)
