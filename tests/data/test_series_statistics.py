"""The hourly grid and its summaries against independent recomputations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clinragen.catalog import variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window
from clinragen.data.series import SUMMARIES, SeriesStatistics, grid, observed_variables, summarise
from clinragen.schema import CohortPaths

CELLS = st.one_of(st.just(float("nan")), st.floats(-1e3, 1e3, width=32))
GRIDS = arrays(np.float32, (3, 2, 7), elements=CELLS)


@settings(deadline=None)
@given(GRIDS)
def test_summaries_equal_a_plain_recomputation(values):
    got = summarise(torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(np.isfinite(values))).numpy()
    for stay, name in np.ndindex(values.shape[:2]):
        seen = values[stay, name][np.isfinite(values[stay, name])]
        if len(seen) == 0:
            assert np.isnan(got[stay, name]).all()
            continue
        expected = {
            "mean": seen.astype(np.float64).mean(),
            "min": seen.min(),
            "max": seen.max(),
            "first": seen[0],
            "last": seen[-1],
            "count": len(seen),
        }
        np.testing.assert_allclose(got[stay, name], [expected[kind] for kind in SUMMARIES], rtol=1e-4, atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, (20, 2, 7), elements=CELLS), st.integers(2, 8))
def test_any_training_grid_gives_finite_statistics(values, bins):
    values[0, :, 0] = 1.0  # each variable is measured at least once
    fitted = SeriesStatistics.fit(values, ["creatinine", "heart_rate"], bins)
    edges = np.array(fitted.edges)
    assert edges.shape == (2, len(SUMMARIES), bins + 1)
    assert np.isfinite(edges).all()
    assert (np.diff(edges, axis=-1) >= 0).all()
    standardised, observed = fitted.standardise(values)
    assert np.isfinite(standardised).all()
    assert (np.abs(standardised) <= fitted.clip).all()
    assert (standardised[~observed] == 0).all()
    assert SeriesStatistics(**json.loads(json.dumps(fitted.to_json()))) == fitted


def test_the_grid_holds_the_cells_of_the_cohort(hospital):
    cohort = Cohort.load(hospital.cohort)
    stays = cohort.split("test")
    names = ["creatinine", "heart_rate", "sodium"]
    values = grid(cohort, stays, names, Window(24))
    table = pl.read_parquet(CohortPaths(hospital.cohort).series)
    expected = {
        (stay, name, int(hour)): value
        for stay, hour, name, value in table.select("stay_id", "hour", "variable", "value").iter_rows()
        if name in names and hour < 24 and stay in set(stays.tolist())
    }
    assert np.isfinite(values).sum() == len(expected) > 100
    for (stay, name, hour), value in expected.items():
        assert values[stays.tolist().index(stay), names.index(name), hour] == np.float32(value)


@pytest.fixture
def altered(hospital, restamp, tmp_path):
    """``altered(change)``: the cohort with another series table."""

    def make(change) -> Cohort:
        for path in hospital.cohort.iterdir():
            if path.name != "series.parquet":
                (tmp_path / path.name).symlink_to(path)
        change(pl.read_parquet(CohortPaths(hospital.cohort).series)).write_parquet(tmp_path / "series.parquet")
        restamp(tmp_path)
        return Cohort.load(tmp_path)

    return make


def test_rows_after_the_window_change_no_input(hospital, altered):
    cohort = Cohort.load(hospital.cohort)
    stays = cohort.split("train")
    late = pl.DataFrame({"stay_id": stays[:20], "hour": [48.0] * 10 + [48.5] * 10, "variable": ["lactate"] * 20})
    late = late.with_columns(pl.col("hour").cast(pl.Float32), value=pl.lit(29.0, dtype=pl.Float32))
    longer = altered(lambda table: pl.concat([table, late]))
    names = observed_variables(cohort, stays, 0.02, Window(48))
    assert observed_variables(longer, stays, 0.02, Window(48)) == names
    np.testing.assert_array_equal(grid(longer, stays, names, Window(48)), grid(cohort, stays, names, Window(48)))


def test_row_order_does_not_matter(hospital, altered):
    cohort = Cohort.load(hospital.cohort)
    stays = cohort.split("train")
    shuffled = altered(lambda table: table.sample(fraction=1.0, shuffle=True, seed=1))
    names = observed_variables(cohort, stays, 0.02, Window(48))
    np.testing.assert_array_equal(grid(shuffled, stays, names, Window(48)), grid(cohort, stays, names, Window(48)))


def test_variables_measured_only_after_the_window_are_left_out(altered):
    def change(table: pl.DataFrame) -> pl.DataFrame:
        return table.filter((pl.col("variable") != "lactate") | (pl.col("hour") >= 24))

    cohort = altered(change)
    stays = cohort.split("train")
    assert "lactate" not in observed_variables(cohort, stays, 0.02, Window(24))
    assert "lactate" in observed_variables(cohort, stays, 0.02, Window(48))


def test_every_variable_kept_is_in_the_catalogue(hospital):
    cohort = Cohort.load(hospital.cohort)
    names = observed_variables(cohort, cohort.split("train"), 0.02, Window(48))
    assert len(names) >= 30
    assert set(names) <= set(variables())
    assert names == sorted(names)
    assert isinstance(cohort.paths.root, Path)
