"""Why a finding may be cited for a diagnosis: the edge of the graph that ties them, in words and with its source."""

from __future__ import annotations

from dataclasses import dataclass

from clinragen.knowledge.concepts import EVIDENCE_RELATIONS, RELATIONS
from clinragen.knowledge.graph import ConceptGraph


@dataclass(frozen=True)
class Warrant:
    """An edge of the graph as an argument.

    Attributes:
        text: what the edge states: "high creatinine suggests acute renal failure".
        source: the work that it cites, in full; empty where the diagnosis itself is recorded.
    """

    text: str
    source: str


def warrant(concept: str, key: str, graph: ConceptGraph) -> Warrant | None:
    """The strongest tie of a concept to a phenotype; None where the graph has none.

    >>> from clinragen.knowledge.graph import build
    >>> warrant("drug:metformin", "diabetes_without_complication", build()).text
    'metformin treats diabetes without complication'
    """
    tail = f"phenotype:{key}"
    if concept not in graph.graph or tail not in graph.graph:
        return None
    if concept == tail:
        return Warrant(f"a record of {graph.name(tail)} itself", "")
    links = graph.between(concept, tail, EVIDENCE_RELATIONS)
    if not links:
        return None
    best = max(links, key=lambda link: link.weight * EVIDENCE_RELATIONS[link.relation])
    source = graph.manifest.citations.get(best.source, best.source)
    return Warrant(f"{graph.name(concept)} {RELATIONS[best.relation]} {graph.name(tail)}", source)
