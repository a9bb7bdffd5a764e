"""What is told of each request once it is over: a line in the log, and what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..config import Log
from ..event import COMPLETE, Result
from ..logs import Lines
from ..telemetry.meter import Meter
from ..telemetry.spans import RequestSpan


@dataclass(slots=True)
class Told:
    """What the request log will say. Never a path, a query or a field: those can hold secrets."""

    request_id: str
    address: str
    trace_id: str | None
    surface: str = "-"
    route: str = "-"
    status: int = 0
    sent: int = 0
    result: Result = COMPLETE
    reason: str | None = None
    quiet: bool = False
    """Not worth a line: a probe that found all well."""
    began: float | None = None
    """When the first bytes of a body had left."""
    traceparent: str | None = None
    """As a trusted proxy sent it."""
    span: RequestSpan | None = None


class Teller:
    """Tells it."""

    def __init__(self, log: Log, meter: Meter) -> None:
        self._lines = Lines(log, "request") if log.requests else None
        self._meter = meter
        self._clock = asyncio.get_running_loop().time

    def tell(self, method: str, told: Told, begun: float) -> None:
        """``begun``: when the request came, by the loop's clock."""
        took = self._clock() - begun
        first = None if told.began is None else told.began - begun
        self._meter.answered(
            told.surface, told.route, method, told.status, took, first, told.sent, told.result, told.reason
        )
        if self._lines is not None:
            self._lines.tell(
                {
                    "method": method,
                    "surface": told.surface,
                    "route": told.route,
                    "status": told.status,
                    "bytes": told.sent,
                    "result": told.result.value,
                    "reason": told.reason,
                    "ms": round(took * 1000, 1),
                    "address": told.address,
                    "request_id": told.request_id,
                }
            )

    def flush(self) -> None:
        """Writes what the request log holds."""
        if self._lines is not None:
            self._lines.flush()
