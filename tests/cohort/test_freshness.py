"""Ages of values, lags of sites and weights by age, against numbers worked out by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.cohort import freshness
from clinragen.cohort.folder import Cohort
from clinragen.schema import CohortPaths

START = datetime(2150, 3, 1, 7, 30)
SERIES = {"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32}
WRITTEN = ("series.parquet", "stays.parquet", "sites.parquet", "orders.parquet", "manifest.json")
PERIODS = ("2008 - 2010", "2014 - 2016", None)


@pytest.fixture
def cohort_of(hospital, restamp, tmp_path):
    """``cohort_of(rows, window, prediction)``: three stays, with rows (index of the stay, hour, variable)."""

    def make(rows, window=None, prediction=48.0) -> Cohort:
        for path in hospital.cohort.iterdir():
            if path.name not in WRITTEN and not (tmp_path / path.name).exists():
                (tmp_path / path.name).symlink_to(path)
        paths, there = CohortPaths(tmp_path), CohortPaths(hospital.cohort)
        end = pl.lit(START + timedelta(hours=prediction), dtype=pl.Datetime("ms"))
        stays = pl.read_parquet(there.stays).sort("stay_id").head(3)
        stays = stays.with_columns(intime=pl.lit(START, dtype=pl.Datetime("ms")), outtime=end, prediction_time=end)
        stays.write_parquet(paths.stays)
        ids = stays["stay_id"].to_list()
        table = [(ids[at], hour, name, 1.0) for at, hour, name in rows]
        pl.DataFrame(table, schema=SERIES, orient="row").write_parquet(paths.series)
        sites = pl.DataFrame({"stay_id": ids, "hospital": ["b", "a", "a"], "network": ["n"] * 3, "period": PERIODS})
        sites.write_parquet(paths.sites)
        orders = pl.read_parquet(there.orders).head(3).with_columns(
            stay_id=pl.Series(ids), kind=pl.lit("order"), start=pl.lit(START, dtype=pl.Datetime("ms")),
            entered=pl.Series([START + timedelta(hours=4), START - timedelta(hours=2), None], dtype=pl.Datetime("ms")),
        )  # fmt: skip
        orders.write_parquet(paths.orders)
        manifest = json.loads(there.manifest.read_text())
        manifest["protocol"]["window"] = window or {"kind": "first", "hours": 48}
        paths.manifest.write_text(json.dumps(manifest))
        restamp(tmp_path)
        return Cohort.load(tmp_path)

    return make


def ages_of(cohort: Cohort) -> list[tuple]:
    """The ages with the index of each stay in place of its id."""
    order = {stay: index for index, stay in enumerate(cohort.stays["stay_id"])}
    return [(order[stay], *rest) for stay, *rest in freshness.ages(cohort).iter_rows()]


def test_ages_are_those_worked_out_by_hand(cohort_of):
    cohort = cohort_of([(0, 10, "lactate"), (0, 4, "lactate"), (0, 29, "lactate"), (1, 47, "sodium")])
    assert ages_of(cohort) == [
        # 6 h, 19 h and again 19 h without a newer value, since hour 4
        (0, "lactate", 29.0, 19.0, pytest.approx((6**2 + 19**2 + 19**2) / 2 / 44), 4.0),
        (0, "sodium", None, None, None, 48.0),
        (1, "lactate", None, None, None, 48.0),
        (1, "sodium", 47.0, 1.0, 0.5, 47.0),
        (2, "lactate", None, None, None, 48.0),
        (2, "sodium", None, None, None, 48.0),
    ]


def test_a_value_of_the_prediction_time_itself_is_new_and_a_later_one_is_not_there(cohort_of):
    cohort = cohort_of([(0, 30, "lactate"), (0, 30.5, "lactate"), (1, 30.5, "lactate")], prediction=30)
    rows = ages_of(cohort)
    assert rows[0] == (0, "lactate", 30.0, 0.0, 0.0, 30.0)
    assert rows[1] == (1, "lactate", None, None, None, 30.0)


def test_the_last_hours_begin_where_they_are_read(cohort_of):
    cohort = cohort_of([(0, 60, "lactate"), (1, 48, "sodium")], {"kind": "last", "hours": 24}, prediction=72.5)
    unmeasured = {row[:2]: row[-1] for row in ages_of(cohort)}
    assert unmeasured[0, "lactate"] == 11.5  # read from hour 48.5
    assert unmeasured[1, "sodium"] == 0.0  # of the hour in which the window begins
    assert unmeasured[2, "sodium"] == 24.0


def test_a_large_cohort_is_read_in_blocks_to_the_same_ages(hospital, monkeypatch):
    cohort = Cohort.load(hospital.cohort)
    whole = freshness.ages(cohort)
    monkeypatch.setattr(freshness, "_BLOCK", 7)
    assert freshness.ages(Cohort.load(hospital.cohort)).equals(whole)


def test_ages_of_a_hospital_are_the_average_of_the_age_at_every_minute(hospital):
    """The integral of the definition, counted in SQL minute by minute, for one variable of ten stays."""
    paths = CohortPaths(hospital.cohort)
    counted = duckdb.sql(f"""
        WITH minute AS (
            SELECT stay_id, unnest(range(0, date_diff('minute', intime, prediction_time))) / 60.0 + 1 / 120.0 AS hour
            FROM (SELECT * FROM '{paths.stays}' ORDER BY stay_id LIMIT 10)
        )
        SELECT minute.stay_id, avg(minute.hour - series.hour) FROM minute ASOF JOIN
            (SELECT stay_id, hour::DOUBLE AS hour FROM '{paths.series}' WHERE variable = 'potassium') AS series
            ON minute.stay_id = series.stay_id AND minute.hour >= series.hour
        GROUP BY minute.stay_id
    """).fetchall()
    ages = freshness.ages(Cohort.load(hospital.cohort)).filter(pl.col("variable") == "potassium")
    ours = dict(ages.select("stay_id", "mean_age_hours").iter_rows())
    assert len(counted) >= 8
    assert {stay: ours[stay] for stay, _ in counted} == pytest.approx(dict(counted), abs=0.02)


def test_sites_are_as_late_as_their_stays_orders_and_years(cohort_of):
    cohort = cohort_of([(0, 29, "lactate"), (1, 47, "lactate"), (2, 41, "lactate"), (2, 45, "sodium")])
    rows = freshness.lags(cohort).rows(named=True)
    assert [row["hospital"] for row in rows] == ["a", "b"]
    first, second = rows
    assert (first["stays"], first["measured"], first["age_hours"]) == (2, 0.75, 3.0)  # of 1 h, 7 h and 3 h
    assert (second["stays"], second["measured"], second["age_hours"]) == (1, 0.5, 19.0)
    assert (first["order_hours"], second["order_hours"]) == (-2.0, 4.0)
    assert (first["years"], second["years"]) == (0.0, 6.0)


def test_a_cohort_without_sites_and_orders_has_one_row_that_does_not_say(cohort_of, restamp, tmp_path):
    cohort_of([(0, 29, "lactate")])
    for name in ("sites.parquet", "orders.parquet"):
        (tmp_path / name).unlink()
    restamp(tmp_path)
    (row,) = freshness.lags(Cohort.load(tmp_path)).rows(named=True)
    assert (row["hospital"], row["stays"], row["years"], row["order_hours"]) == (None, 3, None, None)


def test_the_command_tells_ages_by_variable_and_by_site(cohort_of, command, tmp_path, capsys):
    cohort_of([(0, 29, "lactate"), (1, 47, "lactate")])
    assert command("clinragen", "freshness", "--cohort", tmp_path, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "variable": "lactate", "measured": pytest.approx(2 / 3), "age_25": 5.5, "age_50": 10.0, "age_75": 14.5,
        "mean_age": 5.0, "unmeasured": 38.0,
    }  # fmt: skip
    assert command("clinragen", "freshness", "--cohort", tmp_path, "--by", "site") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[:2] in (" a", " b")] == ["a", "b"]


@given(st.lists(st.floats(0, 20) | st.just(np.nan), min_size=1, max_size=12), st.floats(0, 8))
def test_older_never_weighs_more_and_the_mean_is_one(age, strength):
    ages = np.array(age)
    weights = freshness.weights(ages, strength)
    assert weights.mean() == pytest.approx(1)
    dated = np.isfinite(ages)
    order = np.argsort(ages[dated])
    assert (np.diff(weights[dated][order]) <= 1e-9).all()


def test_without_strength_or_ages_all_weigh_alike():
    assert freshness.weights(np.array([0.0, 5.0, np.nan]), 0).tolist() == [1.0, 1.0, 1.0]
    assert freshness.weights(np.array([np.nan, np.nan]), 4).tolist() == [1.0, 1.0]


def test_a_weight_is_the_satisfaction_with_the_freshness():
    weights = freshness.weights(np.array([0.0, 3.0]), 2.0)
    assert weights[0] / weights[1] == pytest.approx((np.log(1 + 4) / np.log(2)) ** 2)
