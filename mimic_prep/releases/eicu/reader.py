"""The reader of eICU. It has no dates and no free text: times count from ICU admission; text is composed of coded
entries.

Each hospital stay is placed on 1 January of its discharge year at its hour of admission, so that its ICU stays have the
correct distances; the order of hospital stays is unknown.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from mimic_prep.accounting import RowFilter
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.items import used
from mimic_prep.orders import OrderTable
from mimic_prep.protocol import Protocol
from mimic_prep.reader import Reader
from mimic_prep.releases.eicu import entry_text
from mimic_prep.releases.eicu import tables as eicu
from mimic_prep.releases.eicu.diagnosis_strings import filled
from mimic_prep.releases.eicu.infusions import with_weights
from mimic_prep.tables import Table

_OLDEST = 91.0  # ages over 89 are masked as "> 89"; the same number as in MIMIC-IV


class EicuReader(Reader):
    """Reads eICU."""

    version = 3  # 1: of a treatment only the last step of its path was read; 2: without its organ system
    name = eicu.RELEASE
    items = eicu.ITEMS
    diagnosis_table = eicu.DIAGNOSIS
    clock = "year"  # of discharge from hospital
    label_key = "stay_id"  # diagnoses are entered for the unit stay

    def __init__(self) -> None:
        super().__init__()
        self.events = used(eicu.events(), eicu.ITEMS)

    def tables(self) -> list[Table]:
        """All tables that a preparation may read."""
        parts = [part.table for part in (*self.events, *eicu.TEXTS, *eicu.ORDERS)]
        files = {table.path: table for table in parts if not table.part}
        return [eicu.PATIENT, eicu.DIAGNOSIS, *files.values()]

    def order_tables(self) -> tuple[OrderTable, ...]:
        """Orders of the pharmacy, drugs taken before admission, and charted infusions."""
        return eicu.ORDERS

    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """Intensive care stays; step-down stays and rows without ids are counted."""
        self._weigh(raw)
        rows = raw.read(eicu.PATIENT, _identify)
        attrition.entered = raw.rows_read(eicu.PATIENT)
        attrition.excluded["stay row that cannot be read"] = attrition.entered - rows.height
        rows = rows.sort(*(name for name in rows.columns if name != "line"))
        rows = attrition.exclude(rows, ~pl.col("stay_id").is_first_distinct(), "stay id seen before")
        stepdown = pl.col("stay_type").str.to_lowercase().str.contains("stepdown")
        rows = attrition.exclude(rows, stepdown, "step-down unit, not intensive care")
        stays = _with_times(rows)
        admissions = stays.select("hadm_id", dischtime=_minutes("admittime", "hospital_leave_offset", "admit_offset"))
        sites = stays.select("stay_id", "hospital", "network", period="year")
        return Population(stays.drop("hospital_status", "hospital", "network"), admissions, _outcomes(stays), sites)

    def _weigh(self, raw: RawTables) -> None:
        """Give rates of infusions the weight of the admission form, if they are read."""
        if not any(source.table == eicu.INFUSIONS for source in self.events) or not raw.locate(eicu.INFUSIONS):
            return
        weights = raw.read(eicu.WEIGHTS, lambda rows: rows.reject_missing("stay_id"))
        table = replace(eicu.INFUSIONS, derived=with_weights(weights))
        self.events = tuple(
            replace(source, table=table) if source.table == eicu.INFUSIONS else source for source in self.events
        )

    def diagnoses(self, raw: RawTables, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """stay_id, code, version: each entry names its disease in ICD-9, ICD-10 or both, or only by a string."""
        ids = stays["stay_id"].unique().implode()

        def rules(row_filter: RowFilter) -> None:
            row_filter.reject_missing("stay_id")
            row_filter.skip(~pl.col("stay_id").is_in(ids), "stay not in the cohort")
            row_filter.frame = row_filter.frame.with_columns(codes=_text("codes"), string=_text("string"))
            row_filter.skip(pl.col("codes").is_null() & pl.col("string").is_null(), "diagnosis without code and string")

        entries, filled_count, unread_count = filled(raw.read(eicu.DIAGNOSIS, rules))
        if filled_count or unread_count:
            self.warnings.append(
                f"{filled_count + unread_count:,} diagnoses have a string and no code: {filled_count:,} were read from "
                f"it, {unread_count:,} name no disease that is known by its string alone, and give no label"
            )
        codes = entries.select("stay_id", code=pl.col("codes").str.split(",")).explode("code")
        code = pl.col("code").str.strip_chars().str.to_uppercase()
        # the length before the point distinguishes V and E codes of ICD-9; other letters mean ICD-10
        is_icd9 = code.str.contains(r"^(\d|E\d{3}|V\d{2}(\.|$))")
        version = pl.when(is_icd9).then(9).otherwise(10).cast(pl.Int64)
        return codes.select("stay_id", code, version=version).filter(pl.col("code") != "").unique(maintain_order=True)

    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Sections composed of the entries before the prediction time, and one about patient and admission."""
        return entry_text.build(raw, stays, protocol)


def _outcomes(stays: pl.DataFrame) -> pl.DataFrame:
    """Alive or Expired at hospital discharge, null where the cell is empty; eICU has no time of death of its own."""
    status = pl.col("hospital_status").str.strip_chars().str.to_lowercase()
    return stays.select(
        "stay_id",
        died_in_hospital=pl.when(status == "expired").then(True).when(status == "alive").then(False),
        death_time=pl.lit(None, dtype=pl.Datetime("ms")),
        hospital_outtime=_minutes("intime", "hospital_leave_offset"),
    )


def _text(name: str) -> pl.Expr:
    """A cell without surrounding blanks; null if empty."""
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(text)


def _identify(row_filter: RowFilter) -> None:
    """Numeric ids: ``002-1039`` becomes 2 000 001 039, which no other patient has. 002 is a network of hospitals."""
    network, number = (pl.col("patient").str.extract(r"^(\d{1,4})-(\d{1,8})$", group) for group in (1, 2))
    subject = network.cast(pl.Int64) * 1_000_000_000 + number.cast(pl.Int64)
    row_filter.frame = row_filter.frame.with_columns(subject_id=subject, network=network)
    row_filter.reject_missing("stay_id", "hadm_id")
    row_filter.reject(pl.col("subject_id").is_null(), "uniquepid is not of the form 002-1039")


def _minutes(start: str, *offsets: str) -> pl.Expr:
    """``start`` plus the first offset, minus the others."""
    first, *others = (pl.col(offset) for offset in offsets)
    for other in others:
        first = first - other
    return pl.col(start) + pl.duration(minutes=first)


def _with_times(rows: pl.DataFrame) -> pl.DataFrame:
    clock = pl.col("admit_clock").str.to_time("%H:%M:%S", strict=False)
    admitted = pl.date(pl.col("year"), 1, 1).dt.combine(clock).cast(pl.Datetime("ms"))
    age = pl.col("age").str.strip_chars()
    rows = rows.with_columns(
        admittime=admitted,
        age=pl.when(age.str.starts_with(">")).then(_OLDEST).otherwise(age.cast(pl.Float64, strict=False)),
    )
    rows = rows.with_columns(intime=pl.col("admittime") - pl.duration(minutes=pl.col("admit_offset")))
    return rows.with_columns(outtime=_minutes("intime", "leave_offset"))
