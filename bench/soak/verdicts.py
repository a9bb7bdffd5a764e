"""What is said of a soak: flat or not, back to where it began or not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from ..results import percentile
from .counts import Count
from .tally import Tally
from .watch import Seen


@dataclass(frozen=True, slots=True)
class Minute:
    """One line: what the client counted in that time, and what was seen at its end."""

    tally: Tally
    seen: Seen
    loop_lag_s: float | None = None
    cpu_s: float = 0.0
    """The gateway's, in that time."""

    @property
    def pace_us(self) -> float:
        """The client's own CPU for each request: it does the same all the time, so that this tells the machine's speed."""
        return self.tally.cpu_s / self.tally.ended * 1e6 if self.tally.ended else 0.0

    @property
    def effort(self) -> float:
        """The gateway's CPU against the client's: what the machine's speed does not change."""
        return self.cpu_s / self.tally.cpu_s if self.tally.cpu_s else 0.0

    def took_ms(self, share: float) -> float:
        """Of 64 KiB ranges; 0 where there was none."""
        return percentile(self.tally.took_s, share) * 1000 if self.tally.took_s else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``passed`` None: not known."""

    what: str
    told: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Flat:
    """The last third against the second, by their medians: no more than ``times`` as much and ``more``.

    ``timed``: it depends on how fast the machine is.
    """

    what: str
    unit: str
    times: float
    more: float
    of: Callable[[Minute], float]
    timed: bool = False

    def judge(self, minutes: Sequence[Minute]) -> Verdict:
        """Not known with fewer than three minutes; nor, if it is timed, where the machine has become slower meanwhile."""
        second, last = thirds(minutes)
        rule = f"≤ {self.times:g} × the second third + {self.more:g} {self.unit}"
        if not second:
            return Verdict(self.what, f"too short; {rule}", None)
        before, after = median(map(self.of, second)), median(map(self.of, last))
        told = f"{before:.4g} {self.unit} in the second third, {after:.4g} {self.unit} in the last; {rule}"
        passed = after <= before * self.times + self.more
        slower = median(minute.pace_us for minute in last) / (median(minute.pace_us for minute in second) or 1)
        if self.timed and not passed and slower > SLOWER:
            return Verdict(self.what, f"{told}; the machine was {slower - 1:.0%} slower, by the client's own CPU", None)
        return Verdict(self.what, told, passed)


SLOWER = 1.03
"""Beyond which the machine itself accounts for longer times: at 0.85 of a core, 5 % more work double what waits."""
FLAT: Sequence[Flat] = (
    Flat("memory is flat", "MB", 1.02, 2, lambda minute: minute.seen.resident / 1e6),
    Flat("descriptors are flat", "", 1.05, 16, lambda minute: minute.seen.descriptors),
    Flat("connections of clients are flat", "", 1.1, 16, lambda minute: minute.seen.clients),
    Flat("connections to the origin are flat", "", 1.1, 16, lambda minute: minute.seen.origins),
    Flat("the journal is flat", "MB", 1.0, 40, lambda minute: minute.seen.journal / 1e6),
    Flat("latency is flat, p50", "ms", 1.2, 0.2, lambda minute: minute.took_ms(0.5), timed=True),
    Flat("latency is flat, p99", "ms", 1.5, 2, lambda minute: minute.took_ms(0.99), timed=True),
    Flat("CPU per request is flat, against the client's", "×", 1.05, 0, lambda minute: minute.effort),
)


def thirds(minutes: Sequence[Minute]) -> tuple[Sequence[Minute], Sequence[Minute]]:
    """The second and the last third; empty where there are fewer than three."""
    size = len(minutes) // 3
    return (minutes[-2 * size : -size], minutes[-size:]) if size else ((), ())


def back(before: Seen, after: Seen) -> list[Verdict]:
    """Whether what was taken was given back: idle connections to the origin, and their descriptors, may be kept."""
    lasting = [seen.sockets + seen.others - seen.origins - seen.clients for seen in (before, after)]
    return [
        Verdict("no client's connection is left", f"{after.clients}", after.clients == 0),
        Verdict(
            "descriptors are back, but for idle connections to the origin and pipes",
            f"{lasting[0]} before, {lasting[1]} after; {after.origins} to the origin, {after.pipes} of pipes",
            lasting[1] <= lasting[0] + 4,
        ),
    ]


def judge(
    minutes: Sequence[Minute],
    before: Seen,
    after: Seen,
    total: Tally,
    counts: Sequence[Count],
    drained_s: float | None,
    partial_bytes: int,
) -> list[Verdict]:
    """All of them. ``partial_bytes``: of bodies that did not come whole, as Postgres has them."""
    apart = [count.of for count in counts if not count.agreed]
    metrics_told = counts[0].metrics is not None
    return [
        Verdict("every answer was right", f"{total.wrong} were not, {total.ended} in all", total.wrong == 0),
        Verdict("nothing was held back", f"{total.held_back} requests", total.held_back == 0),
        *(flat.judge(minutes) for flat in FLAT),
        *back(before, after),
        Verdict(
            "the journal is drained",
            "not in time" if drained_s is None else f"{drained_s:.1f} s after the last answer",
            drained_s is not None,
        ),
        Verdict(
            "client and Postgres agree to the last one" + (", metrics too" if metrics_told else ""),
            f"apart: {', '.join(apart)}" if apart else f"{len(counts)} figures",
            not apart,
        ),
        Verdict(
            "what left for those who left early covers what they got",
            f"{partial_bytes / 1e6:.0f} MB left, {total.partial_bytes / 1e6:.0f} MB came",
            partial_bytes >= total.partial_bytes,
        ),
        *([] if metrics_told else [Verdict("metrics agree", "the gateway told none", passed=False)]),
    ]
