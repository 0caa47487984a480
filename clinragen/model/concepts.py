"""The knowledge of a model: the concepts of the graph, and the keys of its attention derived from them.

One setting (``attention.knowledge``) selects the keys, so that the paper's design and every arm of the ablation use the
same attention code: the graph, a random graph with the same degrees, the subwords that spell the
knowledge terms (the paper's V^k), as many subwords of any kind, or nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import networkx as nx
import numpy as np

from clinragen.knowledge.concepts import MODEL_KINDS, RELATIONS, NodeEntry
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.random_graph import rewired
from clinragen.model.config import KnowledgeKind

MAX_SUBWORDS = 48
MAX_HOPS = 3  # variable -> finding -> phenotype -> what else suggests it
FAR = 0.5  # factor of nearness for each hop, besides the weight of the edge


@dataclass(frozen=True, eq=False)
class ConceptEdges:
    """E edges among the concepts of a model, in order of head, tail and relation.

    Attributes:
        head, tail: int64 [E], positions in ``Concepts.ids``.
        relation: int64 [E], positions in ``Concepts.relations``.
        weight: float64 [E], from 0 to 1.
    """

    head: np.ndarray
    tail: np.ndarray
    relation: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, float]]) -> Self:
        """Edges given as (head, tail, relation, weight)."""
        rows = list(rows)
        head, tail, relation = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3).T
        return cls(head, tail, relation, np.array([weight for *_, weight in rows], np.float64))

    def __len__(self) -> int:
        return len(self.weight)

    def where(self, mask: np.ndarray) -> ConceptEdges:
        """The edges at which ``mask``, bool [E], is true."""
        return ConceptEdges(self.head[mask], self.tail[mask], self.relation[mask], self.weight[mask])

    def rows(self) -> list[tuple[int, int, int, float]]:
        """Each edge as (head, tail, relation, weight)."""
        columns = (self.head, self.tail, self.relation, self.weight)
        return list(zip(*(column.tolist() for column in columns), strict=True))


@dataclass(frozen=True)
class Neighbourhood:
    """The keys of a variable, nearest first, with their nearness; nearness 1 is the variable itself."""

    keys: list[int]
    nearness: list[float]

    def rows(self) -> list[tuple[int, float]]:
        """Each key with its nearness."""
        return list(zip(self.keys, self.nearness, strict=True))


@dataclass(frozen=True, eq=False)
class Concepts:
    """The knowledge of a model, as plain data that is saved with it.

    Attributes:
        ids: node ids of the graph, such as ``finding:creatinine:high``: notes are always linked to these.
        names: readable names of ``ids``.
        keys: keys of the attention: the same ids, or ``subword:`` and a piece of text; empty without knowledge.
        token_ids: subword ids of each key; of a concept, its name and definition.
        near: neighbourhood of each variable. A single one means that all variables have the same keys.
        edges: edges among ``ids``; none without a graph.
        relations: names of the relations.
    """

    ids: list[str]
    names: list[str]
    keys: list[str]
    token_ids: list[list[int]]
    near: list[Neighbourhood]
    edges: ConceptEdges
    relations: list[str]

    def to_json(self) -> dict[str, Any]:
        """The form in ``clinragen.json``: pairs for ``near``, rows of four for ``edges``."""
        near = [[list(pair) for pair in row.rows()] for row in self.near]
        return asdict(self) | {"near": near, "edges": [list(row) for row in self.edges.rows()]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Concepts:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        near = [Neighbourhood([int(key) for key, _ in row], [value for _, value in row]) for row in values["near"]]
        edges = ConceptEdges.of((head, tail, relation, weight) for head, tail, relation, weight in values["edges"])
        return cls(**{**values, "near": near, "edges": edges})


def concept_ids(graph: ConceptGraph) -> list[str]:
    """The concepts of the graph that a model knows, in their order."""
    return sorted(node for node, data in graph.nodes.items() if data["kind"] in MODEL_KINDS)


def export_concepts(
    graph: ConceptGraph,
    variables: list[str],
    tokenizer: Any,
    knowledge: KnowledgeKind = "graph",
    seed: int = 0,
    vocabulary: int = 512,
) -> Concepts:
    """The concepts of the graph, and the keys for a kind of knowledge.

    Args:
        graph: the concept graph.
        variables: the variables of the model, the rows of ``near``.
        tokenizer: the language model's, which splits the names of concepts into subwords.
        knowledge: what the keys are made of.
        seed: seed of the random graph and of the plain vocabulary.
        vocabulary: most subwords; those in most terms are kept.
    """
    ids = concept_ids(graph)
    model_graph = graph.graph.subgraph(ids).copy()
    names = [graph.name(node) for node in ids]
    relations = list(RELATIONS)
    if knowledge == "none":
        return Concepts(ids, names, [], [], [], ConceptEdges.of([]), relations)
    if knowledge in ("vocabulary", "plain_vocabulary"):
        chosen = _spelling(names, tokenizer, vocabulary)
        if knowledge == "plain_vocabulary":
            words = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
            random = np.random.default_rng(seed)
            chosen = sorted(random.choice(words, min(len(chosen), len(words)), replace=False).tolist())
        keys = [f"subword:{tokenizer.decode([token]).strip()}" for token in chosen]
        seen = Neighbourhood([*range(len(chosen))], [1.0] * len(chosen))
        return Concepts(ids, names, keys, [[token] for token in chosen], [seen], ConceptEdges.of([]), relations)
    edges = rewired(model_graph, seed) if knowledge == "random_graph" else model_graph
    spelled = tokenizer([_describe(graph.nodes[node]) for node in ids], add_special_tokens=False)["input_ids"]
    column = {node: position for position, node in enumerate(ids)}
    near = [_neighbourhood(nearness(edges, f"variable:{variable}"), column) for variable in variables]
    return Concepts(
        ids, names, ids, [tokens[:MAX_SUBWORDS] for tokens in spelled], near, _edges(edges, column), relations
    )


def nearness(graph: nx.MultiDiGraph[str], start: str) -> dict[str, float]:
    """Concepts within ``MAX_HOPS`` of a node, each with the best product of edge weights and ``FAR`` per hop.

    Edges are followed in both directions: from a phenotype back to other concepts that suggest it.
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


def _neighbourhood(near: dict[str, float], column: dict[str, int]) -> Neighbourhood:
    """The nodes by descending nearness, ties by name."""
    nodes = sorted(near, key=lambda node: (-near[node], node))
    return Neighbourhood([column[node] for node in nodes], [near[node] for node in nodes])


def _edges(graph: nx.MultiDiGraph[str], column: dict[str, int]) -> ConceptEdges:
    """Edges as indices; parallel edges of one relation count once, with the largest weight."""
    relation = {name: position for position, name in enumerate(RELATIONS)}
    weights: dict[tuple[int, int, int], float] = {}
    for head, tail, data in graph.edges(data=True):
        key = (column[head], column[tail], relation[data["relation"]])
        weights[key] = max(weights.get(key, 0.0), float(data["weight"]))
    return ConceptEdges.of((*key, weights[key]) for key in sorted(weights))


def _spelling(names: list[str], tokenizer: Any, limit: int) -> list[int]:
    """The subwords that spell most of the knowledge terms, ascending, each once."""
    spelled = tokenizer([f" {name}" for name in names], add_special_tokens=False)["input_ids"]
    count = Counter(token for tokens in spelled for token in set(tokens))
    return sorted(sorted(count, key=lambda token: (-count[token], token))[:limit])


def _describe(data: NodeEntry) -> str:
    definition = data.get("definition") or ""
    return f" {data['name']}: {definition}" if definition else f" {data['name']}"
