"""A picture of one concept with its neighbours in groups, highest weight first; dots and lines grow with weight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clinragen.knowledge.concepts import CONDITIONS
from clinragen.knowledge.graph import ConceptGraph

# (heading, relations, direction, kinds, colour), top to bottom
_LEFT = (
    ("Findings in the series", ("suggests", "measures"), "in", ("finding",), "#1f6f8b"),
    ("Measured as", ("measures",), "in", ("variable",), "#1f6f8b"),
    ("Diseases that belong here", ("is_a",), "in", CONDITIONS, "#6a4c93"),
    ("Brought about by", ("causes",), "in", CONDITIONS, "#9c5518"),
    ("Complications", ("complicates",), "in", CONDITIONS, "#9c5518"),
    ("Members", ("is_a",), "in", ("drug",), "#3a7d44"),
)
_RIGHT = (
    ("Symptoms and signs", ("suggests",), "in", ("symptom",), "#b23a48"),
    ("Drugs", ("treats",), "in", ("drug",), "#3a7d44"),
    ("Procedures", ("indicates",), "in", ("procedure",), "#5c6b73"),
    ("Circumstances", ("suggests",), "in", ("circumstance",), "#8a6d3b"),
    ("Occurs with", ("associated_with",), "in", ("symptom", "finding"), "#7f8c8d"),
    ("Speaks for", ("suggests", "associated_with"), "out", CONDITIONS, "#b23a48"),
    ("Leads to", ("causes", "complicates"), "out", CONDITIONS, "#9c5518"),
    ("Is given or done for", ("treats", "indicates"), "out", CONDITIONS, "#3a7d44"),
    ("Is a", ("is_a",), "out", (*CONDITIONS, "drug"), "#6a4c93"),
    ("Shows as", ("measures",), "out", ("finding", "symptom"), "#1f6f8b"),
)
_MOST = 16  # most items of a group; the rest is counted
_GAP = 1.6  # rows between two groups


@dataclass(frozen=True)
class _Row:
    """A heading (no weight), or an item of a group, at a row from the top of its column."""

    level: float
    text: str
    colour: str
    weight: float | None = None


def neighbourhood(graph: ConceptGraph, node: str, least: float) -> Any:
    """A matplotlib figure of a concept and its neighbours over edges of at least ``least``; None without any."""
    from matplotlib.figure import Figure

    left, right = _column(graph, node, _LEFT, least), _column(graph, node, _RIGHT, least)
    if not left and not right:
        return None
    height = max(row.level for row in (*left, *right)) + 1.5
    figure = Figure(figsize=(15, max(4.0, 0.235 * height)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(height, -1.5)
    middle = height / 2 - 0.75
    for rows, sign in ((left, -1.0), (right, 1.0)):
        shift = (height - 1.5 - max((row.level for row in rows), default=0.0)) / 2
        for row in rows:
            _draw(axes, row, sign, row.level + shift, middle)
    box = {"boxstyle": "round,pad=0.6", "facecolor": "#fffdf5", "edgecolor": "#222222", "linewidth": 1.8}
    axes.text(
        0, middle, _folded(graph.name(node)), ha="center", va="center", fontsize=13, weight="bold", bbox=box, zorder=5
    )
    return figure


def _column(
    graph: ConceptGraph, node: str, groups: Iterable[tuple[str, Any, str, Any, str]], least: float
) -> list[_Row]:
    rows: list[_Row] = []
    level = 0.0
    for heading, relations, side, kinds, colour in groups:
        links = graph.into(node, relations) if side == "in" else graph.out_of(node, relations)
        best: dict[str, float] = {}
        for link in links:
            if graph.nodes[link.node]["kind"] in kinds and link.weight >= least:
                best[link.node] = max(best.get(link.node, 0.0), link.weight)
        if not best:
            continue
        level += _GAP if rows else 0.0
        rows.append(_Row(level, heading, colour))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], graph.name(pair[0])))
        for item, weight in ranked[:_MOST]:
            level += 1.0
            rows.append(_Row(level, graph.name(item), colour, weight))
        if len(ranked) > _MOST:
            level += 1.0
            rows.append(_Row(level, f"and {len(ranked) - _MOST} more", colour, 0.0))
    return rows


def _draw(axes: Any, row: _Row, sign: float, level: float, middle: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    align = "right" if sign < 0 else "left"
    if row.weight is None:
        axes.text(sign * 0.93, level, row.text, ha=align, va="center", fontsize=11, weight="bold", color=row.colour)
        return
    if not row.weight:
        axes.text(sign * 1.02, level, row.text, ha=align, va="center", fontsize=8.5, style="italic", color="#777777")
        return
    points = [(sign * 0.95, level), (sign * 0.5, level), (sign * 0.45, middle), (sign * 0.02, middle)]
    path = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(
        PathPatch(
            path, fill=False, edgecolor=row.colour, linewidth=0.3 + 2.4 * row.weight, alpha=0.15 + 0.4 * row.weight
        )
    )
    axes.scatter([sign * 0.95], [level], s=8 + 60 * row.weight**2, color=row.colour, zorder=4, linewidths=0)
    axes.text(sign * 1.02, level, row.text, ha=align, va="center", fontsize=9.5, color="#222222")


def _folded(name: str, width: int = 22) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, width))
