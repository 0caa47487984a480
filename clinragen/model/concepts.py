"""The concept graph as a model sees it: concepts to attend to, their subwords, and how near each lies to a variable."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import networkx as nx

from clinragen.knowledge.graph import ConceptGraph

MAX_SUBWORDS = 48
MAX_HOPS = 3  # variable -> finding -> phenotype -> what else suggests it
FAR = 0.5  # nearness lost with each hop, beside the weight of the edge


@dataclass(frozen=True)
class Concepts:
    """The concepts a model attends to, as plain data that is saved with it.

    Attributes:
        ids: node ids of the graph, such as ``finding:creatinine:high``.
        names: readable names.
        token_ids: subword ids of name and definition, one list per concept.
        near: for each variable its [concept index, nearness] pairs, nearest first; nearness 1 is the variable itself.
    """

    ids: list[str]
    names: list[str]
    token_ids: list[list[int]]
    near: list[list[list[float]]]


def export_concepts(graph: ConceptGraph, variables: list[str], tokenizer: Any) -> Concepts:
    """All concepts of the graph, spelled by a tokenizer.

    Args:
        variables: the variables of the model, the rows of ``near``.
    """
    reached = [nearness(graph.graph, f"variable:{variable}") for variable in variables]
    ids = sorted(graph.graph)
    column = {node: position for position, node in enumerate(ids)}
    spelled = tokenizer([_describe(graph.graph.nodes[node]) for node in ids], add_special_tokens=False)["input_ids"]
    near = [
        [[column[node], value] for node, value in sorted(row.items(), key=lambda item: (-item[1], item[0]))]
        for row in reached
    ]
    return Concepts(
        ids, [graph.graph.nodes[node]["name"] for node in ids], [tokens[:MAX_SUBWORDS] for tokens in spelled], near
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
