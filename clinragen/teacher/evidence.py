"""The offline teacher: rationales composed from note and series of a stay, by way of the concept graph.

Like the paper's teacher it is given the gold diagnoses (post hoc); unlike it, it cannot state anything that is not in
the chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence, gather
from clinragen.chart.wording import Wording
from clinragen.chart.worth import Tally, Worth, speaking
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.teacher import note_rationale, series_rationale
from clinragen.teacher.argument import Composed
from clinragen.teacher.stays import StayRecord

#: Part of every rationale's prompt hash: raised when the wording or the choice of findings changes.
VERSION = 5


@dataclass(frozen=True)
class EvidenceRationale:
    """One rationale. ``verdicts`` is JSON: the evidence (note) or the claims (series) behind the text."""

    kind: RationaleKind
    text: str
    verdicts: str


class EvidenceTeacher:
    """Composes both rationales of a stay; the same stay always gets the same words.

    Args:
        graph: says what speaks for which diagnosis, and alone how much, until ``learn`` was called.
    """

    def __init__(self, graph: ConceptGraph) -> None:
        self.graph = graph
        self.worth = Worth(graph)
        self._linker = Linker(graph)

    def learn(self, stays: Iterable[StayRecord], findings: Mapping[int, list[Finding]]) -> None:
        """Learn from stays of the training split how much each sign speaks for each diagnosis (``chart.worth``).

        Args:
            stays: to learn from.
            findings: of each stay; those without measurements are left out.
        """
        tally = Tally()
        for stay in stays:
            shown = [*speaking(findings.get(stay.stay_id, [])), *(self._read(stay.sections) or [])]
            tally.add(shown, stay.diagnoses)
        self.worth = Worth(self.graph, tally)

    def rationales(
        self, stay_id: int, sections: Iterable[tuple[str, str]], findings: list[Finding] | None, diagnoses: list[str]
    ) -> tuple[EvidenceRationale, EvidenceRationale]:
        """R_m and R_t, which share the work: each argues first for what the other cannot, both where there is room.

        Args:
            stay_id: draws the phrasing.
            sections: (section, text) pairs of the note.
            findings: of the series; None: nothing was measured.
            diagnoses: gold phenotype keys.
        """
        shown: dict[str, float] = {}
        for finding in findings or []:
            for key, share in self.worth.speaks_for(finding, diagnoses).items():
                shown[key] = max(share, shown.get(key, 0.0))
        note = self._note(stay_id, sections, diagnoses, shown)
        return _of_note(note), self._series(stay_id, findings, diagnoses, note.argued)

    def note(self, stay_id: int, sections: Iterable[tuple[str, str]], diagnoses: list[str]) -> EvidenceRationale:
        """R_m alone, from (section, text) pairs and the gold phenotype keys."""
        return _of_note(self._note(stay_id, sections, diagnoses, {}))

    def series(self, stay_id: int, findings: list[Finding] | None, diagnoses: list[str]) -> EvidenceRationale:
        """R_t alone, from the stay's findings (None: nothing was measured) and the gold phenotype keys."""
        return self._series(stay_id, findings, diagnoses, {})

    def _read(self, sections: Iterable[tuple[str, str]]) -> list[NoteEvidence] | None:
        """What a note affirms; None where there is no note."""
        present = [(section, text) for section, text in sections if text.strip()]
        return gather(present, self._linker, self.graph) if present else None

    def _note(
        self, stay_id: int, sections: Iterable[tuple[str, str]], diagnoses: list[str], elsewhere: Mapping[str, float]
    ) -> Composed[NoteEvidence]:
        wording = Wording(stay_id, "note")
        return note_rationale.compose(self._read(sections), diagnoses, self.worth, wording, elsewhere)

    def _series(
        self, stay_id: int, findings: list[Finding] | None, diagnoses: list[str], elsewhere: Mapping[str, float]
    ) -> EvidenceRationale:
        composed = series_rationale.compose(findings, diagnoses, self.worth, Wording(stay_id, "series"), elsewhere)
        return EvidenceRationale("series", composed.text, _json({"claims": [each.as_json() for each in composed.told]}))


def _of_note(composed: Composed[NoteEvidence]) -> EvidenceRationale:
    return EvidenceRationale("note", composed.text, _json({"evidence": [item.as_json() for item in composed.told]}))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
