"""The charts of stays as everything that suggests drugs reads them: up to the prediction time, and without codes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from clinragen.chart.findings import findings
from clinragen.chart.measurements import Cells, cells_by_stay
from clinragen.chart.signs import Signs
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.prescription.history import History
from clinragen.safety.context import PatientContext, contexts_of


@dataclass(frozen=True)
class PatientChart:
    """What is known of a stay at its prediction time.

    Attributes:
        sections: (section, text) of its note in reading order, with line breaks; evidence is placed in these texts.
        cells: its measurements.
        signs: what note and series show.
        context: what the safety screen reads.
    """

    sections: list[tuple[str, str]]
    cells: Cells
    signs: Signs
    context: PatientContext


def note_sections(cohort: Cohort) -> dict[int, list[tuple[str, str]]]:
    """stay -> (section, text) of its note, in which the evidence of grounds is placed."""
    return sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)


def read_charts(history: History, graph: ConceptGraph, linker: Linker | None = None) -> dict[int, PatientChart]:
    """The charts of the stays of a history.

    Args:
        history: names cohort and stays.
        graph: gives the names that are looked for in notes.
        linker: that of the graph, if there is one already.
    """
    cohort, linker = history.cohort, linker or Linker(graph)
    hours = (pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000
    stays = cohort.stays.filter(pl.col("stay_id").is_in(pl.Series(history.stay_ids).implode()))
    ends = stays.select("stay_id", ends=hours)
    series = cohort.series.join(ends, on="stay_id").filter(pl.col("hour") < pl.col("ends")).drop("ends")
    sections, of_series, cells = note_sections(cohort), findings(series), cells_by_stay(series)
    contexts = contexts_of(cohort, history.stay_ids.tolist(), linker)
    return {
        stay: PatientChart(
            sections.get(stay, []),
            cells.get(stay, {}),
            Signs.read(sections.get(stay, []), of_series.get(stay, []), linker, graph),
            contexts[stay],
        )
        for stay in history.stay_ids.tolist()
    }
