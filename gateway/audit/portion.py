"""How many records go to the sink at once. Pure."""

from __future__ import annotations

from typing import Final

PROMPT: Final = 200
"""Records at once of who keeps up: more of them keep Postgres' CPU, or this one's, for milliseconds, and a request waits behind."""
BEHIND_S: Final = 2.0
"""Age of the oldest record from which on it is a backlog."""
BACKLOG: Final = 1000
"""Records of a backlog at once, at first: more of them gain nothing where a shipment is quick."""
LONG_S: Final = 0.1
"""Seconds of a shipment from which on more go with the next: it waits for turns, the loop's or the line's, more than for its records."""
TOO_LONG_S: Final = 1.5
"""Seconds from which on fewer do: a statement may take ``database.query_s`` and no longer."""


class Portion:
    """``most``: records at once in any case."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._backlog = min(most, BACKLOG)

    def size(self, oldest_s: float) -> int:
        """Of the next shipment, where the oldest record waits for ``oldest_s`` seconds."""
        if oldest_s >= BEHIND_S:
            return self._backlog
        self._backlog = min(self._most, BACKLOG)
        return min(self._most, PROMPT)

    def took(self, size: int, seconds: float) -> None:
        """A shipment of ``size`` records, from its reading to its being confirmed."""
        if size < self._backlog:
            return
        if seconds > TOO_LONG_S:
            self._backlog = max(min(self._most, BACKLOG), size // 2)
        elif seconds > LONG_S:
            self._backlog = min(self._most, size * 2)
