"""Where in the chart the strongest pieces of evidence for a label are, so that a clinician can check them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from clinragen.data.lexicon import Lexicon
from clinragen.knowledge.concepts import RELATIONS
from clinragen.knowledge.graph import ConceptGraph
from clinragen.zero_shot.ensembles import LabelEnsemble
from clinragen.zero_shot.readings import ChartReadings, Sections
from clinragen.zero_shot.scoring import ChartFeatures, label_words, surprise

_TERMS = 3  # of a note, at most: they say less than concepts
EVIDENCE = pa.struct(
    [
        ("kind", pa.string()),  # note, word, series
        ("weight", pa.float64()),  # of the score, before the regressions
        ("concept", pa.string()),  # null of a word
        ("why", pa.string()),
        ("section", pa.string()),  # of the note, with start and end
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("variable", pa.string()),  # of the series, with hour and value
        ("hour", pa.float64()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Piece:
    """One piece of evidence: a concept that the note affirms, a word of it, or a finding of the series.

    Attributes:
        kind: ``note``, ``word`` or ``series``.
        weight: how much of the score it makes, before the regressions.
        concept: of the graph; None of a word.
        why: how it speaks for the label.
        section, start, end: where in the note.
        variable, hour, value: where in the series, in the canonical unit.
    """

    kind: str
    weight: float
    concept: str | None
    why: str
    section: str | None = None
    start: int | None = None
    end: int | None = None
    variable: str | None = None
    hour: float | None = None
    value: float | None = None

    def as_json(self) -> dict[str, object]:
        """The piece as an object of JSON and as a row of ``EVIDENCE``."""
        return {**asdict(self), "weight": round(self.weight, 4)}


@dataclass(frozen=True)
class EvidenceFinder:
    """Finds the evidence for labels in charts that were scored.

    Attributes:
        graph: words concepts.
        lexicon: of the words.
        readings, features: the charts.
        ensembles: the labels.
        scales: by part, how much of the score one unit makes, [labels].
    """

    graph: ConceptGraph
    lexicon: Lexicon
    readings: ChartReadings
    features: ChartFeatures
    ensembles: list[LabelEnsemble]
    scales: dict[str, np.ndarray]

    def rows(self, row: int, most: int) -> Iterator[list[Piece]]:
        """The strongest pieces of a stay for each label, strongest first.

        Args:
            row: of the stay among the readings.
            most: pieces for each label.
        """
        labels = label_words(self.lexicon, self.ensembles)
        for number, ensemble in enumerate(self.ensembles):
            pieces = [*self._of_note(row, number, ensemble), *self._of_series(row, number, ensemble)]
            pieces += self._of_words(row, number, labels, pieces)
            pieces.sort(key=lambda piece: -piece.weight)  # stable: ties stay in reading order
            yield pieces[:most]

    def _of_note(self, row: int, number: int, ensemble: LabelEnsemble) -> Iterator[Piece]:
        seen: set[str] = set()  # a concept may be affirmed now and as history, and counts once
        for one in self.readings.affirmed[row]:
            if one.concept in ensemble.ties and one.concept not in seen:
                seen.add(one.concept)
                weight = self.scales["concepts"][number] * surprise(ensemble.ties[one.concept].strength)
                why = self._why(one.concept, ensemble)
                yield Piece("note", weight, one.concept, why, one.section, one.start, one.end)

    def _of_series(self, row: int, number: int, ensemble: LabelEnsemble) -> Iterator[Piece]:
        for one in self.readings.findings[row]:
            if one.concept in ensemble.ties:
                weight = self.scales["findings"][number] * one.weight * ensemble.ties[one.concept].strength
                value = one.spec.written(one.extreme)
                why = self._why(one.concept, ensemble)
                yield Piece(
                    "series", weight, one.concept, why, variable=one.variable, hour=one.extreme_hour, value=value
                )

    def _of_words(self, row: int, number: int, labels: csr_matrix, others: list[Piece]) -> Iterator[Piece]:
        """The terms that note and label share most of, apart from those that already are evidence as a concept."""
        if not self.readings.noted[row]:
            return
        shared = csr_matrix(self.features.words[row].multiply(labels[number]))
        order = np.argsort(-shared.data, kind="stable")[: 3 * _TERMS]
        cited = [(one.section, one.start, one.end) for one in others if one.kind == "note"]
        count = 0
        for position in order.tolist():
            term = self.lexicon.terms[shared.indices[position]]
            span = first_place(self.readings.sections[row], term)
            if span is None or any(_overlap(span, other) for other in cited):
                continue
            cited.append(span)
            weight = float(self.scales["words"][number] * shared.data[position])
            yield Piece("word", weight, None, f"'{term}' is among the words of the label", *span)
            if (count := count + 1) == _TERMS:
                return

    def _why(self, concept: str, ensemble: LabelEnsemble) -> str:
        _, relation, via = ensemble.ties[concept]
        name, label = self.graph.name(concept), ensemble.label.name
        if relation == "named":
            return f"{name} is named in the description of {label}"
        if relation == "is":
            return name if name.casefold() == label.casefold() else f"{name} belongs to {label}"
        return f"{name} {RELATIONS[relation]} {self.graph.name(via)}"


def first_place(sections: Sections, term: str) -> tuple[str, int, int] | None:
    """Section, start and end of the first place of a term; None if it stands in none as it is."""
    pattern = re.compile(r"\W+".join(rf"\b{re.escape(word)}\b" for word in term.split()), re.IGNORECASE)
    for name, text in sections:
        if match := pattern.search(text):
            return name, match.start(), match.end()
    return None


def _overlap(one: tuple[str | None, int | None, int | None], other: tuple[str | None, int | None, int | None]) -> bool:
    (section, start, end), (elsewhere, begin, stop) = one, other
    if section != elsewhere or start is None or end is None or begin is None or stop is None:
        return False
    return start < stop and begin < end
