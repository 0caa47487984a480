"""The FHIR export of 30 patients of the MIMIC-IV demo gives the cohort of their raw tables; differences by cause."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mimic_prep.cli import main

EMERGENCY = "vital signs of the emergency department, which the raw tables lack"
LOST_HOUR = "a time in the hour that summer time leaves out, which the export moved"
VITALS = {"heart_rate", "respiratory_rate", "spo2", "systolic_bp", "diastolic_bp", "temperature"}
#: nights on which summer time began
NIGHTS = (datetime(2116, 3, 8), datetime(2137, 3, 10))
WINDOWS = {"first 48 hours": [], "whole stay": ["--protocol", "paper"]}


@pytest.fixture(scope="module", params=WINDOWS)
def cohorts(shared, tmp_path_factory, request) -> tuple[Path, Path]:
    """From FHIR, and from the raw tables."""
    folder = tmp_path_factory.mktemp("cohorts")
    given = WINDOWS[request.param]
    for command, name in (("fhir", "fhir-mimic-iv-demo-30"), ("mimic-iv", "mimic-iv-demo")):
        assert (
            main([command, "--raw", str(shared(name)), "--out", str(folder / command), "--workers", "1", *given]) == 0
        )
    return folder / "fhir", folder / "mimic-iv"


def _both(cohorts: tuple[Path, Path], table: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    ours, raw = (pl.read_parquet(cohort / f"{table}.parquet") for cohort in cohorts)
    stays = pl.read_parquet(cohorts[0] / "stays.parquet")["stay_id"]
    return ours, raw.filter(pl.col("stay_id").is_in(stays.implode()))


def _cause(row: dict) -> str:
    time = row["intime"] + timedelta(hours=row["hour"])
    if any(timedelta(0) <= time - night <= timedelta(hours=4) for night in NIGHTS):
        return LOST_HOUR
    if row["value_raw"] is None and row["variable"] in VITALS:
        return EMERGENCY
    return f"unexplained: {row['variable']} hour {row['hour']}"


def test_stays_and_their_times_are_equal(cohorts):
    ours, raw = _both(cohorts, "stays")
    assert ours.height == raw.height == 36
    same = [name for name in ours.columns if name not in ("age", "split")]
    assert ours.select(same).equals(raw.select(same))
    # the raw tables have whole years, the export a made-up day of birth
    assert (ours["age"] - raw["age"]).abs().max() < 1.01


def test_labels_and_outcomes_are_equal(cohorts):
    ours, raw = _both(cohorts, "labels")
    assert ours.equals(raw)
    ours, raw = _both(cohorts, "outcomes")
    assert ours.drop("death_time").equals(raw.drop("death_time"))
    assert ours["death_time"].null_count() == ours.height  # the export has the day of a death, not its time


def test_hourly_values_are_equal_and_each_difference_has_a_cause(cohorts):
    ours, raw = _both(cohorts, "series")
    key = ["stay_id", "hour", "variable"]
    both = ours.join(raw, on=key, how="full", coalesce=True, suffix="_raw")
    different = both.filter(pl.col("value").ne_missing(pl.col("value_raw")))
    different = different.join(pl.read_parquet(cohorts[0] / "stays.parquet").select("stay_id", "intime"), on="stay_id")
    causes = Counter(_cause(row) for row in different.iter_rows(named=True))
    assert causes.pop(EMERGENCY) == 18
    assert causes.keys() <= {LOST_HOUR}, causes
    assert causes[LOST_HOUR] <= 104  # 48 laboratory and 56 chart rows of all patients
    assert raw.height > 17_000
