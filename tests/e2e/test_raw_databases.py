"""The synthetic hospital from Parquet, DuckDB and PostgreSQL: the cohort of its csv.gz files, byte for byte."""

from __future__ import annotations

import pytest
import raw_databases

import clinragen


@pytest.mark.parametrize("form", ["parquet", "duckdb", "postgresql"])
def test_the_synthetic_hospital_gives_the_same_cohort_in_every_form(request, hospital, tmp_path, form):
    if form == "parquet":
        raw = raw_databases.to_parquet(hospital.raw, tmp_path / "parquet")
    elif form == "duckdb":
        raw = raw_databases.to_duckdb(hospital.raw, tmp_path / "mimic4.db", "mimiciv_")
    else:
        raw = request.getfixturevalue("postgresql").load(hospital.raw, "hospital", "mimiciv_")
    clinragen.prepare(raw, tmp_path / "cohort")
    assert raw_databases.same(hospital.cohort, tmp_path / "cohort", lines=form != "postgresql")
