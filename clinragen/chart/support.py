"""Which diagnoses each finding of the series and each phrase of the note supports, by the concept graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.knowledge.graph import ConceptGraph

#: Least weight of the connection at which a concept supports a diagnosis.
SUPPORTS = 0.35
# An acute disease in the history is weak evidence that it is present now.
_PAST_ACUTE = 0.3

#: The evidence for a diagnosis with its strength, strongest first.
Ranked = list[tuple[float, NoteEvidence]]


def tie(item: Finding | NoteEvidence, key: str, graph: ConceptGraph) -> float:
    """How strongly the graph ties a finding of the series, or a phrase of the note, to a diagnosis, 0..1."""
    if isinstance(item, NoteEvidence) and item.denied:
        return 0.0
    strength = graph.strength(item.concept, key)
    past = isinstance(item, NoteEvidence) and item.past and not item.concept.startswith("procedure:")
    return strength * _PAST_ACUTE if past and graph.labels[key].kind == "acute" else strength


def expected(item: Finding | NoteEvidence, key: str, graph: ConceptGraph) -> float:
    """How strongly the graph ties the opposite of what is normal or denied to a diagnosis, 0..1; 0 of what is there."""
    if isinstance(item, NoteEvidence):
        return graph.strength(item.concept, key) if item.denied else 0.0
    if item.direction != "normal":
        return 0.0
    return max(graph.strength(f"finding:{item.variable}:{side}", key) for side in ("high", "low"))


def supported(finding: Finding, diagnoses: Iterable[str], graph: ConceptGraph) -> list[str]:
    """The diagnoses that a finding of the series supports."""
    return [key for key in diagnoses if graph.strength(finding.concept, key) >= SUPPORTS]


def grounds(evidence: Sequence[NoteEvidence], diagnoses: Collection[str], graph: ConceptGraph) -> dict[str, Ranked]:
    """The evidence in the note for each diagnosis, each phrase once; possibly empty."""
    evidence = citable(evidence, diagnoses, graph)
    return {key: _ranked(evidence, key, graph) for key in diagnoses}


def citable(evidence: Iterable[NoteEvidence], diagnoses: Collection[str], graph: ConceptGraph) -> list[NoteEvidence]:
    """The phrases without the exact names of labels that the stay does not have: they would read as diagnoses."""
    others = {label.name for key, label in graph.labels.items() if key not in diagnoses}
    return [item for item in evidence if item.phrase not in others]


def _ranked(evidence: Iterable[NoteEvidence], key: str, graph: ConceptGraph) -> Ranked:
    ranked: Ranked = []
    for item in evidence:
        strength = tie(item, key, graph)
        if strength >= SUPPORTS:
            ranked.append((strength, item))
    ranked.sort(key=lambda pair: -pair[0])  # stable sort: ties stay in reading order
    distinct: dict[str, tuple[float, NoteEvidence]] = {}
    for strength, item in ranked:
        distinct.setdefault(item.phrase, (strength, item))
    return list(distinct.values())
