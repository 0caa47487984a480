"""The random graph differs from the real one in what its edges mean, and in nothing else that can be counted."""

from __future__ import annotations

from collections import Counter

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.knowledge.graph import build
from clinragen.knowledge.random_graph import rewired

EDGES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["suggests", "treats"]), st.floats(0.1, 1)),
    max_size=60,
)


def degrees(graph: nx.MultiDiGraph) -> tuple[Counter, Counter]:
    edges = {(head, tail, data["relation"]) for head, tail, data in graph.edges(data=True)}
    return (
        Counter((head, relation) for head, _, relation in edges),
        Counter((tail, relation) for _, tail, relation in edges),
    )


@settings(max_examples=60, deadline=None)
@given(EDGES, st.integers(0, 5))
def test_degrees_weights_and_nodes_are_kept(edges, seed):
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(10))
    for head, tail, relation, weight in edges:
        if head != tail:
            graph.add_edge(head, tail, relation=relation, weight=weight)
    made = rewired(graph, seed)
    assert degrees(made) == degrees(graph)
    assert set(made) == set(graph)
    assert nx.number_of_selfloops(made) == 0
    triples = [(head, tail, data["relation"]) for head, tail, data in made.edges(data=True)]
    assert len(triples) == len(set(triples))  # a statement stands once


def test_the_meaning_is_gone_and_the_seed_decides():
    graph = build().graph
    edges = [{(h, t, d["relation"]) for h, t, d in g.edges(data=True)} for g in (graph, rewired(graph, 0))]
    assert len(edges[0] & edges[1]) < 0.25 * len(edges[0])
    assert nx.utils.graphs_equal(rewired(graph, 0), rewired(graph, 0))
    assert not nx.utils.graphs_equal(rewired(graph, 0), rewired(graph, 1))
