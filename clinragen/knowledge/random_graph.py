"""A random graph with the same degrees as the real one, as a control: only the meaning of its edges is lost."""

from __future__ import annotations

import networkx as nx
import numpy as np

SWAPS = 10  # attempted swaps per edge; the pairs are well mixed after a few (Maslov and Sneppen 2002)


def rewired(graph: nx.MultiDiGraph[str], seed: int) -> nx.MultiDiGraph[str]:
    """The same nodes with edges permuted at random: a->b, c->d become a->d, c->b.

    Every node keeps its in- and out-degree for each relation; parallel edges of one relation between the same two nodes
    are merged first, with the largest weight. An edge keeps its head and its weight, and gets another tail. There are
    no self-loops and no duplicate edges.

    Args:
        graph: edges carry ``relation`` and ``weight``.
        seed: the same seed gives the same graph.
    """
    weights: dict[tuple[str, str, str], float] = {}
    for head, tail, data in graph.edges(data=True):
        key = (data["relation"], head, tail)
        weights[key] = max(weights.get(key, 0.0), data["weight"])
    random = np.random.default_rng(seed)
    result = nx.MultiDiGraph()
    result.add_nodes_from(graph.nodes(data=True))
    for relation in sorted({relation for relation, _, _ in weights}):
        edges = sorted(key for key in weights if key[0] == relation)
        heads, tails = [head for _, head, _ in edges], [tail for _, _, tail in edges]
        pairs = set(zip(heads, tails, strict=True))
        for i, j in random.integers(0, len(edges), (SWAPS * len(edges), 2)).tolist():
            new = (heads[i], tails[j]), (heads[j], tails[i])
            if pairs.isdisjoint(new) and all(head != tail for head, tail in new):
                pairs -= {(heads[i], tails[i]), (heads[j], tails[j])}
                pairs |= set(new)
                tails[i], tails[j] = tails[j], tails[i]
        for key, tail in zip(edges, tails, strict=True):
            result.add_edge(key[1], tail, relation=relation, weight=weights[key])
    return result
