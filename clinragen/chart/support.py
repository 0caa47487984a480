"""Which diagnosis each finding of the series, and each phrase of the note, speaks for, by the concept graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.knowledge.graph import ConceptGraph

#: A concept is said to speak for a diagnosis only from this strength of their tie on.
SUPPORTS = 0.35
# An acute disease in the history is weak evidence that it is present now.
_PAST_ACUTE = 0.3

#: What speaks for a diagnosis, with its strength, the strongest first.
Ranked = list[tuple[float, NoteEvidence]]


def supported(finding: Finding, diagnoses: Iterable[str], graph: ConceptGraph) -> list[str]:
    """Those of the diagnoses that a finding of the series speaks for."""
    return [key for key in diagnoses if graph.strength(finding.concept, key) >= SUPPORTS]


def grounds(evidence: Sequence[NoteEvidence], diagnoses: Collection[str], graph: ConceptGraph) -> dict[str, Ranked]:
    """What in the note speaks for each diagnosis, each phrase once; empty where nothing does."""
    # the exact name of a label that the stay does not carry would read as a diagnosis
    others = {label.name for key, label in graph.labels.items() if key not in diagnoses}
    evidence = [item for item in evidence if item.phrase not in others]
    return {key: _ranked(evidence, key, graph) for key in diagnoses}


def _ranked(evidence: Iterable[NoteEvidence], key: str, graph: ConceptGraph) -> Ranked:
    acute = graph.labels[key].kind == "acute"
    ranked: Ranked = []
    for item in evidence:
        strength = graph.strength(item.concept, key)
        if item.past and acute and not item.concept.startswith("procedure:"):
            strength *= _PAST_ACUTE
        if strength >= SUPPORTS:
            ranked.append((strength, item))
    ranked.sort(key=lambda pair: -pair[0])  # stable: reading order among equals
    distinct: dict[str, tuple[float, NoteEvidence]] = {}
    for strength, item in ranked:
        distinct.setdefault(item.phrase, (strength, item))
    return list(distinct.values())
