"""ICD codes of ``condition_occurrence`` and ``observation``: by the source concept, else by the source value."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import polars as pl

from clinragen.icd import code_map, normalise
from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables
from mimic_prep.releases.omop.settings import OmopSettings
from mimic_prep.releases.omop.tables import CODED_OBSERVATIONS, CONDITIONS
from mimic_prep.releases.omop.vocabulary import OWN, Vocabulary
from mimic_prep.tables import Derivation, Table

_PREFIX = r"(?i)^\s*ICD[ _-]?(9|10)[A-Z _-]*[:|/#^ ]+"
_SHAPE = r"^(?:\d{3,5}|[A-Z]\d[0-9A-Z]{1,5})$"
_OUTSIDE = "diagnosis outside any visit: gives no label"
_CHARTED = "charted beside billing diagnoses: gives no label"


def read_diagnoses(
    raw: RawTables, settings: OmopSettings, vocabulary: Vocabulary, visits: pl.DataFrame, subjects: pl.Series
) -> pl.DataFrame:
    """subject_id, hadm_id, position, code, version, dischtime of the patients' coded diagnoses."""
    parts = [_read(raw, table, settings, vocabulary, subjects) for table in (CONDITIONS, CODED_OBSERVATIONS)]
    rows = pl.concat(parts)
    placed = _in_visits(rows, visits)
    raw.remark(CONDITIONS, Counter({_OUTSIDE: rows.height - placed.height}) + Counter())
    coded = _versioned(placed)
    ends = visits.group_by("hadm_id").agg(pl.col("dischtime").max())
    coded = coded.join(ends, on="hadm_id", how="left", maintain_order="left")
    position = pl.lit(None, dtype=pl.Int64)
    columns = ["subject_id", "hadm_id", position.alias("position"), "code", "version", "dischtime"]
    return coded.select(columns).unique().sort("subject_id", "hadm_id", "code", "version")


def _read(
    raw: RawTables, table: Table, settings: OmopSettings, vocabulary: Vocabulary, subjects: pl.Series
) -> pl.DataFrame:
    billing = list(settings.billing_types)
    for first, last in settings.billing_ranges:
        billing += range(first, last + 1)
    is_billing = pl.col("type").is_in(billing).fill_null(False)
    codes = pl.DataFrame(
        [(concept, code, version) for concept, (code, version) in vocabulary.icd.items()],
        schema={"source_concept": pl.Int64, "coded": pl.String, "version": pl.Int64}, orient="row",
    )  # fmt: skip

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("subject_id")
        row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
        row_filter.skip(pl.col("type").is_in(settings.not_diagnosis_types), "problem list, or told by the patient")
        frame = row_filter.frame.join(codes, on="source_concept", how="left", maintain_order="left")
        stated = pl.col("source").str.extract(_PREFIX).cast(pl.Int64)
        written = normalise(pl.col("source").str.replace(_PREFIX, ""))
        row_filter.frame = frame.with_columns(
            code=pl.coalesce(normalise(pl.col("coded")), pl.when(written.str.contains(_SHAPE)).then(written)),
            version=pl.coalesce("version", stated, _by_concept(settings)),
            billing=is_billing,
        )
        if table is CODED_OBSERVATIONS:  # most are no diagnoses, whatever their source value looks like
            row_filter.skip(pl.col("coded").is_null() & stated.is_null() & ~pl.col("billing"), "not a diagnosis")
        row_filter.skip(pl.col("code").is_null(), "no ICD code")

    rows = raw.read(replace(table, derived=Derivation(rules, "")))
    if rows["billing"].any():
        raw.remark(table, Counter({_CHARTED: int((~rows["billing"]).sum())}))
        rows = rows.filter("billing")
    return rows.select("subject_id", "hadm_id", "date", "code", pl.col("version").cast(pl.Int64))


def _by_concept(settings: OmopSettings) -> pl.Expr:
    """The version by the number of the source concept: all of ICD9CM have neighbouring ids."""
    if not settings.icd9_concepts:
        return pl.lit(None, dtype=pl.Int64)
    concept, (first, last) = pl.col("source_concept"), settings.icd9_concepts
    standard = concept.is_not_null() & (concept != 0) & (concept < OWN)
    version = pl.when(concept.is_between(first, last)).then(9).otherwise(10)
    return pl.when(standard).then(version).cast(pl.Int64)


def _in_visits(rows: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Diagnoses without a visit belong to the patient's latest one that began at or before their day and went on."""
    begun = visits.select(
        "subject_id", day=pl.col("admittime").dt.truncate("1d"), visit="hadm_id", left="dischtime"
    ).sort("day", "visit")  # fmt: skip
    rows = rows.with_columns(day=pl.col("date").dt.truncate("1d")).sort("day", "subject_id", "code", "version")
    rows = rows.join_asof(begun, on="day", by="subject_id", strategy="backward", check_sortedness=False)
    visit = pl.when((pl.col("day") <= pl.col("left")).fill_null(True)).then("visit")
    return rows.with_columns(hadm_id=pl.coalesce("hadm_id", visit)).drop_nulls("hadm_id")


def _versioned(rows: pl.DataFrame) -> pl.DataFrame:
    """``version`` of every code: as stated, else the one that has the code, else that of the visit's other codes."""
    distinct = rows.filter(pl.col("version").is_null())["code"].unique().to_list()
    only = {code: version for code in distinct if (version := _sole_version(code))}
    sole = (
        pl.col("code").replace_strict(only, default=None, return_dtype=pl.Int64)
        if only
        else pl.lit(None, dtype=pl.Int64)
    )
    rows = rows.with_columns(version=pl.coalesce("version", sole))
    usual = rows.group_by("hadm_id").agg(usual=pl.col("version").drop_nulls().mean().round())
    rows = rows.join(usual, on="hadm_id", how="left", maintain_order="left")
    return rows.with_columns(version=pl.coalesce("version", pl.col("usual").cast(pl.Int64), pl.lit(10))).drop("usual")


def _sole_version(code: str) -> int | None:
    """The one ICD version that has a code; None if both have, or neither."""
    versions = [version for version in (9, 10) if (mapping := code_map(version)) is not None and mapping.has_any(code)]
    return versions[0] if len(versions) == 1 else None
