"""The background task that sends what is due. Every replica runs one; what one has taken no other sends."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

import structlog

from ...config import Webhooks
from ...errors import Unavailable
from .post import Poster, longest_s
from .queue import Due, Queue
from .schedule import Fate, Tried, judge
from .signing import Sealer, Unsealable, signed_headers

TAG = "webhook:due"
"""What Postgres tells its listeners when something new is due."""

_RETRY_MIN_S = 0.1
_RETRY_MAX_S = 5.0
_DEFECT_S = 30.0
"""Seconds to wait after what is no outage: a schema that is behind, a defect."""
_TIDY_S = 3600.0
_DAY_S = 86_400.0
_STOP_S = 5.0

_log = structlog.get_logger("gateway.webhooks")


def lease_s(settings: Webhooks) -> float:
    """Seconds for which a delivery is its taker's: twice as long as a try can last."""
    return 2 * longest_s(settings)


class Sender:
    """An async context manager: it sends while entered, whether Postgres can be reached at the time or not.

    It is also a hearer of changes: what is new is sent at once, and looked for every ``poll_s`` besides.
    """

    def __init__(self, queue: Queue, poster: Poster, sealer: Sealer, settings: Webhooks) -> None:
        self._queue = queue
        self._poster = poster
        self._sealer = sealer
        self._settings = settings
        self._bell = asyncio.Event()
        self._busy: Counter[UUID] = Counter()
        self._failing = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._tidied = -math.inf
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Takes nothing more; what is under way gets a moment to end, and is given back after that."""
        self._stopping = True
        self._bell.set()
        if self._task is not None:
            await self._task
        if self._sending:
            late = (await asyncio.wait(self._sending, timeout=_STOP_S))[1]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- what a Listener reports

    def restored(self) -> None:
        """What was told meanwhile went unheard."""
        self._bell.set()

    def lost(self) -> None:
        """There is still ``poll_s``."""

    def changed(self, tag: str) -> None:
        if tag == TAG:
            self._bell.set()

    # --- the work

    async def _run(self) -> None:
        delay, defect = _RETRY_MIN_S, ""
        while not self._stopping:
            self._bell.clear()
            try:
                wait = await self._round()
                delay, defect = _RETRY_MIN_S, ""
            except Unavailable as error:
                if delay == _RETRY_MIN_S:
                    _log.warning("webhooks.away", detail=error.detail)
                wait = delay = min(delay * 2, _RETRY_MAX_S)
            except Exception as error:  # noqa: BLE001  a defect must not end the sending for good; it is logged
                _log.error("webhooks.failed", error=type(error).__name__, exc_info=repr(error) != defect)
                wait, defect = _DEFECT_S, repr(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._bell.wait()

    async def _round(self) -> float:
        """Takes what there is room for. Returns the seconds after which to look again, unless the bell rings before."""
        settings, clock = self._settings, asyncio.get_running_loop().time
        # Asked ahead: what falls due between the questions would else be in the answer to neither.
        asked_at, soon = clock(), await self._queue.next_s()
        await self._take(settings.concurrency - len(self._sending), failing=False, each=settings.per_endpoint)
        room = settings.concurrency - len(self._sending)
        await self._take(min(room, max(1, settings.concurrency // 2) - self._failing), failing=True, each=1)
        if time.monotonic() - self._tidied >= _TIDY_S:
            more = await self._queue.tidy(settings.keep_days * _DAY_S)
            self._tidied = -math.inf if more else time.monotonic()
        return settings.poll_s if soon is None else min(settings.poll_s, soon - (clock() - asked_at))

    async def _take(self, room: int, *, failing: bool, each: int) -> None:
        if room <= 0:
            return
        # Counted from before Postgres counts: whatever holds this process up, a try is over before its lease is.
        until = asyncio.get_running_loop().time() + 1.5 * longest_s(self._settings)
        for due in await self._queue.take(room, self._busy, failing=failing, each=each):
            self._busy[due.endpoint] += 1
            self._failing += failing
            task = asyncio.create_task(self._send(due, until, failing=failing))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, due: Due, until: float, *, failing: bool) -> None:
        try:
            await self._settled(due, until)
        except Exception:  # noqa: BLE001  its lease ends, and it is tried again; it is logged
            _log.exception("webhooks.failed", delivery=str(due.id))
        finally:
            self._busy[due.endpoint] -= 1
            self._busy += Counter()  # keeps those above zero
            self._failing -= failing
            self._bell.set()

    async def _settled(self, due: Due, until: float) -> None:
        if not due.enabled:
            await _insist(lambda: self._queue.drop(due))
            return
        try:
            tried = await self._try(due, until)
        except asyncio.CancelledError:
            with suppress(Unavailable):
                await self._queue.give_back(due)
            raise
        verdict = judge(tried, due.tries, self._settings.schedule_s, random.random())  # noqa: S311  jitter
        level = _log.info if verdict.fate in {Fate.DELIVERED, Fate.RETRY} else _log.warning
        level(
            "webhook",
            delivery=str(due.id),
            endpoint=str(due.endpoint),
            attempt=due.attempt,
            fate=verdict.fate.value,
            status=tried.status,
            error=tried.error,
            ms=tried.took_ms,
        )
        days = self._settings.patience_days
        patience = None if days is None else days * _DAY_S
        off = await _insist(lambda: self._queue.settle(due, tried, verdict, patience_s=patience))
        if off is not None:
            _log.warning("webhooks.switched_off", endpoint=str(due.endpoint), reason=off)

    async def _try(self, due: Due, until: float) -> Tried:
        """Is over by ``until``, on the loop's clock."""
        at = datetime.now(UTC)
        keys = self._keys(due)
        if not keys:
            return Tried(at, 0, None, "defect", asked=False)
        try:
            async with asyncio.timeout_at(until):
                return await self._poster.post(due.url, due.body, signed_headers(str(due.event), at, due.body, keys))
        except TimeoutError:
            return Tried(at, 0, None, "timed_out")

    def _keys(self, due: Due) -> list[str]:
        """What signs it: nothing where the present secret can't be read; the former one only where it can."""
        keys = []
        for secret in due.secrets:
            try:
                keys.append(self._sealer.unseal(secret))
            except Unsealable:
                _log.exception(
                    "webhooks.secret_unreadable", endpoint=str(due.endpoint), fix="add its key to webhooks.secret_keys"
                )
                break
        return keys


async def _insist(write: Callable[[], Awaitable[str | None]]) -> str | None:
    """Until Postgres has it: what was sent, and is not known to be, is sent again."""
    delay = _RETRY_MIN_S
    while True:
        try:
            return await write()
        except Unavailable:
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_MAX_S)
