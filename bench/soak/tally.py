"""What came of requests: counts by how they ended, and how long they took. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

EXAMPLES = 20


class End(StrEnum):
    """How an answer ended, in the audit's words."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    """The client left in mid-body, or took nothing until it was cut off."""
    REFUSED = "refused"


Ended = tuple[int, str]
"""(status, End)"""


@dataclass(slots=True)
class Tally:
    """Of one client, over some time. ``took_s``: of each 64 KiB range, from when it was due to its last byte."""

    ends: Counter[Ended] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind of request → how many ended."""
    complete_bytes: int = 0
    """Of bodies that came whole."""
    partial_bytes: int = 0
    """Of the others."""
    took_s: list[float] = field(default_factory=list)
    wrong: int = 0
    """Answers that are not what they should be."""
    examples: list[str] = field(default_factory=list)
    """Some of them."""
    held_back: int = 0
    """Requests that were due and not made, so many being under way already."""
    connections: int = 0
    """Opened."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """The client's own."""

    @property
    def ended(self) -> int:
        return self.ends.total()

    def went_wrong(self, how: str) -> None:
        """One more."""
        self.wrong += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(how)

    def add(self, other: Tally) -> None:
        """Takes in what another one counted."""
        self.ends += other.ends
        self.kinds += other.kinds
        self.complete_bytes += other.complete_bytes
        self.partial_bytes += other.partial_bytes
        self.took_s += other.took_s
        self.wrong += other.wrong
        self.examples = [*self.examples, *other.examples][:EXAMPLES]
        self.held_back += other.held_back
        self.connections += other.connections
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s

    def statuses(self) -> Counter[int]:
        """Status → answers."""
        counted: Counter[int] = Counter()
        for (status, _), count in self.ends.items():
            counted[status] += count
        return counted
