"""The tables of a cohort for the checks. It may lack notes, labels or measurements, if its manifest lists none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from clinragen.cohort.folder import Cohort, frame
from clinragen.cohort.manifest import CohortManifest
from clinragen.errors import UserError
from clinragen.schema import NOTES, SERIES, CohortPaths


@dataclass(frozen=True)
class CohortTables:
    """The tables of a cohort: missing ``labels`` and ``outcomes`` are None, other missing tables empty."""

    cohort: Cohort
    notes: pl.DataFrame
    labels: pl.DataFrame | None
    outcomes: pl.DataFrame | None
    series: pl.LazyFrame  # lazy: a whole release has a hundred million rows

    @classmethod
    def of(cls, cohort: Cohort) -> CohortTables:
        """The tables of a cohort.

        Raises:
            UserError: a file of the cohort is missing or damaged.
        """
        notes = cohort.notes_as_written if _expected(cohort, cohort.paths.notes) else frame(NOTES.empty_table())
        labels = cohort.labels if _expected(cohort, cohort.paths.labels) else None
        outcomes = cohort.outcomes if _expected(cohort, cohort.paths.outcomes) else None
        return cls(cohort, notes, labels, outcomes, _series(cohort))

    @property
    def stays(self) -> pl.DataFrame:
        """One row for each stay."""
        return self.cohort.stays

    @property
    def manifest(self) -> CohortManifest:
        """The manifest of the cohort."""
        return self.cohort.manifest

    @property
    def paths(self) -> CohortPaths:
        """The paths of the files."""
        return self.cohort.paths


def _expected(cohort: Cohort, path: Path) -> bool:
    return path.exists() or path.name in cohort.manifest.get("outputs", {})


def _series(cohort: Cohort) -> pl.LazyFrame:
    path = cohort.paths.series
    if not _expected(cohort, path):
        return frame(SERIES.empty_table()).lazy()
    if not path.is_file():
        raise UserError(f"{path} not found")
    try:
        have = pl.scan_parquet(path).collect_schema().names()
    except (PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): make it anew") from None
    if missing := [name for name in SERIES.names if name not in have]:
        raise UserError(f"{path}: column '{missing[0]}' is missing; it has {have}")
    return pl.scan_parquet(path).select(SERIES.names)
