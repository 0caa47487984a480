"""Reports that note and series of each stay bear out: which sections are held to the chart, and their grammars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinragen.chart.findings import Finding, findings
from clinragen.chart.note_evidence import NoteEvidence, gather
from clinragen.chart.support import grounds, supported
from clinragen.cohort.sections import sections_by_stay
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.data.targets import TargetFormat
from clinragen.inference.grounded import Constraints, Grounded, Spelling
from clinragen.inference.grounded_notes import GroundedNote
from clinragen.inference.grounded_series import GroundedSeries
from clinragen.knowledge.graph import ConceptGraph
from clinragen.model.clinragen import ClinRaGen

_ARGUED = 3  # diagnoses that rationales argue for where the model calls none, because its task is another


@dataclass(frozen=True)
class GroundedReports:
    """What the reports of the stays of a dataset may say.

    Attributes:
        sections: those of the report that are held to the chart: note, series.
        evidence: phrases of the note by stay; stays without a note are left out.
        findings: of the measurements as the model reads them, normal variables too, by stay; stays without any are left
            out.
    """

    sections: list[str]
    evidence: dict[int, list[NoteEvidence]]
    findings: dict[int, list[Finding]]

    @classmethod
    def of(cls, dataset: StayDataset, sections: list[str]) -> GroundedReports:
        """Of the stays of a dataset."""
        evidence = _evidence(dataset) if "note" in sections else {}
        return cls(sections, evidence, _findings(dataset) if "series" in sections else {})

    def grammars(
        self, model: ClinRaGen, target: TargetFormat, batch: Batch, beliefs: np.ndarray, budget: int
    ) -> dict[str, list[Grounded[Any]]]:
        """For each grounded section a grammar of true texts for each stay of a batch.

        Args:
            model: gives tokenizer, labels and graph.
            target: the sections of a report and what opens them.
            batch: of B stays.
            beliefs: [B, L], how sure the model is of each diagnosis; those above one half are called.
            budget: most tokens of one section.
        """
        spelling = Spelling(model.tokenizer)
        grammars: dict[str, list[Grounded[Any]]] = {section: [] for section in self.sections}
        for stay, row in zip(batch.stay_ids.tolist(), beliefs.tolist(), strict=True):
            called = {key: belief for key, belief in zip(model.labels, row, strict=True) if belief > 0.5}
            if not set(model.labels) <= set(model.graph.labels):  # of a task that the graph knows nothing of
                called = self._shown(stay, model.graph)
            for section, of_stays in grammars.items():
                following = target.opening(target.sections.index(section) + 1)
                constraints = Constraints(called, model.graph, budget, following)
                if section == "note":
                    of_stays.append(GroundedNote(spelling, self.evidence.get(stay), constraints))
                else:
                    of_stays.append(GroundedSeries(spelling, self.findings.get(stay), constraints))
        return grammars

    def _shown(self, stay: int, graph: ConceptGraph) -> dict[str, float]:
        """The few diagnoses that note and series of a stay speak for most: what can be argued without a call."""
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


def _findings(dataset: StayDataset) -> dict[int, list[Finding]]:
    series = dataset.measurements()
    by_stay = findings(series, normal=True)
    return {stay: by_stay.get(stay, []) for stay in series["stay_id"].unique().to_list()}
