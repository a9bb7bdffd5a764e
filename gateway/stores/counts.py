"""How a store's reads went, counted as they happen, and read when somebody asks for figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..errors import Changed, Refusal


@dataclass(slots=True)
class Counts:
    """Since the store was opened, all of them only ever growing."""

    requests: int = 0
    """Ranged reads sent, repeated ones among them."""
    connections: int = 0
    """Connections made for them."""
    reused: int = 0
    """Requests that left on a connection which had served before."""
    replaced: int = 0
    """Kept connections that turned out to have been closed by the store."""
    retries: int = 0
    """Requests repeated before a first byte, after a pause."""
    resumes: int = 0
    """Bodies taken up again after they broke."""
    errors: Counter[str] = field(default_factory=Counter)
    """Reads refused, by the refusal's reason, and bodies that broke, as ``origin_broken``."""

    def refused(self, error: Refusal | Changed) -> None:
        """A read came to nothing by ``error``; each store counts them in its ``open``."""
        self.errors["object_changed" if isinstance(error, Changed) else error.reason] += 1


@runtime_checkable
class Counted(Protocol):
    """A store whose reads are counted."""

    counts: Counts
