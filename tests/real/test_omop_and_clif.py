"""The same 30 patients in OMOP, CLIF and MIMIC's raw tables: cohorts agree but for what an export lost, counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from clinragen.catalog import variables
from mimic_prep.cli import main

pytestmark = [pytest.mark.real, pytest.mark.slow]

_HOUR = 3_600_000


@pytest.fixture(scope="module")
def raw(shared) -> Path:
    return shared("mimic-iv-demo")


@pytest.fixture(scope="module")
def cohort(raw, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "cohort"
    settings = ["--set", "known_at=charttime"]  # OMOP has no times of entry
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(out), *settings]) == 0
    return out


@pytest.fixture(scope="module")
def omop(shared) -> Path:
    return shared("omop-mimic-iv-demo-30")


@pytest.fixture(scope="module")
def omop_cohort(omop, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("omop") / "cohort"
    settings = ["--concepts", "mimic", "--set", "known_at=charttime"]
    assert main(["omop", "--raw", str(omop), "--out", str(out), *settings]) == 0
    return out


def _text(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema_length=0)


@pytest.fixture(scope="module")
def omop_stays(cohort, omop, omop_cohort) -> pl.DataFrame:
    """theirs, ours (stay ids), and the columns of both of all stays of the 30 patients."""
    who = _text(omop / "person.csv.gz").select(
        subject_id=pl.col("person_id").cast(pl.Int64), patient=pl.col("person_source_value").cast(pl.Int64)
    )
    ours = pl.read_parquet(omop_cohort / "stays.parquet").join(who, on="subject_id").rename({"stay_id": "ours"})
    theirs = pl.read_parquet(cohort / "stays.parquet").rename({"subject_id": "patient", "stay_id": "theirs"})
    theirs = theirs.filter(pl.col("patient").is_in(who["patient"].implode()))
    return theirs.join(ours, on=["patient", "intime"], how="full", coalesce=True, suffix="_ours")


def test_every_stay_of_omop_has_the_times_the_age_and_the_sex_of_the_raw_tables(omop_stays):
    assert omop_stays.height == omop_stays["ours"].count() == omop_stays["theirs"].count() == 36
    for column in ("outtime", "prediction_time", "age", "sex"):
        assert omop_stays.filter(pl.col(column).ne_missing(pl.col(f"{column}_ours"))).is_empty(), column


def _joined(stays: pl.DataFrame, cohort: Path, other: Path, table: str) -> pl.DataFrame:
    theirs = pl.read_parquet(cohort / f"{table}.parquet").rename({"stay_id": "theirs"})
    ours = pl.read_parquet(other / f"{table}.parquet").rename({"stay_id": "ours"})
    return stays.select("theirs", "ours").join(theirs, on="theirs").join(ours, on="ours", suffix="_ours")


def test_outcomes_of_omop_are_those_of_the_raw_tables(omop_stays, cohort, omop_cohort):
    both = _joined(omop_stays, cohort, omop_cohort, "outcomes")
    for column in ("died_in_hospital", "death_time", "hospital_outtime"):
        assert both.filter(pl.col(column).ne_missing(pl.col(f"{column}_ours"))).is_empty(), column


def test_labels_of_omop_lack_only_those_of_the_absent_observation_table(omop_stays, cohort, omop_cohort, raw):
    """Codes that OMOP files under observation: V, E (of ICD-9) and Z, Y (of ICD-10)."""
    both = _joined(omop_stays, cohort, omop_cohort, "labels")
    labels = [name for name in both.columns if f"{name}_ours" in both.columns and name not in ("theirs", "ours")]
    lost = Counter({name: both.filter(pl.col(name) & ~pl.col(f"{name}_ours")).height for name in labels})
    assert sum(both.filter(~pl.col(name) & pl.col(f"{name}_ours")).height for name in labels) == 0
    assert +lost == {
        "conduction_disorders": 1, "coronary_atherosclerosis": 1, "diabetes_without_complication": 1,
        "other_liver_diseases": 1,
    }  # fmt: skip


def _hours(stays: pl.DataFrame, cohort: Path, other: Path) -> pl.DataFrame:
    """theirs, hour, variable, value, value_ours: hourly values of either, and of both."""
    pairs = stays.select("theirs", "ours")
    theirs = pl.read_parquet(cohort / "series.parquet").rename({"stay_id": "theirs"}).join(pairs, on="theirs")
    ours = pl.read_parquet(other / "series.parquet").rename({"stay_id": "ours"}).join(pairs, on="ours")
    return theirs.join(ours, on=["theirs", "hour", "variable"], how="full", coalesce=True, suffix="_ours")


def _different(hours: pl.DataFrame, tolerance: float = 1e-6) -> pl.DataFrame:
    near = (pl.col("value") - pl.col("value_ours")).abs() <= tolerance * pl.col("value").abs() + 1e-9
    return hours.filter(~near.fill_null(False))


def _events(table: pl.DataFrame, stays: pl.DataFrame, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    """theirs, hour, and ``columns`` of rows with ``patient`` and ``time``, each in the stay that holds it."""
    spans = stays.select("theirs", "patient", "intime", "prediction_time")
    rows = table.join(spans, on="patient").filter(
        (pl.col("time") >= pl.col("intime")) & (pl.col("time") < pl.col("prediction_time"))
    )
    hour = ((pl.col("time") - pl.col("intime")).dt.total_milliseconds() // _HOUR).cast(pl.Float64)
    return rows.select("theirs", hour.alias("hour"), **columns)


def _catalogued() -> dict[str, set[int]]:
    return {
        key: {int(item) for items in variable.items.get("mimic4", {}).values() for item in items}
        for key, variable in variables().items()
    }


def test_each_value_of_omop_that_differs_has_a_cause_in_the_export(omop_stays, cohort, omop_cohort, omop, raw):
    hours = _hours(omop_stays, cohort, omop_cohort)
    who = _text(omop / "person.csv.gz").select("person_id", patient=pl.col("person_source_value").cast(pl.Int64))
    measured = _text(omop / "measurement.csv.gz").join(who, on="person_id")
    measured = measured.with_columns(time=pl.col("measurement_datetime").str.to_datetime())
    item = pl.col("measurement_source_value").cast(pl.Int64, strict=False)
    columns = {"item": item, "concept": pl.col("measurement_concept_id").cast(pl.Int64),
               "number": pl.col("value_as_number").cast(pl.Float64)}  # fmt: skip
    there = _events(measured, omop_stays, columns)
    mapped = set(measured.select(item).to_series().drop_nulls())
    items, concepts = _catalogued(), {
        key: set(variable.items.get("omop", {}).get("measurement", {})) for key, variable in variables().items()
    }  # fmt: skip
    by_hour = dict(there.group_by("theirs", "hour"))
    charted = _raw_items(raw, omop_stays)

    def cause(stay: int, hour: float, variable: str) -> str:
        if variable == "urine_output":
            return "no urine output in the export"
        if variable == "pao2_fio2":
            return "derived from a value that differs"
        rows = by_hour.get((stay, hour), there.clear())
        mine = rows.filter(pl.col("concept").is_in(list(concepts[variable])))
        if set(mine["item"].drop_nulls()) - items[variable]:
            return "an item that is not read from the raw tables has the same concept"
        if mine.filter(pl.col("item").is_in(list(items[variable]))).group_by("concept").agg(
            pl.col("item").n_unique()
        ).filter(pl.col("item") > 1).height:  # fmt: skip
            return "items of different priority have one concept"
        if mine.height and mine["number"].null_count() == mine.height:
            return "the limit of the assay is in a comment that was left out"
        if charted.get((stay, hour), set()) & items[variable] - mapped:
            return "an item without a mapping was left out"
        return "unexplained"

    differing = _different(hours)
    causes = Counter(cause(*key) for key in differing.select("theirs", "hour", "variable").iter_rows())
    assert causes["unexplained"] == 0
    assert hours.height - differing.height == 16_002
    assert causes == {
        "no urine output in the export": 1011,
        "an item without a mapping was left out": 255,
        "an item that is not read from the raw tables has the same concept": 130,
        "items of different priority have one concept": 95,
        "the limit of the assay is in a comment that was left out": 15,
        "derived from a value that differs": 4,
    }


def _raw_items(raw: Path, stays: pl.DataFrame) -> dict[tuple[int, float], set[int]]:
    """(stay, hour) -> item ids that were charted in it."""
    parts = []
    for name in ("icu/chartevents", "hosp/labevents"):
        rows = _text(raw / f"{name}.csv.gz").with_columns(
            patient=pl.col("subject_id").cast(pl.Int64), time=pl.col("charttime").str.to_datetime()
        )
        parts.append(_events(rows, stays, {"item": pl.col("itemid").cast(pl.Int64)}))
    grouped = pl.concat(parts).group_by("theirs", "hour").agg(pl.col("item").unique())
    return {(stay, hour): set(ids) for stay, hour, ids in grouped.iter_rows()}


@pytest.fixture(scope="module")
def clif(shared) -> Path:
    return shared("clif-mimic-iv-demo-30")


@pytest.fixture(scope="module")
def clif_cohort(clif, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clif") / "cohort"
    settings = ["--categories", "mimic", "--clock=-5", "--set", "known_at=charttime"]
    assert main(["clif", "--raw", str(clif), "--out", str(out), *settings]) == 0
    return out


@pytest.fixture(scope="module")
def clif_stays(cohort, clif_cohort) -> pl.DataFrame:
    """theirs, ours (stay ids), and the columns of both of all stays of the 30 patients."""
    ours = pl.read_parquet(clif_cohort / "stays.parquet").rename({"stay_id": "ours", "subject_id": "patient"})
    theirs = pl.read_parquet(cohort / "stays.parquet").rename({"stay_id": "theirs", "subject_id": "patient"})
    theirs = theirs.filter(pl.col("patient").is_in(ours["patient"].unique().implode()))
    return theirs.join(ours, on=["patient", "hadm_id", "intime"], how="full", coalesce=True, suffix="_ours")


def test_every_stay_of_the_raw_tables_is_in_clif_with_its_times(clif_stays, raw):
    """CLIF was made from a later version of MIMIC-IV, with hospitalizations that the raw tables do not have."""
    admissions = _text(raw / "hosp/admissions.csv.gz")["hadm_id"].cast(pl.Int64)
    later = clif_stays.filter(~pl.col("hadm_id").is_in(admissions.implode()))
    assert later.height == 3
    stays = clif_stays.filter(pl.col("hadm_id").is_in(admissions.implode()))
    assert stays.height == stays["ours"].count() == stays["theirs"].count() == 36
    for column in ("outtime", "prediction_time", "age", "sex"):
        assert stays.filter(pl.col(column).ne_missing(pl.col(f"{column}_ours"))).is_empty(), column


def test_labels_and_outcomes_of_clif_are_those_of_the_raw_tables(clif_stays, cohort, clif_cohort):
    for table in ("labels", "outcomes"):
        both = _joined(clif_stays, cohort, clif_cohort, table)
        assert both.height == 36
        for column in [name for name in both.columns if f"{name}_ours" in both.columns]:
            assert both.filter(pl.col(column).ne_missing(pl.col(f"{column}_ours"))).is_empty(), column


def test_each_value_of_clif_that_differs_has_a_cause_in_the_export(clif_stays, cohort, clif_cohort, raw):
    stays = clif_stays.drop_nulls(["theirs", "ours"])
    hours = _hours(stays, cohort, clif_cohort)
    charted = _raw_items(raw, stays)
    catalogue = variables()

    def cause(row: dict) -> str:
        variable, value, ours = row["variable"], row["value"], row["value_ours"]
        tables = catalogue[variable].items
        if variable == "pao2_fio2":
            return "derived from a value that differs"
        if "clif" not in tables:
            return "no category in CLIF, or not in this export"
        if value is not None and ours is not None and abs(value - ours) <= 0.06:
            return "rounded when its unit was converted"
        if variable.startswith("gcs"):
            return "a score carried on in time" if value is None else "0 for the verbal score of an intubated patient"
        if variable in ("pao2", "paco2"):
            return "another judgement on whether the blood was arterial"
        items = charted.get((row["theirs"], row["hour"]), set())
        table = next(iter(tables["clif"]))
        elsewhere = set(tables["mimic4"].get("labevents" if table != "clif_labs" else "chartevents", {}))
        if elsewhere & items:
            return "from a table of which CLIF does not take this variable"
        if variable == "respiratory_rate" and 224690 in items:
            return "the rate that the ventilator counts is left out"
        if variable == "tidal_volume":
            return "another choice of items for the tidal volume"
        if variable == "bicarbonate" and 50803 in items:
            return "calculated by the gas analyser, which the export leaves out"
        if value is not None and ours is not None:
            return "items of one minute are in one category"
        return f"unexplained: {variable}"

    differing = _different(hours)
    causes = Counter(cause(row) for row in differing.iter_rows(named=True))
    assert hours.height - differing.height == 14_007
    assert causes == {
        "no category in CLIF, or not in this export": 2251,
        "0 for the verbal score of an intubated patient": 450,
        "rounded when its unit was converted": 428,
        "from a table of which CLIF does not take this variable": 240,
        "another judgement on whether the blood was arterial": 20,
        "the rate that the ventilator counts is left out": 11,
        "another choice of items for the tidal volume": 8,
        "derived from a value that differs": 8,
        "items of one minute are in one category": 8,
        "a score carried on in time": 5,
        "calculated by the gas analyser, which the export leaves out": 1,
    }
