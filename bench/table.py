"""Results as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .goals import GOALS, judge
from .results import Results, Summary


def number(value: float) -> str:
    """Three figures that count, and no more."""
    if value == 0:
        return "0"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def cell(summary: Summary | None) -> str:
    """``median (min–max)``."""
    if summary is None:
        return "–"
    if summary.rounds == 1:
        return number(summary.median)
    return f"{number(summary.median)} ({number(summary.low)}–{number(summary.high)})"


def rows(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; the first column is words, the others are figures."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "".join("| " + " | ".join(line) + " |\n" for line in (header, rule, *lines))


def goals(results: Results) -> str:
    """Each goal beside its figure and its floor."""
    lines = []
    for goal in GOALS:
        figure, beside = goal.figure(results), goal.beside(results)
        sign = "≥" if goal.least else "≤"
        lines.append(
            [
                goal.title,
                "–" if figure is None else f"{number(figure)} {goal.unit}" + (f" ({beside})" if beside else ""),
                f"{sign} {number(goal.goal)}",
                f"{sign} {number(goal.floor)}",
                str(judge(goal, figure)),
            ]
        )
    return rows(["goal", "figure", "goal", "floor", ""], lines)


def workload(results: Results, name: str, baseline: str) -> str:
    """All variants of one workload; the last column is the first metric against ``baseline`` in this run."""
    metrics = results.metrics(name)
    header = ["variant", *metrics, f"× {baseline}"]
    lines = []
    for variant in results.values.get(name, {}):
        ratio = results.ratio(name, variant, metrics[0], baseline)
        cells = [cell(results.summary(name, variant, metric)) for metric in metrics]
        lines.append([variant, *cells, "–" if ratio is None else f"{ratio:.2f}"])
    return rows(header, lines)


def page(
    results: Results, titles: Mapping[str, tuple[str, str]], machine: Mapping[str, str], title: str, plot: str
) -> str:
    """The whole document. ``titles``: workload → what it is, and the variant it is compared with."""
    parts = [
        f"# {title}\n",
        ", ".join(f"{name}: {value}" for name, value in machine.items()) + "\n",
        "Medians of interleaved, shuffled rounds (min–max). Compare only within this run.\n",
        *(f"**Failed: {failure}**\n" for failure in results.failures),
        "## Goals\n",
        goals(results),
        f"![ratios]({plot})\n",
    ]
    for name, (what, baseline) in titles.items():
        if name in results.values:
            parts += [f"## {name}\n", what + "\n", workload(results, name, baseline)]
    return "\n".join(parts)
