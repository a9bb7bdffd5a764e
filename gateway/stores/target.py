"""One object of a store that is reached by HTTP, ready to be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from .answer import Pin
from .pool import Pool


@dataclass(frozen=True, slots=True)
class Target:
    """All of the request but its Range, and what the answer must show."""

    pool: Pool
    request: bytes
    pin: Pin
