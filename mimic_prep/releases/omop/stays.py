"""Intensive care stays of an OMOP CDM: rows of ``visit_detail`` in such units, adjacent ones together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import time, timedelta

import polars as pl

from clinragen.errors import UserError
from mimic_prep.accounting import RowFilter
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.releases.omop.settings import OmopSettings
from mimic_prep.releases.omop.tables import CARE_SITES, DEATHS, PERSON, VISIT_DETAILS, VISITS
from mimic_prep.releases.omop.values import END_OF_DAY
from mimic_prep.site_settings import matches
from mimic_prep.tables import Table
from mimic_prep.unit_stays import merged

_MALE, _FEMALE = 8507, 8532
_MOST_NAMES = 12
_DAY = timedelta(hours=23, minutes=59, seconds=59)
_YEAR_DAYS = 365.2425


@dataclass(frozen=True)
class Visits:
    """The hospital visits of the patients with intensive care, and whether they have dates without times."""

    rows: pl.DataFrame
    dated: bool


def read_stays(raw: RawTables, settings: OmopSettings, attrition: Attrition) -> tuple[Population, bool]:
    """All stays, and whether the visits have dates without times.

    Raises:
        UserError: no row is in a unit of intensive care.
    """
    table = VISIT_DETAILS if raw.locate(VISIT_DETAILS) else replace(VISITS, part="units")
    sites = _care_sites(raw, settings)
    rows = _rows_in_units(raw, table, settings, sites)
    visits = _visits(raw, rows["subject_id"].unique().implode())
    if visits.dated:
        rows = _to_end_of_day(rows, "end")
    rows = _in_visits(rows, visits.rows)
    stays = merged(rows, ["subject_id", "hadm_id"], timedelta(minutes=settings.join_minutes))
    raw.remark(table, Counter({"joined to the row before it": rows.height - stays.height}))
    attrition.entered = stays.height
    stays = stays.drop("rows").rename({"start": "intime", "end": "outtime"})
    stays = attrition.exclude(stays, ~pl.col("stay_id").is_first_distinct(), "stay id seen before")
    stays = stays.join(visits.rows.drop("subject_id"), on="hadm_id", how="left", maintain_order="left")
    stays = attrition.exclude(stays, pl.col("admittime").is_null(), "visit not in the table of visits")
    stays = stays.join(_persons(raw, stays), on="subject_id", how="left", maintain_order="left")
    stays = attrition.exclude(stays, pl.col("listed").is_null(), "person not in the table of persons")
    columns = [
        "stay_id", "subject_id", "hadm_id", "intime", "outtime", "admittime", "dischtime", _age(), "sex", "care_unit",
        pl.lit(None, dtype=pl.String).alias("admission_type"), "admission_location",
    ]  # fmt: skip
    admissions = visits.rows.select("hadm_id", "subject_id", "admittime", "dischtime")
    outcomes = _outcomes(raw, stays, settings)
    return Population(stays.select(columns), admissions, outcomes, _hospitals(stays, sites)), visits.dated


def _care_sites(raw: RawTables, settings: OmopSettings) -> pl.DataFrame:
    """care_site, care_unit (its name), intensive, other; each id once."""
    sites = raw.read(CARE_SITES, lambda rows: rows.reject_missing("care_site"))
    sites = sites.with_columns(care_unit=pl.coalesce("care_unit", "unit_source").str.strip_chars())
    placed = pl.col("place").is_in(settings.icu_concepts).fill_null(False)
    sites = sites.select(
        "care_site", "care_unit", intensive=matches("care_unit", settings.icu_units) | placed,
        other=matches("care_unit", settings.other_units),
    )  # fmt: skip
    return sites.sort("care_site", "care_unit", "intensive", "other").unique(
        "care_site", keep="first", maintain_order=True
    )


def _hospitals(stays: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """stay_id and hospital: the care site of the visit by its name, else its id; none if it is a unit itself.

    The care site of ``visit_detail`` is the ward; that of the visit, in most exports, the hospital. Where an export has
    visits of a unit alone, that unit is their care site.
    """
    named = sites.select("care_site", name="care_unit", unit=pl.col("intensive") | pl.col("other"))
    rows = stays.select("stay_id", "care_site").join(named, on="care_site", how="left", maintain_order="left")
    stated = pl.when(pl.col("care_site") != 0).then(pl.col("care_site").cast(pl.String))  # 0: none, as of concepts
    hospital = pl.coalesce("name", stated)
    return rows.select("stay_id", hospital=pl.when(~pl.col("unit").fill_null(False)).then(hospital))


def _rows_in_units(raw: RawTables, table: Table, settings: OmopSettings, sites: pl.DataFrame) -> pl.DataFrame:
    """Distinct rows in units of intensive care: subject_id, hadm_id, start, end, stay_id, care_unit."""

    def rules(row_filter: RowFilter) -> None:
        if "stay_id" not in table.columns:
            row_filter.frame = row_filter.frame.with_columns(stay_id="hadm_id")
        row_filter.frame = row_filter.frame.join(sites, on="care_site", how="left", maintain_order="left")
        intensive = pl.col("intensive").fill_null(False) | pl.col("concept").is_in(settings.icu_concepts).fill_null(
            False
        )
        row_filter.skip(~intensive | pl.col("other").fill_null(False), "not a unit of intensive care")
        row_filter.reject_missing("subject_id", "stay_id")
        _add_span(row_filter)

    rows = raw.read(table, rules).select("subject_id", "hadm_id", "start", "end", "stay_id", "care_unit")
    if not rows.height:
        names = sites["care_unit"].drop_nulls().unique().sort().head(_MOST_NAMES).to_list()
        listed = f"; the care sites are called {', '.join(names)}" if names else ""
        raise UserError(
            f"{raw.shown}: no usable row of {table.name} is known to be in intensive care{listed}; say which are, as "
            "icu_concepts or icu_units, in a file of changes to configs/omop/default.yaml, passed with --concepts"
        )
    return rows.unique()


def _add_span(row_filter: RowFilter) -> None:
    """``start`` and ``end``: a date without a time begins at midnight, and ends with the day."""
    end = pl.coalesce("end_time", pl.col("end_date") + END_OF_DAY).cast(pl.Datetime("ms"))
    row_filter.frame = row_filter.frame.with_columns(start=pl.coalesce("start_time", "start_date"), end=end)
    row_filter.reject(pl.col("start").is_null(), "no start")
    row_filter.reject(pl.col("end") < pl.col("start"), "ends before it starts")


def _visits(raw: RawTables, subjects: pl.Series) -> Visits:
    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("subject_id", "hadm_id")
        row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient without intensive care")
        _add_span(row_filter)

    rows = raw.read(VISITS, rules).drop("line")
    rows = rows.sort("hadm_id", *(name for name in rows.columns if name != "hadm_id"))
    rows = rows.unique("hadm_id", keep="first", maintain_order=True).select(
        "hadm_id", "subject_id", "care_site", admittime="start", dischtime="end",
        admission_location=pl.coalesce("from_word", "from_word_54"),
        to=pl.coalesce("to", "to_54"), to_word=pl.coalesce("to_word", "to_word_54"),
    )  # fmt: skip
    times = pl.concat([rows["admittime"], rows["dischtime"]]).drop_nulls().dt.time()
    dated = bool(times.is_in([time(0), time(23, 59, 59)]).all())
    return Visits(_to_end_of_day(rows, "dischtime") if dated else rows, dated)


def _to_end_of_day(rows: pl.DataFrame, end: str) -> pl.DataFrame:
    return rows.with_columns((pl.col(end).dt.truncate("1d") + _DAY).alias(end))


def _in_visits(rows: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Rows without a visit belong to the patient's latest one that began at or before them and had not ended."""
    begun = visits.sort("admittime", "hadm_id").select("subject_id", "admittime", "dischtime", visit="hadm_id")
    placed = rows.sort("start").join_asof(
        begun, left_on="start", right_on="admittime", by="subject_id", strategy="backward", check_sortedness=False
    )
    inside = (pl.col("start") <= pl.col("dischtime")).fill_null(True)
    return placed.with_columns(hadm_id=pl.coalesce("hadm_id", pl.when(inside).then("visit"))).select(rows.columns)


