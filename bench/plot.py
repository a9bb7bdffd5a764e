"""Bars as SVG, for one look: each workload's first metric against its baseline. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from .results import Results

LABEL, BAR, ROW, HEAD, WIDTH = 190, 440, 18, 34, 760
HIGHEST = 8.0
"""Ratios beyond are cut, and say so: what costs a hundred times as much would leave no room for the rest."""
OURS, THEIRS = "#0b7285", "#adb5bd"


def bars(results: Results, titles: Mapping[str, tuple[str, str]]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Per workload its heading, and each variant's ratio, least first."""
    found = []
    for name, (_, baseline) in titles.items():
        metrics = results.metrics(name)
        ratios = [
            (variant, ratio)
            for variant in results.values.get(name, {})
            if (ratio := results.ratio(name, variant, metrics[0], baseline)) is not None
        ]
        if ratios:
            found.append((f"{name}: {metrics[0]}, × {baseline}", sorted(ratios, key=lambda pair: pair[1])))
    return found


def svg(groups: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """One group of bars after the other; a line stands at 1."""
    parts, y = [], 10.0
    for heading, ratios in groups:
        y += 20
        parts.append(f'<text x="10" y="{y:g}" font-weight="bold">{escape(heading)}</text>')
        top = y + 8
        scale = BAR / max(1.0, min(HIGHEST, max(ratio for _, ratio in ratios)))
        for variant, ratio in ratios:
            y += ROW
            length = max(min(ratio, HIGHEST), 0) * scale
            colour = OURS if variant.startswith("gateway") else THEIRS
            mark = f"{ratio:.2f}" + (" →" if ratio > HIGHEST else "")
            parts.append(f'<text x="{LABEL - 8}" y="{y + 8:g}" text-anchor="end">{escape(variant)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y - 3:g}" width="{length:.1f}" height="13" fill="{colour}"/>')
            parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 8:g}">{mark}</text>')
        one = LABEL + scale
        parts.append(f'<path d="M{one:.1f} {top:g}V{y + 14:g}" stroke="#495057" stroke-dasharray="3 2"/>')
        y += HEAD - ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10:g}" font-family="sans-serif"'
        f' font-size="12" fill="#212529"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
