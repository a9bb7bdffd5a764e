"""What is counted of each request: plain ints in lists, changed in the event loop alone, read when somebody scrapes."""

from __future__ import annotations

from bisect import bisect_left

from ..event import COMPLETE, Result

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Bounds of the buckets in seconds, from a seek on a warm cache to a long call listened to at its own pace."""
FIRST_BYTES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
OTHER = "other"
"""Stands for whatever else a client calls its method."""


class Histogram:
    """How many observations fell under each of ``bounds`` (the last: above all of them), and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class SurfaceMeter:
    """What is counted for a surface as a whole."""

    __slots__ = ("durations", "first_bytes", "sent")

    def __init__(self) -> None:
        self.durations = Histogram(DURATIONS)
        self.first_bytes = Histogram(FIRST_BYTES)
        self.sent = 0


class Row:
    """How often one route answered one method with one status."""

    __slots__ = ("count", "surface")

    def __init__(self, surface: SurfaceMeter) -> None:
        self.count = 0
        self.surface = surface


class Meter:
    """All of them. What names a row must come from a finite set: a surface's name, a route's template, a status."""

    __slots__ = ("rows", "surfaces", "unserved")

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, int], Row] = {}
        """(surface, route, method, status) → its row"""
        self.surfaces: dict[str, SurfaceMeter] = {}
        self.unserved: dict[tuple[str, Result, str], int] = {}
        """(surface, result, reason) → requests that did not end complete; the reason is empty where there is none."""

    def answered(
        self,
        surface: str,
        route: str,
        method: str,
        status: int,
        seconds: float,
        first_byte_s: float | None,
        sent: int,
        result: Result = COMPLETE,
        reason: str | None = None,
    ) -> None:
        """A request is over. ``status`` 0: the client left before its answer; ``sent``: bytes of an object that left.

        ``first_byte_s``: seconds from the request's head to the first byte of a body; None: none left.
        """
        row = self.rows.get((surface, route, method, status)) or self._row(surface, route, method, status)
        row.count += 1
        own = row.surface
        own.sent += sent
        durations = own.durations  # observe() unrolled, here and below: two calls would cost as much as all the rest
        durations.counts[bisect_left(DURATIONS, seconds)] += 1
        durations.sum += seconds
        if first_byte_s is not None:
            first = own.first_bytes
            first.counts[bisect_left(FIRST_BYTES, first_byte_s)] += 1
            first.sum += first_byte_s
        if result is not COMPLETE:
            key = (surface, result, reason or "")
            self.unserved[key] = self.unserved.get(key, 0) + 1

    def _row(self, surface: str, route: str, method: str, status: int) -> Row:
        """The row of what has no row yet, and of every method that is none of METHODS."""
        key = (surface, route, method if method in METHODS else OTHER, status)
        row = self.rows.get(key)
        if row is None:
            own = self.surfaces.setdefault(surface, SurfaceMeter())
            row = self.rows[key] = Row(own)
        return row
