"""A picture of the graph: findings of the series left, phenotypes in the middle, symptoms and signs right.

Phenotypes are ordered by shared evidence (the Fiedler vector of their similarity), so that related ones are adjacent
and few lines cross; the line width is the weight of the edge.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from clinragen.artifacts import atomic_path
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.neighbourhood import neighbourhood

FORMATS = (".png", ".svg", ".pdf")


def draw(graph: ConceptGraph, out: Path, *, focus: str | None = None, least: float = 0.5) -> None:
    """Write the picture of the graph, or of the neighbourhood of one concept.

    Args:
        graph: the concept graph.
        out: file whose ending gives the format.
        focus: node id of the concept.
        least: edges lighter than this are left out.

    Raises:
        UserError: unknown ending, matplotlib not installed, nothing left to draw.
    """
    if out.suffix not in FORMATS:
        raise unknown_choice("picture format", out.suffix or out.name, FORMATS)
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ModuleNotFoundError:
        raise UserError("graph draw needs matplotlib: install it with pip install matplotlib") from None
    figure = overview(graph, least) if focus is None else neighbourhood(graph, focus, least)
    if figure is None:
        raise UserError(f"no edge has a weight of {least} or more: lower --min-weight")
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    metadata = {"Date": None} if out.suffix == ".svg" else {"CreationDate": None} if out.suffix == ".pdf" else None
    with rc_context({"svg.hashsalt": "clinragen", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=out.suffix[1:], dpi=110, facecolor="white", metadata=metadata)
    with atomic_path(out) as temporary:
        temporary.write_bytes(buffer.getvalue())


def overview(graph: ConceptGraph, least: float) -> Any:
    """A matplotlib figure of all phenotypes with their evidence; None if no edge has weight ``least``."""
    from matplotlib.figure import Figure

    every = [
        (link.node, f"phenotype:{key}", link.weight)
        for key in graph.labels
        for link in (*graph.findings_of(key), *graph.symptoms_of(key))
    ]
    edges = [edge for edge in every if edge[2] >= least]
    if not edges:
        return None
    middle = _seriate(sorted({tail for _, tail, _ in edges}), every)
    left = _by_barycentre("finding", edges, middle)
    right = _by_barycentre("symptom", edges, middle)
    height = max(5.0, 0.2 * max(len(left), len(right), 2 * len(middle)))
    figure = Figure(figsize=(15, height + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-0.03, 1.045)
    position = {
        **{node: (-1.0, _level(rank, len(left))) for rank, node in enumerate(left)},
        **{node: (0.0, _level(rank, len(middle))) for rank, node in enumerate(middle)},
        **{node: (1.0, _level(rank, len(right))) for rank, node in enumerate(right)},
    }
    colour = {node: _colour(rank / max(1, len(middle))) for rank, node in enumerate(middle)}
    for head, tail, weight in sorted(edges, key=lambda edge: edge[2]):
        _curve(axes, position[head], position[tail], colour[tail], weight)
    for title, x in (("Findings in the series", -1.0), ("Phenotypes", 0.0), ("Symptoms and signs", 1.0)):
        axes.text(x, 1.03, title, ha="center", va="center", fontsize=13, fontweight="bold", color="#222222")
    for node in left:
        axes.text(-1.02, position[node][1], graph.name(node), ha="right", va="center", fontsize=8, color="#333333")
    for node in right:
        axes.text(1.02, position[node][1], graph.name(node), ha="left", va="center", fontsize=8, color="#333333")
    for node in middle:
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour[node], "linewidth": 1.6}
        axes.text(0.0, position[node][1], graph.name(node), ha="center", va="center", fontsize=9.5, bbox=box, zorder=5)
    return figure


def _seriate(nodes: list[str], edges: list[tuple[str, str, float]]) -> list[str]:
    """Nodes along the second eigenvector of the Laplacian of their shared-evidence similarity."""
    if len(nodes) < 3:
        return nodes
    heads = sorted({head for head, _, _ in edges})
    matrix = np.zeros((len(nodes), len(heads)))
    row = {node: i for i, node in enumerate(nodes)}
    column = {head: i for i, head in enumerate(heads)}
    for head, tail, weight in edges:
        if tail in row:
            matrix[row[tail], column[head]] = weight
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    similarity = matrix @ matrix.T + 0.01
    np.fill_diagonal(similarity, 0.0)
    laplacian = np.diag(similarity.sum(axis=1)) - similarity
    vector = np.round(np.linalg.eigh(laplacian)[1][:, 1], 9)
    if vector[np.argmax(np.abs(vector))] < 0:
        vector = -vector  # the sign of an eigenvector is arbitrary
    return [nodes[i] for i in sorted(range(len(nodes)), key=lambda i: (vector[i], nodes[i]))]


def _by_barycentre(kind: str, edges: list[tuple[str, str, float]], middle: list[str]) -> list[str]:
    """Heads of one kind, each near the mean position of the phenotypes that it supports."""
    position = {node: rank for rank, node in enumerate(middle)}
    pulled: dict[str, list[tuple[float, float]]] = {}
    for head, tail, weight in edges:
        if head.startswith(f"{kind}:"):
            pulled.setdefault(head, []).append((position[tail] * weight, weight))
    centre = {head: sum(p for p, _ in pulls) / sum(w for _, w in pulls) for head, pulls in pulled.items()}
    return sorted(centre, key=lambda head: (centre[head], head))


def _level(rank: int, count: int) -> float:
    return 1.0 - (rank + 0.5) / count


def _colour(share: float) -> tuple[float, float, float]:
    from matplotlib.colors import hsv_to_rgb

    red, green, blue = hsv_to_rgb((share * 0.92, 0.72, 0.74))
    return float(red), float(green), float(blue)


def _curve(
    axes: Any, start: tuple[float, float], end: tuple[float, float], colour: tuple[float, ...], weight: float
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    bend = (start[0] + end[0]) / 2
    points = [start, (bend, start[1]), (bend, end[1]), end]
    path = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(
        PathPatch(
            path, fill=False, edgecolor=colour, linewidth=0.4 + 2.2 * (weight - 0.3), alpha=0.15 + 0.5 * weight**2
        )
    )
