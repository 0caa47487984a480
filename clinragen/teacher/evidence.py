"""The offline teacher: rationales composed from note and series of a stay, by way of the concept graph.

Like the paper's teacher it is given the gold diagnoses (post hoc); unlike it, it cannot state anything that is not in
the chart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clinragen.chart.findings import Finding, normal
from clinragen.chart.note_evidence import NoteEvidence, NoteReading, read_note
from clinragen.chart.rebuttals import rebuttals
from clinragen.chart.support import SUPPORTS, tie
from clinragen.chart.wording import Wording
from clinragen.chart.worth import CLEAR, Tally, Worth, speaking
from clinragen.choices import RationaleKind
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.teacher import note_rationale, series_rationale
from clinragen.teacher.argument import Composed
from clinragen.teacher.stays import StayRecord

#: Part of every rationale's prompt hash: raised when the wording or the choice of findings changes.
VERSION = 6
#: A diagnosis that was not made is argued against from this worth on of what speaks for it, in nats.
NEARLY_MADE = math.log(4)
#: A diagnosis that was made is argued against only with what speaks so much against it, in nats.
IN_SPITE = math.log(3)


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
            of_series = findings.get(stay.stay_id, [])
            note = self._read(stay.sections) or NoteReading([], [])
            shown = [*speaking(of_series), *normal(of_series), *note.evidence, *note.denials]
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
        far = speaking(findings or [])
        shown: dict[str, float] = {}
        for finding in far:
            for key, share in self.worth.speaks_for(finding, diagnoses).items():
                shown[key] = max(share, shown.get(key, 0.0))
        reading = self._read(sections)
        affirmed = [item for item in (reading.evidence if reading else []) if item.kind != "circumstance"]
        least = self._rebuttable([*far, *affirmed], diagnoses)
        note = self._note(stay_id, reading, diagnoses, shown, least)
        return _of_note(note), self._series(stay_id, findings, diagnoses, note.argued, least)

    def note(self, stay_id: int, sections: Iterable[tuple[str, str]], diagnoses: list[str]) -> EvidenceRationale:
        """R_m alone, from (section, text) pairs and the gold phenotype keys."""
        return _of_note(self._note(stay_id, self._read(sections), diagnoses, {}, {}))

    def series(self, stay_id: int, findings: list[Finding] | None, diagnoses: list[str]) -> EvidenceRationale:
        """R_t alone, from the stay's findings (None: nothing was measured) and the gold phenotype keys."""
        return self._series(stay_id, findings, diagnoses, {}, {})

    def _rebuttable(self, shown: Iterable[Finding | NoteEvidence], diagnoses: list[str]) -> dict[str, float]:
        """The diagnoses that a rebuttal matters for, first those that matter most, each with the least worth of what is
        to speak against it: diagnoses that were not made although much speaks for them, then those made nevertheless.
        """
        speaks_for = dict.fromkeys(self.graph.labels, 0.0)
        for item in shown:
            for key in speaks_for:
                if tie(item, key, self.graph) >= SUPPORTS:
                    speaks_for[key] += max(0.0, self.worth.estimate(item, key)[0])
        missed = [key for key, worth in speaks_for.items() if key not in diagnoses and worth >= NEARLY_MADE]
        missed.sort(key=lambda key: -speaks_for[key])
        return dict.fromkeys(missed, CLEAR) | dict.fromkeys(diagnoses, IN_SPITE)

    def _read(self, sections: Iterable[tuple[str, str]]) -> NoteReading | None:
        """What a note affirms and denies; None where there is no note."""
        present = [(section, text) for section, text in sections if text.strip()]
        return read_note(present, self._linker, self.graph) if present else None

    def _note(
        self,
        stay_id: int,
        reading: NoteReading | None,
        diagnoses: list[str],
        elsewhere: Mapping[str, float],
        least: Mapping[str, float],
    ) -> Composed[NoteEvidence]:
        evidence = reading.evidence if reading else None
        denials: list[NoteEvidence] = reading.denials if reading else []
        against = rebuttals(denials, [*least], self.graph, self.worth.speaks_against, least)
        wording = Wording(stay_id, "note")
        return note_rationale.compose(evidence, diagnoses, self.worth, wording, elsewhere, against)

    def _series(
        self,
        stay_id: int,
        findings: list[Finding] | None,
        diagnoses: list[str],
        elsewhere: Mapping[str, float],
        least: Mapping[str, float],
    ) -> EvidenceRationale:
        within: list[Finding] = normal(findings or [])
        against = rebuttals(within, [*least], self.graph, self.worth.speaks_against, least)
        wording = Wording(stay_id, "series")
        composed = series_rationale.compose(findings, diagnoses, self.worth, wording, elsewhere, against)
        return EvidenceRationale("series", composed.text, _json({"claims": [each.as_json() for each in composed.told]}))


def _of_note(composed: Composed[NoteEvidence]) -> EvidenceRationale:
    return EvidenceRationale("note", composed.text, _json({"evidence": [item.as_json() for item in composed.told]}))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
