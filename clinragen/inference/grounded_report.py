"""Grounded reports: which sections are constrained to the chart, and their grammars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence, gather
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


@dataclass(frozen=True)
class GroundedReports:
    """Data for the grounded reports of a dataset's stays.

    Attributes:
        sections: grounded sections: note, series.
        evidence: phrases of the note by stay; without stays that have no note.
        findings: findings of the measurements as the model reads them, including normal variables, by stay; without
            stays that have none.
    """

    sections: list[str]
    evidence: dict[int, list[NoteEvidence]]
    findings: dict[int, list[Finding]]

    @classmethod
    def of(cls, dataset: StayDataset, sections: list[str]) -> GroundedReports:
        """Build for the stays of a dataset."""
        evidence = _evidence(dataset) if "note" in sections else {}
        return cls(sections, evidence, dataset.findings() if "series" in sections else {})

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
            if not set(model.labels) <= set(model.graph.labels):  # of a task that the graph knows nothing of
                called, grounds = self._shown(stay, model.graph), GraphGrounds(model.graph)
            for section, of_stays in grammars.items():
                following = target.opening(target.sections.index(section) + 1)
                constraints = Constraints(called, model.graph, budget, following, grounds)
                if section == "note":
                    of_stays.append(GroundedNote(spelling, self.evidence.get(stay), constraints))
                else:
                    of_stays.append(GroundedSeries(spelling, self.findings.get(stay), constraints))
        return grammars

    def _shown(self, stay: int, graph: ConceptGraph) -> dict[str, float]:
        """The few diagnoses that note and series of a stay support most, for tasks without predicted diagnoses."""
        strength: dict[str, float] = {}
        for key, ranked in grounds(self.evidence.get(stay) or [], graph.labels, graph).items():
            strength[key] = sum(weight for weight, _ in ranked)
        for finding in self.findings.get(stay) or []:
            for key in supported(finding, graph.labels, graph) if finding.direction != "normal" else ():
                strength[key] = strength.get(key, 0.0) + graph.strength(finding.concept, key) * finding.severity
        strongest = sorted((-value, key) for key, value in strength.items() if value)[:_ARGUED]
        argued = {key for _, key in strongest}
        return {key: 1.0 for key in graph.labels if key in argued}


def _evidence(dataset: StayDataset) -> dict[int, list[NoteEvidence]]:
    stays = pl.Series("stay_id", dataset.stay_ids).implode()
    cohort, link = dataset.cohort, dataset.link
    notes = cohort.notes.filter(pl.col("stay_id").is_in(stays))
    by_stay = sections_by_stay(notes, labels=cohort.label_set, layout=True)
    return {stay: gather(sections, link.linker, link.graph) for stay, sections in by_stay.items()}
