"""What note and series of each stay show, and the grammars by which rationales are held to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinragen.chart.findings import Finding, findings
from clinragen.chart.note_evidence import NoteEvidence, gather
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset
from clinragen.data.targets import TargetFormat
from clinragen.data.text import sections_by_stay
from clinragen.inference.grounded import Grounded, Spelling
from clinragen.inference.grounded_notes import GroundedNote
from clinragen.inference.grounded_series import GroundedSeries
from clinragen.model.clinragen import ClinRaGen


@dataclass(frozen=True)
class Chart:
    """What note and series of each stay show.

    Attributes:
        held: sections of the report that are held to it: note, series.
        note: phrases of the note by stay; stays without a note are left out.
        series: findings of the measurements as the model reads them, normal variables too; stays without any are left
            out.
    """

    held: list[str]
    note: dict[int, list[NoteEvidence]]
    series: dict[int, list[Finding]]

    @classmethod
    def of(cls, dataset: StayDataset, held: list[str]) -> Chart:
        """Of the stays of a dataset."""
        note: dict[int, list[NoteEvidence]] = {}
        series: dict[int, list[Finding]] = {}
        if "note" in held:
            wanted = pl.Series("stay_id", dataset.stay_ids).implode()
            notes = dataset.cohort.notes.filter(pl.col("stay_id").is_in(wanted))
            link = dataset.link
            for stay, sections in sections_by_stay(notes, labels=dataset.cohort.label_set, layout=True).items():
                note[stay] = gather(sections, link.linker, link.graph)
        if "series" in held:
            measured = dataset.measurements()
            shown = findings(measured, normal=True)
            series = {stay: shown.get(stay, []) for stay in measured["stay_id"].unique().to_list()}
        return cls(held, note, series)

    def grammars(
        self, model: ClinRaGen, target: TargetFormat, batch: Batch, beliefs: np.ndarray, budget: int
    ) -> dict[str, list[Grounded[Any]]]:
        """For each held section a grammar of true texts for each stay of a batch."""
        spelling = Spelling(model.tokenizer)
        made: dict[str, list[Grounded[Any]]] = {kind: [] for kind in self.held}
        for stay, row in zip(batch.stay_ids.tolist(), beliefs.tolist(), strict=True):
            called = {key: belief for key, belief in zip(model.labels, row, strict=True) if belief > 0.5}
            for kind, grammars in made.items():
                following = target.opening(target.sections.index(kind) + 1)
                given = (called, model.graph, budget, following)
                if kind == "note":
                    grammars.append(GroundedNote(spelling, self.note.get(stay), *given))
                else:
                    grammars.append(GroundedSeries(spelling, self.series.get(stay), *given))
        return made
