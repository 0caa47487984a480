"""Statements about a note, in words: evidence for a diagnosis, diagnoses without evidence, no diagnosis"""

from __future__ import annotations

from collections.abc import Sequence

from clinragen.chart.note_evidence import KINDS, NoteEvidence
from clinragen.chart.wording import listed, named
from clinragen.label_sets import LabelSet

OPENING = "Based on the medical notes"
MOST_WORDS = 100  # of a note rationale
MOST_GROUNDS = 3  # of one diagnosis
MOST_SIGNS = 2  # named where nothing was diagnosed
#: For one ground, for several.
LINKS = (("points to", "point to"), ("supports", "support"), ("suggests", "suggest"), ("indicates", "indicate"))
#: The same of what a model's estimate rests on, though no known tie makes it a sign of the diagnosis.
ADDS = (("adds to the estimate of", "add to the estimate of"),)
#: Before diagnoses that nothing in the note supports, after other clauses.
CLOSINGS = ("the notes do not show", "the notes alone do not support", "nothing in the notes points to")
#: The same without another clause before.
NO_FINDING = "no finding supports"
NO_DISEASE = "no disease was diagnosed"
ALTHOUGH = ("although the patient had", "despite", "although the notes mention")
_RECORDED = "the recorded diagnosis"


def clause(items: Sequence[NoteEvidence], names: Sequence[str], link: tuple[str, str]) -> str:
    """The clause with the evidence for the diagnoses of these names.

    A diagnosis' own name among the phrases is not a ground but a record of it: stated for one diagnosis at a time only.

    >>> fever = NoteEvidence("symptom:fever", "chief_complaint", 0, 5, "fever", past=False)
    >>> clause([fever], ["pneumonia", "septicemia"], ("points to", "point to"))
    'fever points to pneumonia and septicemia'
    """
    phrases = {
        kind: [item.phrase for item in items if item.kind == kind and item.phrase not in names] for kind in KINDS
    }
    parts = [*phrases["sign"]]
    if phrases["past"]:
        parts.append(f"a history of {listed(phrases['past'])}")
    if phrases["drug"]:
        parts.append(f"treatment with {listed(phrases['drug'])}")
    parts += phrases["circumstance"]
    if not parts:
        return f"{'a history of ' if items[0].past else ''}{named(names)} is recorded"
    if any(item.phrase in names for item in items):
        parts.append(_RECORDED)
    return f"{listed(parts)} {link[0] if len(parts) == 1 else link[1]} {named(names)}"


def unsupported(diagnoses: Sequence[str], denial: str, labels: LabelSet) -> list[str]:
    """Statements that nothing supports these diagnoses: all of them by name, then shorter versions.

    Args:
        diagnoses: phenotype keys.
        denial: one of ``CLOSINGS``, or ``NO_FINDING``.
        labels: label set with their names.
    """
    names = [labels[key].name for key in diagnoses]
    short = [f"{denial} {names[0]} and {len(names) - 1} other diagnoses"] if len(names) > 2 else []
    return [f"{denial} {listed(names, 'or')}", *short]


def only_unsupported(diagnoses: Sequence[str], labels: LabelSet) -> list[str]:
    """The whole rationale if nothing in the note supports any diagnosis: in full, then shorter versions."""
    return [f"{OPENING}, {text}." for text in unsupported(diagnoses, NO_FINDING, labels)]


def without_note(diagnoses: Sequence[str], labels: LabelSet) -> list[str]:
    """The whole rationale if there is no note, with or without diagnoses: in full, then shorter versions."""
    if not diagnoses:
        return [f"{OPENING}, {NO_DISEASE}; no note is available."]
    names = listed([labels[key].name for key in diagnoses], "or")
    return [
        f"{OPENING}, nothing can be said about {subject}, as no note is available."
        for subject in (names, f"the {len(diagnoses)} diagnoses")
    ]


def undiagnosed(signs: Sequence[NoteEvidence], link: str) -> str:
    """The whole rationale if nothing was diagnosed, in spite of the signs. ``link``: one of ``ALTHOUGH``."""
    phrases = listed([item.phrase for item in signs])
    return f"{OPENING}, {NO_DISEASE}{f', {link} {phrases}' if phrases else ''}."
