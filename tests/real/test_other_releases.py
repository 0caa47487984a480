"""The MIMIC-III demo (20 of its patients) and the eICU demo (with its hourly grid)."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from clinragen.catalog import phenotypes, variables
from mimic_prep.cli import main

pytestmark = pytest.mark.real


def _prepare(command: str, raw: Path, out: Path) -> dict:
    assert main([command, "--raw", str(raw), "--out", str(out)]) == 0
    return json.loads((out / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("command", "folder", "entered", "kept"),
    [("mimic-iii", "mimic-iii-demo-20", 25, 24), ("eicu", "eicu-demo", 2028, 1734)],
)
def test_every_stay_and_row_is_accounted_for_and_a_second_run_is_identical(
    shared, tmp_path, command, folder, entered, kept
):
    manifest = _prepare(command, shared(folder), tmp_path / "first")
    attrition = manifest["attrition"]
    assert attrition["entered"] == entered
    assert attrition["kept"] == kept == entered - sum(step["stays"] for step in attrition["excluded"])
    stays = pl.read_parquet(tmp_path / "first" / "stays.parquet")
    for table in ("series", "notes", "labels"):
        rows = pl.read_parquet(tmp_path / "first" / f"{table}.parquet")
        assert rows.join(stays, on="stay_id", how="anti").is_empty(), table
    for table, account in manifest["tables"].items():
        lost = sum(account["out_of_scope"].values()) + sum(account["quarantined"].values())
        assert account["read"] == account["kept"] + lost, table
    _prepare(command, shared(folder), tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_eicu_values_are_those_of_the_grid(shared, tmp_path):
    raw = shared("eicu-demo")
    _prepare("eicu", raw, tmp_path / "cohort")
    series = pl.read_parquet(tmp_path / "cohort" / "series.parquet")
    stays = pl.read_parquet(tmp_path / "cohort" / "stays.parquet")
    minutes = (pl.col("prediction_time") - pl.col("intime")).dt.total_minutes()
    grid = pl.read_parquet(raw / "hourly_dyn.parquet").with_columns(
        pl.col("stay_id").cast(pl.Int64), hour=pl.col("time").dt.total_hours(), minute=pl.col("time").dt.total_minutes()
    )
    grid = grid.join(stays.select("stay_id", limit=minutes), on="stay_id").filter(
        (pl.col("minute") >= 0) & (pl.col("minute") < pl.col("limit"))
    )
    pressures = {"systolic_bp", "diastolic_bp", "mean_bp"}  # also in the table of cuff pressures
    compared = 0
    for key, variable in variables().items():
        for column in variable.items.get("eicu", {}).get("hourly_dyn", {}) if key not in pressures else ():
            low, high = variable.plausible
            expected = (
                grid.select("stay_id", "hour", theirs=column)
                .drop_nulls()
                .filter(pl.col("theirs").round(variable.decimals + 3).is_between(low, high))
            )
            ours = series.filter(variable=key).select("stay_id", pl.col("hour").cast(pl.Int64), "value")
            both = expected.join(ours, on=["stay_id", "hour"], how="full")
            assert both.height == expected.height == ours.height, key
            assert ((both["theirs"] - both["value"]).abs() <= 1e-3 + 1e-5 * both["theirs"].abs()).all(), key
            compared += 1
    assert compared >= 40


def test_eicu_has_enough_of_most_phenotypes(shared, tmp_path):
    manifest = _prepare("eicu", shared("eicu-demo"), tmp_path / "cohort")
    counts = manifest["cohort"]["phenotypes"]
    assert set(counts) == set(phenotypes())
    assert sum(count >= 25 for count in counts.values()) >= 19
