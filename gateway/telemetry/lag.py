"""How late the event loop runs its timers: what delays it delays every stream."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from .meter import Histogram

INTERVAL_S = 0.25
"""Seconds between two looks."""
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Sets a timer while the context lasts, and counts how late it goes off."""

    def __init__(self) -> None:
        self.lags = Histogram(LAGS)
        self._worst = 0.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._set()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def worst(self) -> float:
        """The longest since this was last asked, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _set(self) -> None:
        self._due = self._loop.time() + INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        late = max(self._loop.time() - self._due, 0.0)
        self.lags.observe(late)
        self._worst = max(self._worst, late)
        self._set()
