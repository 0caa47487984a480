"""The offline teacher: rationales composed from note and series of a stay, by way of the concept graph.

Like the paper's teacher it is given the gold diagnoses (post hoc); unlike it, it cannot state anything that is not in
the chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import gather
from clinragen.chart.wording import Wording
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.teacher import note_rationale, series_rationale

#: Part of every rationale's prompt hash: raised when the wording or the choice of findings changes.
VERSION = 3


@dataclass(frozen=True)
class EvidenceRationale:
    """One rationale. ``verdicts`` is JSON: the evidence (note) or the claims (series) behind the text."""

    kind: RationaleKind
    text: str
    verdicts: str


class EvidenceTeacher:
    """Composes both rationales of a stay; the same stay always gets the same words."""

    def __init__(self, graph: ConceptGraph) -> None:
        self.graph = graph
        self._linker = Linker(graph)

    def note(self, stay_id: int, sections: Iterable[tuple[str, str]], diagnoses: list[str]) -> EvidenceRationale:
        """R_m from (section, text) pairs and the gold phenotype keys."""
        present = [(section, text) for section, text in sections if text.strip()]
        evidence = gather(present, self._linker, self.graph) if present else None
        text, used = note_rationale.compose(evidence, diagnoses, self.graph, Wording(stay_id, "note"))
        return EvidenceRationale("note", text, _json({"evidence": [item.as_json() for item in used]}))

    def series(self, stay_id: int, findings: list[Finding] | None, diagnoses: list[str]) -> EvidenceRationale:
        """R_t from the stay's findings (None: nothing was measured) and the gold phenotype keys."""
        text, statements = series_rationale.compose(findings, diagnoses, self.graph, Wording(stay_id, "series"))
        return EvidenceRationale("series", text, _json({"claims": [statement.as_json() for statement in statements]}))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
