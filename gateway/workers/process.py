"""The life of one serving process: from its configuration to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
from typing import Any

import structlog

from .. import logs
from ..app import Gateway
from ..config import Config
from ..threads import Threads
from .given import READY, STOPPING, Given
from .signals import RELOAD, RETIRE, STOPS

log = structlog.get_logger("gateway.workers")

_THREADS = 32
"""For whatever else blocks, as the loop looking up names: at most as many as Python itself would have."""


class Process:
    """Serves until a signal, or the end of its supervisor, tells it to stop; a second signal makes it hurry.

    Under a supervisor only SIGINT makes it hurry: a worker may get one SIGTERM twice, from its supervisor and from a service
    manager that signals every process of the service.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._told: asyncio.Future[signal.Signals | None] = asyncio.get_running_loop().create_future()
        """The signal that ends it; None: its supervisor is gone."""
        self._hurry = asyncio.Event()

    def heed(self) -> None:
        """Installs the signal handlers, and watches for the end of the supervisor."""
        loop = asyncio.get_running_loop()
        for number in (*STOPS, RETIRE):
            loop.add_signal_handler(number, self._hear, number)
        if self._given.leash is not None:
            loop.add_reader(self._given.leash, self._orphaned, self._given.leash)

    async def serve(self, config: Config) -> None:
        """Until told otherwise. Raises as Gateway.start."""
        server, sockets = config.server, self._given.sockets
        asyncio.get_running_loop().add_signal_handler(RELOAD, self._refuse_reload)
        self.heed()  # from the first moment on: process 1 of a container hears no signal that it does not heed
        starting = asyncio.ensure_future(Gateway.start(config, sockets[0] if sockets else None))
        waits: list[asyncio.Future[Any]] = [starting, self._told]  # Any: one brings a gateway, the other a signal
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        if starting.cancelled():
            log.info("stopped")
            return
        gateway = starting.result()
        if self._given.slot is None:
            log.info("serving", url=gateway.base_url, surfaces=sorted({mount.surface for mount in config.mounts}))
        _settle()
        self._given.tell(READY)
        told = await self._told
        hurrying = asyncio.create_task(self._hurries(gateway))
        self._given.tell(STOPPING)
        if told is RETIRE:
            log.info("retiring", drain_s=server.drain_s)
            await gateway.retire(drain_s=server.drain_s)
        else:
            delay_s = 0 if told is None else server.drain_delay_s
            log.info("draining", delay_s=delay_s, drain_s=server.drain_s)
            await gateway.stop(delay_s=delay_s, drain_s=server.drain_s)
        hurrying.cancel()
        log.info("stopped")

    async def _hurries(self, gateway: Gateway) -> None:
        await self._hurry.wait()
        gateway.hurry()

    def _hear(self, number: signal.Signals) -> None:
        if not self._told.done():
            self._told.set_result(number)
        elif self._given.slot is None or number == signal.SIGINT:
            self._hurry.set()

    def _refuse_reload(self) -> None:
        if self._given.slot is None:
            log.warning(
                "not reloaded", detail="one process alone cannot; restart it, or serve with --workers 2 or more"
            )

    def _orphaned(self, leash: int) -> None:
        asyncio.get_running_loop().remove_reader(leash)
        os.close(leash)
        log.error("the supervisor is gone")
        if not self._told.done():
            self._told.set_result(None)


async def serve_alone(config: Config, given: Given) -> None:
    """Runs until SIGTERM or SIGINT, then drains. Raises as Gateway.start."""
    if given.slot is None:
        logs.configure(config.log)
    else:
        logs.configure(config.log, worker=given.slot)
    raise_file_limit()
    asyncio.get_running_loop().set_default_executor(Threads(_THREADS, "serving"))
    await Process(given).serve(config)


_COLLECT_AT = (10_000, 20, 50)
"""A request makes some hundred objects and leaves no cycles: looking for them after every 700 costs 2 % of all CPU."""


def _settle() -> None:
    """Exempts the objects made at start from garbage collection, and makes collections rare.

    A full collection took 100 ms, in the middle of whatever was being served: the SDKs' models are large.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AT)


def raise_file_limit() -> None:
    """Takes all the descriptors this process may have: a stream needs two, and shells and systemd allow 1024 at first."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems call the limit infinite and do not mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
