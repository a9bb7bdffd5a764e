"""Health, readiness, and how serving ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog

from ..contract import Reply
from ..errors import Refusal

log = structlog.get_logger("gateway.lifecycle")

Check = Callable[[], Awaitable[None]]
"""Raises Unavailable, whose detail says why, where its part is out of reach."""

_Seen = tuple[float, dict[str, str]]
"""When, and how each part was."""

_ALIVE = "/healthz"
PROBES = frozenset({_ALIVE, "/readyz"})
_FIELDS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CHECK_S = 2.0
_KEPT_S = 1.0


class Lifecycle:
    """``/healthz`` says the process lives; ``/readyz`` says whether it should be sent requests, and names what fails."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self.in_flight = 0
        """Requests being answered."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._kept: _Seen | None = None
        self._looking: asyncio.Task[_Seen] | None = None
        self.draining = False
        """Every answer closes its connection."""
        self.leaving = False
        """Readiness fails."""

    def began(self) -> None:
        """A request came. ``ended`` follows, whatever becomes of it."""
        self.in_flight += 1
        if self.in_flight == 1:
            self._idle.clear()

    def ended(self) -> None:
        """It is over."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def drained(self, within_s: float) -> None:
        """Waits for requests in flight, no longer than ``within_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()

    async def answer(self, method: str, path: str) -> Reply:
        """The answer to a probe: ``path`` is one of PROBES."""
        if path == _ALIVE:
            return self._only_get(method) or _json(200, {"status": "ok"})
        return self._only_get(method) or await self._ready()

    async def close(self) -> None:
        """Looks no more: the parts are about to be closed."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _only_get(self, method: str) -> Reply | None:
        return None if method in {"GET", "HEAD"} else Reply(405, {"Allow": "GET, HEAD", **_FIELDS}, b"")

    async def _ready(self) -> Reply:
        if self.leaving:
            return _json(503, {"status": "draining", "checks": {}})
        kept = self._kept
        if kept is None or time.monotonic() - kept[0] > _KEPT_S:
            # A prober that leaves ends the look for nobody: else each that does would have the parts asked anew.
            self._looking = self._looking or asyncio.create_task(self._look())
            kept = await asyncio.shield(self._looking)
        states_by_name = kept[1]
        ready = all(state == "ok" for state in states_by_name.values())
        return _json(200 if ready else 503, {"status": "ready" if ready else "unready", "checks": states_by_name})

    async def _look(self) -> _Seen:
        """At all parts, for everybody who asks meanwhile."""
        try:
            states = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
            self._kept = time.monotonic(), dict(zip(self._checks, states, strict=True))
            return self._kept
        finally:
            self._looking = None

    async def _ask(self, name: str, check: Check) -> str:
        try:
            async with asyncio.timeout(_CHECK_S):
                await check()
        except Refusal as refusal:
            log.warning("not ready", part=name, reason=refusal.reason, detail=refusal.detail)
            return refusal.reason
        except TimeoutError:
            log.warning("not ready", part=name, reason="timeout", detail=f"no answer within {_CHECK_S:g} s")
            return "timeout"
        except Exception:
            log.exception("not ready", part=name, reason="defect")
            return "defect"
        return "ok"


def _json(status: int, body: Mapping[str, object]) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **_FIELDS}, orjson.dumps(body))
