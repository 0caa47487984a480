"""The audit by site: planted differences between hospitals are named, and chance alone is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from clinragen.artifacts import write_table
from clinragen.cohort.folder import Cohort
from clinragen.schema import SERIES, SITES, CohortPaths, labels_schema
from mimic_prep.audit import site_checks
from mimic_prep.audit.check import Check
from mimic_prep.audit.cohort_tables import CohortTables
from tests.mimic_prep.test_audit import _make, _seal

_SITE = pl.col("stay_id").cast(pl.String).replace_strict({str(n): "ABCD"[n % 4] for n in range(1, 301)})


@pytest.fixture
def audited(tmp_path: Path) -> Callable[..., dict[str, Check]]:
    """The checks of a cohort of 300 stays with sites, after ``change`` of one of its tables."""

    def run(sites: dict[str, pl.Expr], name: str = "", change=lambda table: table) -> dict[str, Check]:
        root = _make(tmp_path / "cohort")
        paths = CohortPaths(root)
        stays = Cohort.load(root).stays
        named = [sites.get(site, pl.lit(None, dtype=pl.String)).alias(site) for site in SITES.names[1:]]
        write_table(paths.sites, stays.select("stay_id", *named).to_arrow().cast(SITES))
        if name:
            path = root / f"{name}.parquet"
            schema = SERIES if name == "series" else labels_schema(pl.read_parquet(path).columns[1:])
            write_table(path, change(pl.read_parquet(path)).to_arrow().cast(schema))
        _seal(root)
        return {check.key: check for check in site_checks.sites(CohortTables.of(Cohort.load(root)))}

    return run


def _row(check: Check, name: str) -> dict:
    return dict(next(row for row in check.rows if row["name"] == name))


def test_chance_alone_is_not_named(audited):
    for seed in range(3):
        draw = random.Random(seed)
        drawn = {str(stay): draw.choice("ABC") for stay in range(1, 301)}
        checks = audited({"network": pl.col("stay_id").cast(pl.String).replace_strict(drawn)})
        assert list(checks) == ["networks"]
        assert checks["networks"].status == "pass"
        assert sum(row["stays"] for row in checks["networks"].rows) == 300


def test_a_hospital_that_charts_in_another_unit_is_named(audited):
    there = (_SITE == "B") & (pl.col("variable") == "glucose")
    checks = audited(
        {"hospital": _SITE},
        "series",
        lambda series: series.with_columns(pl.when(there).then(pl.col("value") / 18).otherwise("value").alias("value")),
    )
    check = checks["hospitals"]
    assert check.status == "warning"
    assert "in what seems another unit: B." in check.says
    assert _row(check, "B")["units"].startswith("glucose: median 6.")
    assert "(in mmol/l)" in _row(check, "B")["units"].lower()
    assert [row["units"] for row in check.rows if row["name"] != "B"] == ["", "", ""]


def test_a_hospital_that_never_charts_a_variable_is_named(audited):
    rarely = (_SITE == "D") & (pl.col("variable") == "weight")
    checks = audited({"hospital": _SITE}, "series", lambda series: series.filter(~rarely))
    assert _row(checks["hospitals"], "D")["charting"] == "weight: never, elsewhere 100%"
    assert checks["hospitals"].status == "note"


def test_periods_with_other_patients_are_named_in_order(audited):
    year = pl.when(pl.col("stay_id") <= 150).then(pl.lit("2014")).otherwise(pl.lit("2015"))
    late = (pl.col("stay_id") > 150) & (pl.col("stay_id") % 2 == 0)
    checks = audited(
        {"period": year}, "labels", lambda labels: labels.with_columns(septicemia=pl.col("septicemia") | late)
    )
    check = checks["periods"]
    assert [row["name"] for row in check.rows] == ["2014", "2015"]
    assert "septicemia: 20%, elsewhere 60%" in check.rows[0]["labels"]


def test_few_stays_are_counted_and_not_compared(audited):
    name = pl.when(pl.col("stay_id") < 10).then(pl.lit("small")).otherwise(pl.lit("large"))
    check = audited({"hospital": name})["hospitals"]
    assert [row["name"] for row in check.rows] == ["large"]
    assert "1 hospital with fewer than 20 stays is not compared." in check.says


def test_where_all_are_small_nothing_was_compared(audited):
    check = audited({"hospital": (pl.col("stay_id") // 10).cast(pl.String)})["hospitals"]
    assert check.status == "note"
    assert check.says == "None of 31 hospitals has 20 stays, so none is compared with the others."


def test_a_cohort_without_sites_passes(audited):
    checks = audited({"hospital": pl.lit("one")})
    assert {key: check.status for key, check in checks.items()} == {"sites": "pass"}
