"""Which concepts of the graph a note affirms or denies."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from clinragen.artifacts import sha256_json
from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker

AFFIRMED, DENIED = 0, 1


class MentionEncoder:
    """Links note sections to the concepts of a model.

    Args:
        ids: node ids in the order of the model's concepts.
    """

    def __init__(self, graph: ConceptGraph, ids: list[str]):
        self.linker = Linker(graph)
        self.graph = graph
        self.column = {node: position for position, node in enumerate(ids)}

    @property
    def fingerprint(self) -> str:
        """Hash of what can be linked: the concepts of the model, and all names of the graph."""
        return sha256_json([list(self.column), self.names_of(self.graph)])

    @staticmethod
    def names_of(graph: ConceptGraph) -> list[list[object]]:
        """Kind and names of every concept of a graph."""
        return [[node, data["kind"], data["name"], sorted(data["synonyms"])] for node, data in graph.nodes.items()]

    def __call__(self, sections: Iterable[tuple[str, str]]) -> np.ndarray:
        """Mentions of one note, bool [2, concepts]: row ``AFFIRMED`` for present or past ones; row
        ``DENIED`` for negated or hypothetical ones, and those of a relative."""
        rows = np.zeros((2, len(self.column)), dtype=bool)
        for one in note_mentions(sections, self.linker):
            position = self.column.get(one.mention.concept)
            if position is not None:
                rows[AFFIRMED if one.standing == "affirmed" else DENIED, position] = True
        return rows
