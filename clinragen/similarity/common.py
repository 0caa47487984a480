"""What two charts have in common: findings of the series and concepts of the notes that the verifier finds in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clinragen.catalog import variables
from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.series_statements import statement
from clinragen.chart.wording import Wording
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.stay_chart import StayChart
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.rationale import Verifier

#: Of each kind that is named, at most.
MOST = {"note": 5, "series": 4}
#: Kinds of concept by which patients are alike: circumstances, such as age, tell little.
_TELLING = ("sign", "past", "drug")
_PHENOTYPE = "phenotype:"


@dataclass(frozen=True)
class Shared:
    """One thing that two charts share.

    Attributes:
        kind: of the note, or of the series.
        concept: node of the graph.
        text: its name.
        here, there: where it is in the chart of the query and in that of the other: section, start and end of a phrase
            of the note; or variable, hour, value and the statement of the series.
    """

    kind: Literal["note", "series"]
    concept: str
    text: str
    here: dict[str, Any]
    there: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return {"kind": self.kind, "concept": self.concept, "text": self.text, "here": self.here, "there": self.there}


@dataclass(frozen=True)
class Statement:
    """A statement of one chart that its verifier bears out, and where it is."""

    text: str
    where: dict[str, Any]
    weight: float


#: The statements of a chart, by kind and concept.
Statements = Mapping[str, Mapping[str, Statement]]


class Comparison:
    """Compares charts. Building one takes tenths of a second; reuse it.

    Args:
        graph: names the concepts.
        rarity: of concepts; what is rarer is named first.
    """

    def __init__(self, graph: ConceptGraph, rarity: Mapping[str, float]) -> None:
        self._graph, self._rarity = graph, rarity
        self._verifier = Verifier(graph)

    def shared(self, mine: Statements, theirs: Statements) -> list[Shared]:
        """What two charts both show, of the note and of the series, what tells most first."""
        shared: list[Shared] = []
        for kind in ("note", "series"):
            both = [concept for concept in mine[kind] if concept in theirs[kind]]
            both.sort(key=lambda concept: -min(mine[kind][concept].weight, theirs[kind][concept].weight))  # stable
            for concept in both[: MOST[kind]]:
                here, there = mine[kind][concept], theirs[kind][concept]
                name = self._graph.name(concept) if concept in self._graph.nodes else _plain(concept)
                shared.append(Shared(kind, concept, name, here.where, there.where))
        return shared

    def statements(self, chart: StayChart) -> Statements:
        """What a chart shows and the verifier bears out, by kind and concept."""
        signs = chart.signs
        note = {item.concept: item for item in signs.note if item.kind in _TELLING and not item.denied}
        series = {finding.concept: finding for finding in signs.series}
        return {"note": dict(self._note(chart, note)), "series": dict(self._series(chart, series))}

    def _note(self, chart: StayChart, items: Mapping[str, NoteEvidence]) -> Iterator[tuple[str, Statement]]:
        affirmed = {concept.removeprefix(_PHENOTYPE) for concept in items}
        for concept, item in items.items():
            if _borne_out(self._verifier.check(item.phrase, "note", chart.sections, {}, affirmed)):
                where = {"section": item.section, "start": item.start, "end": item.end}
                yield concept, Statement(item.phrase, where, self._rarity.get(concept, 0.0))

    def _series(self, chart: StayChart, findings: Mapping[str, Finding]) -> Iterator[tuple[str, Statement]]:
        for concept, finding in findings.items():
            words = statement(finding, self._graph, Wording(finding.variable, finding.direction)).statement
            if _borne_out(self._verifier.check(words, "series", [], chart.series, ())):
                where = {
                    "variable": finding.variable,
                    "hour": finding.extreme_hour,
                    "value": finding.spec.written(finding.extreme),
                    "statement": words,
                }
                yield concept, Statement(words, where, finding.weight)


def _borne_out(claims: list[Checked]) -> bool:
    """Whether a statement is read, and everything in it holds."""
    return bool(claims) and all(claim.verdict == Verdict.SUPPORTED for claim in claims)


def _plain(concept: str) -> str:
    """The name of a finding that the graph does not have: ``finding:lactate:high`` is high lactate."""
    _, variable, direction = concept.split(":")
    return f"{direction} {variables()[variable].label}"
