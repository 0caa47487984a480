"""R_m: the evidence of the note for each diagnosis, by the concept graph, and the diagnoses without evidence."""

from __future__ import annotations

from clinragen.chart.note_evidence import NoteEvidence, signs
from clinragen.chart.note_statements import (
    ALTHOUGH,
    CLOSINGS,
    LINKS,
    MOST_GROUNDS,
    MOST_SIGNS,
    MOST_WORDS,
    OPENING,
    clause,
    only_unsupported,
    undiagnosed,
    unsupported,
    without_note,
)
from clinragen.chart.support import Ranked, grounds
from clinragen.chart.wording import Wording, words
from clinragen.knowledge.graph import ConceptGraph
from clinragen.label_sets import LabelSet


def compose(
    evidence: list[NoteEvidence] | None, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[NoteEvidence]]:
    """The rationale and the phrases that it uses.

    Args:
        evidence: from ``chart.note_evidence.gather``; None if there is no note.
        diagnoses: gold phenotype keys.
        graph: says which phrase supports which diagnosis.
        wording: chooses the phrasing.
    """
    if not diagnoses:
        return _nothing_diagnosed(evidence, wording, graph.labels)
    if evidence is None:
        return _shortened(without_note(diagnoses, graph.labels)), []
    ranked = grounds(evidence, diagnoses, graph)
    supported = sorted((key for key in diagnoses if ranked[key]), key=lambda key: (-ranked[key][0][0], key))
    silent = [key for key in diagnoses if not ranked[key]]
    link = wording.pick(LINKS)
    closing = wording.pick(CLOSINGS)
    if not supported:
        return _shortened(only_unsupported(silent, graph.labels)), []
    # too long a text first loses grounds, then the least supported diagnoses, last the unsupported ones
    for most, share in ((MOST_GROUNDS, 1.0), (2, 1.0), (1, 1.0), (1, 0.7), (1, 0.5), (1, 0.3)):
        keys = supported[: max(1, round(len(supported) * share))]
        clauses, used = _clauses(keys, ranked, most, link, graph.labels)
        text = _assemble(clauses, silent, closing, graph.labels)
        if words(text) <= MOST_WORDS:
            return text, used
    return _assemble(clauses, [], closing, graph.labels), used


def _clauses(
    keys: list[str], ranked: dict[str, Ranked], most: int, link: tuple[str, str], labels: LabelSet
) -> tuple[list[str], list[NoteEvidence]]:
    """A clause for each diagnosis with at most this many grounds, preferably unused ones, and the phrases used."""
    clauses: list[str] = []
    used: list[NoteEvidence] = []
    for key in keys:
        items = [item for _, item in ranked[key]]
        fresh = [item for item in items if item not in used]
        items = _varied(fresh or items)[:most]
        used += [item for item in items if item not in used]
        clauses.append(clause(items, labels[key].name, link))
    return clauses, used


def _varied(items: list[NoteEvidence]) -> list[NoteEvidence]:
    """The strongest sign, piece of history and drug first, then the rest."""
    strongest = {item.kind: item for item in reversed(items)}
    first = [item for item in items if item in strongest.values()]
    return first + [item for item in items if item not in first]


def _assemble(clauses: list[str], silent: list[str], closing: str, labels: LabelSet) -> str:
    text = f"{OPENING}, {'; '.join(clauses)}"
    return _shortened([f"{text}; {end}." for end in unsupported(silent, closing, labels)]) if silent else f"{text}."


def _nothing_diagnosed(
    evidence: list[NoteEvidence] | None, wording: Wording, labels: LabelSet
) -> tuple[str, list[NoteEvidence]]:
    if evidence is None:
        return without_note([], labels)[0], []
    named = signs(evidence)[:MOST_SIGNS]
    return undiagnosed(named, wording.pick(ALTHOUGH)), named


def _shortened(texts: list[str]) -> str:
    """The first text that is short enough, or the last one."""
    return next((text for text in texts if words(text) <= MOST_WORDS), texts[-1])
