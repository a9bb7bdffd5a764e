"""A soak as Markdown and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..table import number, rows
from .counts import Count
from .tally import Tally
from .verdicts import Minute, Verdict
from .watch import Seen

PASSED = {True: "yes", False: "**NO**", None: "not known"}
COLUMNS = (
    "s",
    "requests",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "max ms",
    "RSS MB",
    "descriptors",
    "clients",
    "origins",
    "journal MB",
    "loop lag ms",
    "CPU gateway",
    "Postgres",
    "client",
)


@dataclass(frozen=True, slots=True)
class Soaked:
    """All that came of one."""

    machine: Mapping[str, str]
    before: Seen
    after: Seen
    minutes: Sequence[Minute]
    total: Tally
    counts: Sequence[Count]
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> list[str]:
        return [verdict.what for verdict in self.verdicts if verdict.passed is False]


def line(so_far: float, requests: int, minute: Minute, before: Seen) -> list[str]:
    """One minute's cells; ``requests`` until its end, ``before`` as it began."""
    tally, seen, seconds = minute.tally, minute.seen, minute.tally.seconds or 1
    return [
        f"{so_far:.0f}",
        str(requests),
        number(tally.ended / seconds),
        *(f"{minute.took_ms(share):.2f}" for share in (0.5, 0.99, 1)),
        f"{seen.resident / 1e6:.1f}",
        f"{seen.descriptors}",
        f"{seen.clients}",
        f"{seen.origins}",
        f"{seen.journal / 1e6:.0f}",
        "–" if minute.loop_lag_s is None else f"{minute.loop_lag_s * 1000:.2f}",
        *(
            f"{spent / seconds:.2f}"
            for spent in (seen.cpu_s - before.cpu_s, seen.postgres_cpu_s - before.postgres_cpu_s, tally.cpu_s)
        ),
    ]


def lines(soaked: Soaked) -> list[list[str]]:
    """Every minute's cells."""
    told, so_far, requests, before = [], 0.0, 0, soaked.before
    for minute in soaked.minutes:
        so_far += minute.tally.seconds
        requests += minute.tally.ended
        told.append(line(so_far, requests, minute, before))
        before = minute.seen
    return told


def page(soaked: Soaked, title: str) -> str:
    """The whole document."""
    known = {True: "agree", False: "**APART**"}
    parts = [
        f"# {title}\n",
        ", ".join(f"{name}: {value}" for name, value in soaked.machine.items()) + "\n",
        "## Verdicts\n",
        rows(["what", "told", ""], [[each.what, each.told, PASSED[each.passed]] for each in soaked.verdicts]),
        *(f"- `{example}`\n" for example in soaked.total.examples),
        "## Who counted what\n",
        rows(
            ["", "client", "Postgres", "metrics", ""],
            [
                [each.of, str(each.client), _known(each.postgres), _known(each.metrics), known[each.agreed]]
                for each in soaked.counts
            ],
        ),
        "## Kinds of requests\n",
        rows(["kind", "ended"], [[kind, str(count)] for kind, count in soaked.total.kinds.most_common()]),
        "## Minute by minute\n",
        "Latency: of a 64 KiB range, from when it was due to its last byte. CPU: of so many CPUs.\n",
        rows(COLUMNS, lines(soaked)),
    ]
    return "\n".join(parts)


def document(soaked: Soaked) -> dict[str, Any]:
    """For JSON: the same figures."""
    return {
        "machine": dict(soaked.machine),
        "verdicts": [asdict(each) for each in soaked.verdicts],
        "counts": [asdict(each) for each in soaked.counts],
        "kinds": dict(soaked.total.kinds),
        "examples": soaked.total.examples,
        "before": asdict(soaked.before),
        "after": asdict(soaked.after),
        "minutes": [
            {
                **asdict(minute.seen),
                "requests": minute.tally.ended,
                "seconds": minute.tally.seconds,
                "client_cpu_s": minute.tally.cpu_s,
                "connections_opened": minute.tally.connections,
                "loop_lag_s": minute.loop_lag_s,
                **{f"p{share * 100:g}_ms": minute.took_ms(share) for share in (0.5, 0.99, 1)},
            }
            for minute in soaked.minutes
        ],
    }


def _known(figure: int | None) -> str:
    return "–" if figure is None else str(figure)