def _persons(raw: RawTables, stays: pl.DataFrame) -> pl.DataFrame:
    """subject_id, listed, sex, birth (if the day is known), year (of birth)."""
    subjects = stays["subject_id"].unique().implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("subject_id")
        row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient without intensive care")

    rows = raw.read(PERSON, rules).drop("line").unique()
    several = rows.height - rows["subject_id"].n_unique()
    raw.remark(PERSON, +Counter({"another row of the person, which differs: the first in order counts": several}))
    rows = rows.sort(*rows.columns).unique("subject_id", keep="first", maintain_order=True)
    sex = (
        pl.when(pl.col("gender") == _MALE)
        .then(pl.lit("M"))
        .when(pl.col("gender") == _FEMALE)
        .then(pl.lit("F"))
        .otherwise("sex_word")
    )
    birth = pl.coalesce("birth", pl.datetime("year", "month", "day", time_unit="ms"))
    return rows.select("subject_id", "year", listed=pl.lit(True), sex=sex, birth=birth)


def _age() -> pl.Expr:
    """Age at the start of intensive care: from the day of birth, else from its year."""
    exact = (pl.col("intime") - pl.col("birth")).dt.total_days() / _YEAR_DAYS
    return pl.coalesce(exact, (pl.col("intime").dt.year() - pl.col("year")).cast(pl.Float64)).alias("age")


def _outcomes(raw: RawTables, stays: pl.DataFrame, settings: OmopSettings) -> pl.DataFrame:
    """Death within the visit, by the disposition or the table of deaths; null if the export tells neither."""
    subjects = stays["subject_id"].unique().implode()

    def rules(row_filter: RowFilter) -> None:
        row_filter.reject_missing("subject_id")
        row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient without intensive care")

    deaths = raw.read(DEATHS, rules).select(
        "subject_id", death="death_time", death_date=pl.coalesce("death_date", "death_time")
    )
    deaths = deaths.sort("subject_id", "death", "death_date", nulls_last=True)
    deaths = deaths.unique("subject_id", keep="first", maintain_order=True)
    rows = stays.join(deaths, on="subject_id", how="left", maintain_order="left")
    left, came, date = pl.col("dischtime"), pl.col("admittime").dt.date(), pl.col("death_date").dt.date()
    disposition = pl.col("to").is_in(settings.died) | matches("to_word", settings.died_words)
    stated = pl.when(disposition.fill_null(False)).then(True).when(_is_elsewhere()).then(False)
    within = (date >= came) & (date <= left.dt.date())
    tells_deaths = bool(deaths.height)
    by_date = pl.when(date.is_not_null()).then(within).when(pl.lit(tells_deaths) & left.is_not_null()).then(False)
    died = pl.coalesce(stated, by_date)
    exact = pl.col("death").dt.time() != pl.time(0, 0)
    return rows.select(
        "stay_id", died_in_hospital=died,
        death_time=pl.when(died & within & exact).then("death").cast(pl.Datetime("ms")), hospital_outtime=left,
    )  # fmt: skip


def _is_elsewhere() -> pl.Expr:
    """The patient went to some place: a disposition other than death."""
    return ((pl.col("to").is_not_null() & (pl.col("to") != 0)) | pl.col("to_word").is_not_null()).fill_null(False)
