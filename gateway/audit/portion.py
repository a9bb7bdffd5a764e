"""How many records go to the sink at once. Pure."""

from __future__ import annotations

from typing import Final

PROMPT: Final = 200
"""Records in one shipment while the shipper keeps up: more would occupy a CPU for milliseconds, and requests would wait behind."""
BEHIND_S: Final = 2.0
"""Age of the oldest record, in seconds, from which there is a backlog."""
BACKLOG: Final = 1000
"""Records in the first shipment of a backlog: where shipments are quick, more gain nothing."""
LONG_S: Final = 0.1
"""Seconds of a shipment from which the next carries more: most of that was waiting (event loop, network), not work on its records."""
TOO_LONG_S: Final = 1.5
"""Seconds of a shipment from which the next carries fewer: a statement may take no longer than ``database.query_s``."""


class Portion:
    """Adapts the size to how long shipments take. ``most``: the upper bound."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._backlog = min(most, BACKLOG)

    def size(self, oldest_s: float) -> int:
        """How many records the next shipment carries, the oldest having waited for ``oldest_s`` seconds."""
        if oldest_s >= BEHIND_S:
            return self._backlog
        self._backlog = min(self._most, BACKLOG)
        return min(self._most, PROMPT)

    def took(self, size: int, seconds: float) -> None:
        """Takes note that a shipment of ``size`` records took ``seconds``, from reading to confirmation."""
        if size < self._backlog:
            return
        if seconds > TOO_LONG_S:
            self._backlog = max(min(self._most, BACKLOG), size // 2)
        elif seconds > LONG_S:
            self._backlog = min(self._most, size * 2)
