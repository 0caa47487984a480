"""Grounded reports: which sections are constrained to the chart, and their grammars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteReading, read_note
from clinragen.chart.support import grounds, supported
from clinragen.cohort.sections import sections_by_stay
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.data.targets import TargetFormat
from clinragen.inference.contributions import Contributions, ModelGrounds
from clinragen.inference.grounded import Constraints, GraphGrounds, Grounded, Grounds, Spelling
from clinragen.inference.grounded_notes import GroundedNote
from clinragen.inference.grounded_series import GroundedSeries
from clinragen.knowledge.graph import ConceptGraph
from clinragen.model.clinragen import ClinRaGen

_ARGUED = 3  # number of diagnoses to argue for if the task has no diagnoses
NEARLY_CALLED = 0.3  # belief from which a diagnosis is nearly called; it is called above one half
#: How much is to speak against a diagnosis that is stated, beside all that speaks for it: nearly called, and called.
_AGAINST_NEAR, _AGAINST_CALLED = 0.05, 0.25


@dataclass(frozen=True)
class GroundedReports:
    """Data for the grounded reports of a dataset's stays.

    Attributes:
        sections: grounded sections: note, series.
        readings: what the note affirms and denies, by stay; without stays that have no note.
        findings: findings of the measurements as the model reads them, including normal variables, by stay; without
            stays that have none.
    """

    sections: list[str]
    readings: dict[int, NoteReading]
    findings: dict[int, list[Finding]]

    @classmethod
    def of(cls, dataset: StayDataset, sections: list[str]) -> GroundedReports:
        """Build for the stays of a dataset."""
        readings = _readings(dataset) if "note" in sections else {}
        return cls(sections, readings, dataset.findings() if "series" in sections else {})

    def grammars(
        self,
        model: ClinRaGen,
        target: TargetFormat,
        batch: Batch,
        beliefs: np.ndarray,
        budget: int,
        contributed: Sequence[Contributions],
    ) -> dict[str, list[Grounded[Any]]]:
        """For each grounded section, a grammar for each stay of a batch.

        Args:
            model: provides tokenizer, labels and graph.
            target: the sections of a report and their markers.
            batch: batch of B stays.
            beliefs: [B, L], probability of each diagnosis; those above one half are predicted.
            budget: most tokens of one section.
            contributed: what each stay's evidence contributes to the logits.
        """
        spelling = Spelling(model.tokenizer)
        grammars: dict[str, list[Grounded[Any]]] = {section: [] for section in self.sections}
        for stay, row, contributions in zip(batch.stay_ids.tolist(), beliefs.tolist(), contributed, strict=True):
            grounds: Grounds = ModelGrounds(model.graph, contributions)
            called = {key: belief for key, belief in zip(model.labels, row, strict=True) if belief > 0.5}
            rebuttable = _rebuttable(dict(zip(model.labels, row, strict=True)))
            if not set(model.labels) <= set(model.graph.labels):  # of a task that the graph knows nothing of
                called, grounds, rebuttable = self._shown(stay, model.graph), GraphGrounds(model.graph), {}
            written: GroundedNote | None = None
            for section, of_stays in grammars.items():
                following = target.opening(target.sections.index(section) + 1)
                constraints = Constraints(called, model.graph, budget, following, grounds, rebuttable)
                if section == "note":
                    note = self.readings.get(stay)
                    evidence, denials = (note.evidence, note.denials) if note else (None, [])
                    written = GroundedNote(spelling, evidence, constraints, denials)
                    of_stays.append(written)
                else:
                    of_stays.append(GroundedSeries(spelling, self.findings.get(stay), constraints, written))
        return grammars

    def _shown(self, stay: int, graph: ConceptGraph) -> dict[str, float]:
        """The few diagnoses that note and series of a stay support most, for tasks without predicted diagnoses."""
        strength: dict[str, float] = {}
        note = self.readings.get(stay)
        for key, ranked in grounds(note.evidence if note else [], graph.labels, graph).items():
            strength[key] = sum(weight for weight, _ in ranked)
        for finding in self.findings.get(stay) or []:
            for key in supported(finding, graph.labels, graph) if finding.direction != "normal" else ():
                strength[key] = strength.get(key, 0.0) + graph.strength(finding.concept, key) * finding.severity
        strongest = sorted((-value, key) for key, value in strength.items() if value)[:_ARGUED]
        argued = {key for _, key in strongest}
        return {key: 1.0 for key in graph.labels if key in argued}


def _rebuttable(beliefs: Mapping[str, float]) -> dict[str, float]:
    """The diagnoses that a rebuttal matters for, each with the least that is to speak against it: those that are nearly
    called, the likeliest first, then those that are called."""
    near = sorted(
        (key for key, belief in beliefs.items() if NEARLY_CALLED <= belief <= 0.5), key=lambda key: -beliefs[key]
    )
    called = [key for key, belief in beliefs.items() if belief > 0.5]
    return dict.fromkeys(near, _AGAINST_NEAR) | dict.fromkeys(called, _AGAINST_CALLED)


def _readings(dataset: StayDataset) -> dict[int, NoteReading]:
    stays = pl.Series("stay_id", dataset.stay_ids).implode()
    cohort, link = dataset.cohort, dataset.link
    notes = cohort.notes.filter(pl.col("stay_id").is_in(stays))
    by_stay = sections_by_stay(notes, labels=cohort.label_set, layout=True)
    return {stay: read_note(sections, link.linker, link.graph) for stay, sections in by_stay.items()}
