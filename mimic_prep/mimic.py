"""The reader of MIMIC-III and MIMIC-IV: which rows of which tables become stays, diagnoses and text."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from clinragen.icd import version_of
from mimic_prep import structured_summary
from mimic_prep.accounting import RowFilter
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.items import used
from mimic_prep.note_selection import read_notes
from mimic_prep.orders import OrderTable, orders_of
from mimic_prep.outcomes import of_admissions as outcomes_of_admissions
from mimic_prep.protocol import Protocol
from mimic_prep.reader import Reader
from mimic_prep.tables import MimicLayout, Table


class MimicReader(Reader):
    """Reads a release with the table layout of MIMIC."""

    def __init__(self, release: MimicLayout) -> None:
        super().__init__()
        self.release = release
        self.name = release.name
        self.items = release.items
        self.events = used(release.events, release.items)
        self.diagnosis_table = release.diagnoses
        self.clock = release.clock

    def tables(self) -> list[Table]:
        """All tables that a preparation may read, each once."""
        release = self.release
        named = [release.stays, release.patients, release.admissions, release.diagnoses]
        optional = [table for table in (release.prescriptions, release.diagnosis_names) if table is not None]
        parts = [source.table for source in (*self.events, *release.notes)]
        parts += [table for source in self.order_tables() for table in source.tables()]
        return list({table.path: table for table in (*named, *parts, *optional)}.values())

    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """Stays that have a patient and an admission; the others are counted."""
        release = self.release
        stays = raw.read(
            release.stays, lambda row_filter: row_filter.reject_missing("subject_id", "hadm_id", "stay_id")
        )
        attrition.entered = raw.rows_read(release.stays)
        attrition.excluded["stay row that cannot be read"] = attrition.entered - stays.height
        stays = stays.sort(*(name for name in stays.columns if name != "line"))
        stays = attrition.exclude(stays, ~pl.col("stay_id").is_first_distinct(), "stay id seen before")
        patients = raw.read(release.patients, _of("subject_id", stays, "patient without an intensive care stay"))
        of_patients = _of("subject_id", stays, "patient without an intensive care stay", "hadm_id")
        admissions = raw.read(release.admissions, of_patients)
        stays = _join(stays, patients, ["subject_id"], "patient", attrition)
        stays = _join(stays, admissions.drop("subject_id"), ["hadm_id"], "admission", attrition)
        outcomes, warnings = outcomes_of_admissions(stays)
        self.warnings += warnings
        named = [name for name in ("hospital", "network", "period") if name in stays.columns]
        sites = stays.select("stay_id", *named)
        return Population(stays.drop("expire_flag", "deathtime", *named), admissions, outcomes, sites)

    def diagnoses(self, raw: RawTables, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """subject_id, hadm_id, position, code, version, dischtime: every coded diagnosis of the cohort's patients."""

        def rules(row_filter: RowFilter) -> None:
            _with_version(row_filter, self.release)
            row_filter.reject_missing("subject_id", "hadm_id")
            row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
            row_filter.reject_missing("code", "version")

        subjects = stays["subject_id"].unique().implode()
        coded = raw.read(self.release.diagnoses, rules).drop("line").cast({"version": pl.Int64})
        ends = population.admissions.group_by("hadm_id").agg(pl.col("dischtime").max())
        return coded.join(ends, on="hadm_id", how="left", maintain_order="left")

    def order_tables(self) -> tuple[OrderTable, ...]:
        """Prescriptions, and infusions as they were given."""
        return orders_of(self.release)

    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Note sections, and digests as configured by the protocol."""
        notes = read_notes(raw, self.release, stays, protocol)
        if protocol.notes.digest == "never":
            return notes
        lacking = stays if protocol.notes.digest == "always" else stays.join(notes, on="stay_id", how="anti")
        if not lacking.height:
            return notes
        return pl.concat([notes, structured_summary.build(raw, self.release, lacking, diagnoses)])


def _with_version(row_filter: RowFilter, release: MimicLayout) -> None:
    """The ICD version as a number; the release's default if its tables do not state it."""
    if release.icd_version is not None:
        row_filter.frame = row_filter.frame.with_columns(version=pl.lit(release.icd_version, dtype=pl.Int64))
        return
    version = version_of(pl.col("version"))
    row_filter.reject(pl.col("version").is_not_null() & version.is_null(), "icd_version is not a whole number, 9 or 10")
    row_filter.frame = row_filter.frame.with_columns(version=version)


def _of(key: str, stays: pl.DataFrame, reason: str, *needed: str) -> Callable[[RowFilter], None]:
    ids = stays[key].unique().implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing(key, *needed)
        row_filter.skip(~pl.col(key).is_in(ids), reason)

    return rules


def _join(stays: pl.DataFrame, other: pl.DataFrame, on: list[str], what: str, attrition: Attrition) -> pl.DataFrame:
    """Add the columns of ``other``; the same key twice: the first in sorted order counts."""
    other = other.drop("line").sort(*other.drop("line").columns).unique(on, keep="first", maintain_order=True)
    joined = stays.join(other.with_columns(found=pl.lit(True)), on=on, how="left", maintain_order="left")
    return attrition.exclude(joined, pl.col("found").is_null(), f"{what} not in the {what} table").drop("found")
