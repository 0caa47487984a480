"""The concept graph as a model sees it: concepts to attend to, their subwords, and how near each lies to a variable."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import networkx as nx

from clinragen.knowledge.graph import ConceptGraph, build
from clinragen.model.concept_attention import Concepts

MAX_SUBWORDS = 48
MAX_HOPS = 3  # variable -> finding -> phenotype -> what else suggests it
FAR = 0.5  # nearness lost with each hop, beside the weight of the edge


def load_graph(folder: Path | None) -> nx.MultiDiGraph:
    """The graph of a folder, or the curated core."""
    return (ConceptGraph.load(folder) if folder else build()).graph


def export_concepts(graph: nx.MultiDiGraph, variables: list[str], tokenizer: Any) -> Concepts:
    """All concepts near one of the variables, spelled by a tokenizer.

    Args:
        variables: the variables of the model, the rows of ``near``.
    """
    reached = [nearness(graph, f"variable:{variable}") for variable in variables]
    ids = sorted({node for row in reached for node in row}) or sorted(graph)
    column = {node: position for position, node in enumerate(ids)}
    spelled = tokenizer([_describe(graph.nodes[node]) for node in ids], add_special_tokens=False)["input_ids"]
    near = [
        [[column[node], value] for node, value in sorted(row.items(), key=lambda item: (-item[1], item[0]))]
        for row in reached
    ]
    return Concepts(
        ids, [graph.nodes[node]["name"] for node in ids], [tokens[:MAX_SUBWORDS] for tokens in spelled], near
    )


def nearness(graph: nx.MultiDiGraph, start: str) -> dict[str, float]:
    """Concepts within ``MAX_HOPS`` of a node, each with the best product of edge weights and ``FAR`` per hop.

    Edges are followed both ways; the way back from a phenotype leads to what else suggests it.
    """
    if start not in graph:
        return {}
    best: dict[str, float] = {}
    queue = [(-1.0, 0, start)]
    while queue:
        value, hops, node = heapq.heappop(queue)
        if node in best:
            continue
        best[node] = -value
        if hops == MAX_HOPS:
            continue
        for other in sorted(set(graph.successors(node)) | set(graph.predecessors(node))):
            if other not in best:
                edges = [
                    *(graph.get_edge_data(node, other) or {}).values(),
                    *(graph.get_edge_data(other, node) or {}).values(),
                ]
                heapq.heappush(queue, (value * FAR * max(edge["weight"] for edge in edges), hops + 1, other))
    return best


def _describe(data: dict[str, Any]) -> str:
    definition = data.get("definition") or ""
    return f" {data['name']}: {definition}" if definition else f" {data['name']}"
