"""What speaks against a diagnosis: normal values and denied signs that the graph would expect otherwise, in words.

A rebuttal is of one diagnosis: one that is nearly made, because some of what it would show is there, or one that is
made in spite of strong evidence against it. Rationales are short, so each states one rebuttal at most, of the diagnosis
that it matters most for, with the one or two things that speak most against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.series_statements import name, normal_values
from clinragen.chart.support import SUPPORTS, expected
from clinragen.chart.wording import listed
from clinragen.knowledge.graph import ConceptGraph
from clinragen.label_sets import LabelSet

MOST_ITEMS = 2  # of one rebuttal


@dataclass(frozen=True)
class Rebuttal[Item: (Finding, NoteEvidence)]:
    """A diagnosis, and what speaks against it, the strongest first."""

    key: str
    items: tuple[Item, ...]

    def text(self, labels: LabelSet) -> str:
        """The clause.

        >>> from clinragen.label_sets import shipped
        >>> cough = NoteEvidence("symptom:cough", "plan", 0, 5, "cough", past=False, denied=True)
        >>> Rebuttal("pneumonia", (cough,)).text(shipped())
        'against pneumonia: no cough'
        """
        normal = [name(item.variable) for item in self.items if isinstance(item, Finding)]
        denied = [f"no {item.phrase}" for item in self.items if isinstance(item, NoteEvidence)]
        return f"against {labels[self.key].name}: {normal_values(normal) if normal else listed(denied)}"


def rebuttals[Item: (Finding, NoteEvidence)](
    items: Iterable[Item],
    keys: Sequence[str],
    graph: ConceptGraph,
    weight: Callable[[Item, str], float],
    least: Mapping[str, float],
) -> list[Rebuttal[Item]]:
    """The rebuttals that can be stated, in the order of the diagnoses.

    Args:
        items: normal findings of the series, or signs that the note denies.
        keys: diagnoses, the one that a rebuttal matters most for first.
        graph: an item may be stated where the graph ties its opposite to the diagnosis.
        weight: how much an item speaks against a diagnosis.
        least: diagnosis -> least weight at which an item is stated.
    """
    stated: list[Rebuttal[Item]] = []
    items = list(items)
    for key in keys:
        weighed = {item: weight(item, key) for item in items if expected(item, key, graph) >= SUPPORTS}
        strong = [item for item, value in weighed.items() if value >= least[key]]
        strong.sort(key=lambda item: (-weighed[item], item.concept))
        if strong:
            stated.append(Rebuttal(key, tuple(strong[:MOST_ITEMS])))
    return stated
