"""The chart of one stay as questions read it: series, note and diagnoses, up to the prediction time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from clinragen.chart.findings import findings
from clinragen.chart.measurements import Cells, Measurements, cells_by_stay, measurements
from clinragen.chart.note_mentions import NoteMention, note_mentions
from clinragen.chart.signs import Signs
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker

_HOUR = 3_600_000  # milliseconds


@dataclass(frozen=True, eq=False)
class StayChart:
    """What of one stay may be asked about.

    Attributes:
        stay_id: the stay.
        end: prediction time in hours from intime; what was measured from then on is not in ``series``.
        series: measurements of each variable.
        sections: (section, text) pairs of the note in reading order.
        graph: the concepts that a note may mention, and what they are signs of.
        linker: finds them.
        labels: keys of the diagnoses that are listed, predicted or a teacher's.
    """

    stay_id: int
    end: float
    series: Mapping[str, Measurements]
    sections: Sequence[tuple[str, str]]
    graph: ConceptGraph
    linker: Linker
    labels: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        stay_id: int,
        end: float,
        cells: Cells,
        sections: Sequence[tuple[str, str]],
        linker: Linker,
        graph: ConceptGraph,
        labels: Iterable[str] = (),
    ) -> StayChart:
        """A chart from the rows of a stay, without those from the prediction time on.

        Args:
            stay_id: the stay.
            end: prediction time in hours from intime.
            cells: variable -> (hour, value) pairs in the canonical unit.
            sections: (section, text) pairs of the note in reading order.
            linker: finds concepts in the note.
            graph: the concepts.
            labels: keys of the diagnoses that are listed.
        """
        before = {variable: [row for row in rows if row[0] < end] for variable, rows in cells.items()}
        return cls(stay_id, end, measurements(before), tuple(sections), graph, linker, tuple(labels))

    @cached_property
    def mentions(self) -> tuple[NoteMention, ...]:
        """Every concept that the note names, in reading order."""
        return tuple(note_mentions(self.sections, self.linker))

    @cached_property
    def signs(self) -> Signs:
        """What the note affirms, and the abnormal findings of the series."""
        rows = [
            (self.stay_id, hour, variable, value)
            for variable, measured in self.series.items()
            for hour, value in zip(measured.hours.tolist(), measured.values.tolist(), strict=True)
        ]
        kinds = {"stay_id": pl.Int64, "hour": pl.Float64, "variable": pl.String, "value": pl.Float64}
        series = pl.DataFrame(rows, schema=kinds, orient="row")
        return Signs.read(self.sections, findings(series).get(self.stay_id, []), self.linker, self.graph)


def charts(
    cohort: Cohort,
    graph: ConceptGraph,
    *,
    linker: Linker | None = None,
    labels: Mapping[int, Collection[str]] | None = None,
) -> Iterator[StayChart]:
    """The chart of each stay of a cohort, or of a part of one (``Cohort.of_stays``), by stay id.

    Args:
        cohort: whose stays are read.
        graph: of the cohort's labels, see ``knowledge.relabel.open_graph``.
        linker: finds its concepts; None makes one.
        labels: diagnoses of each stay; none where a stay is missing.
    """
    linker = linker or Linker(graph)
    cells = cells_by_stay(cohort.series)
    sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
    stays = cohort.stays.select("stay_id", end=(pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds())
    for stay_id, end in stays.iter_rows():
        yield StayChart.read(
            stay_id,
            end / _HOUR,
            cells.get(stay_id, {}),
            sections.get(stay_id, []),
            linker,
            graph,
            (labels or {}).get(stay_id, ()),
        )
