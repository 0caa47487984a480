"""The stays of a cohort as teachers read them: gold diagnoses, note sections, measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from clinragen.added_variables import NONE, AddedVariables, opened
from clinragen.artifacts import read_json, read_table
from clinragen.chart.measurements import Cells
from clinragen.cohort.folder import without_labels
from clinragen.errors import UserError
from clinragen.integrity import complete, hold_output
from clinragen.knowledge.readable import readable
from clinragen.label_sets import LabelSet, of_manifest
from clinragen.schema import NOTES, NOTES_KEYS, SERIES, STAYS, CohortPaths, labels_schema
from clinragen.teacher.serialize import Bands, bands


@dataclass(frozen=True)
class StayRecord:
    """One stay.

    Attributes:
        diagnoses: gold phenotype keys, in the order of the labels.
        sections: (section, readable text) of its notes, in time order.
        cells: its measurements, ascending in hours from intime, canonical units.
    """

    stay_id: int
    diagnoses: list[str]
    sections: list[tuple[str, str]]
    cells: Cells = field(default_factory=dict)


class Stays:
    """All stays of a cohort, in ascending order of their ids.

    Attributes:
        labels: their label set.
        added: the variables that their cohort has beside the catalogue's.

    Raises:
        UserError: a table is missing, damaged, changed since preparation, or lacks a stay's labels.
    """

    def __init__(self, paths: CohortPaths, shard: tuple[int, int] = (0, 1)) -> None:
        self.labels, self.added = _checked(paths)
        table = read_table(paths.stays, STAYS).select(["stay_id", "split"]).to_pylist()
        self._training = {row["stay_id"] for row in table if row["split"] == "train"}
        ids = sorted(row["stay_id"] for row in table)
        self.ids = ids[shard[0] :: shard[1]]
        self._diagnoses = diagnoses_of(paths, self.labels)
        if missing := [stay for stay in self.ids if stay not in self._diagnoses]:
            raise UserError(f"{paths.labels}: no row for stay {missing[0]} of stays.parquet; prepare the cohort anew")
        self._sections = sections_of(paths, self.labels)
        self.series = frame(paths, SERIES).sort("stay_id", "variable", "hour")
        counts = self.series.group_by("stay_id", maintain_order=True).len()
        ends = counts["len"].cum_sum().to_list()
        self._slices = dict(zip(counts["stay_id"].to_list(), zip([0, *ends], ends, strict=False), strict=True))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[StayRecord]:
        return map(self._record, self.ids)

    def training(self, most: int) -> Iterator[StayRecord]:
        """Stays of the training split, of all shards; of more than ``most`` every n-th, so that a sample is spread."""
        ids = sorted(self._training)
        return map(self._record, ids[:: -(-len(ids) // most) or 1])

    def _record(self, stay: int) -> StayRecord:
        start, end = self._slices.get(stay, (0, 0))
        cells: dict[str, list[tuple[float, float]]] = {}
        for hour, variable, value in self.series[start:end].select("hour", "variable", "value").iter_rows():
            cells.setdefault(variable, []).append((hour, value))
        return StayRecord(stay, self._diagnoses[stay], self._sections.get(stay, []), cells)

    def bands(self) -> Bands:
        """The statistical band of each variable over the training split."""
        return bands(self.series.filter(pl.col("stay_id").is_in(list(self._training))))


def _checked(paths: CohortPaths) -> tuple[LabelSet, AddedVariables]:
    """Labels and added variables of the cohort; its tables are checked against the manifest, if it has one."""
    if not paths.manifest.exists():
        return of_manifest({}), NONE
    manifest = read_json(paths.manifest, "the manifest of a cohort made by mimic-prep")
    for path in (paths.stays, paths.series, paths.notes, paths.labels):
        if path.exists():  # a missing file is reported by the reader
            hold_output(path, manifest, remedy="prepare the cohort anew")
    return of_manifest(manifest), opened(manifest, paths.manifest)


def frame(paths: CohortPaths, schema: pa.Schema) -> pl.DataFrame:
    """``series.parquet`` or ``notes.parquet``, checked against its schema."""
    path = paths.series if schema is SERIES else paths.notes
    frame = pl.from_arrow(read_table(path, schema, columns=[field.name for field in schema]))
    assert isinstance(frame, pl.DataFrame)  # a table, not a column
    return frame


def diagnoses_of(paths: CohortPaths, labels: LabelSet) -> dict[int, list[str]]:
    """stay -> gold phenotype keys, in the order of the labels."""
    keys = list(labels)
    if not paths.labels.exists():
        raise without_labels(paths)
    table = read_table(paths.labels, labels_schema(keys))
    return {row["stay_id"]: [key for key in keys if row[key]] for row in table.to_pylist()}


def sections_of(paths: CohortPaths, labels: LabelSet) -> dict[int, list[tuple[str, str]]]:
    """stay -> (section, readable text) in time order; the order within a note is that of the file."""
    sections: dict[int, list[tuple[str, str]]] = {}
    notes = complete(frame(paths, NOTES), NOTES_KEYS, paths.notes).sort("stay_id", "time", maintain_order=True)
    for stay, section, text in notes.select("stay_id", "section", "text").iter_rows():
        sections.setdefault(stay, []).append((section, readable(text or "", section, labels)))
    return sections
