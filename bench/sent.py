"""What the origin was asked for, by its own log: also what nobody took."""

from __future__ import annotations

import time
from typing import Self

from .stage import Stage

ENDED_S = 5.0
FLUSHED_S = 0.2
"""Twice the time after which the origin writes what it holds of its log."""


class fetched:  # noqa: N801 - used as a function
    """Bytes of bodies that the origin handed to its sockets inside ``with``: until ``requests`` or more have ended there."""

    def __init__(self, stage: Stage, requests: int) -> None:
        self._log = stage.folder / "origin.sent.log"
        self._requests = requests
        self.bytes = 0
        self.answers = 0

    def __enter__(self) -> Self:
        time.sleep(FLUSHED_S)
        self._from = self._log.stat().st_size
        return self

    def __exit__(self, *_: object) -> None:
        end = time.monotonic() + ENDED_S
        while len(lines := self._lines()) < self._requests and time.monotonic() < end:
            time.sleep(FLUSHED_S)
        time.sleep(FLUSHED_S)  # one request of a client's may be several there
        lines = self._lines()
        self.bytes, self.answers = sum(lines), len(lines)

    def _lines(self) -> list[int]:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return [int(line) for line in log.read().splitlines()]
