"""The hours that a model reads are those of its cohort's window, for every kind of window."""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window, training_window
from clinragen.data.series import grid, observed_variables, rows_within
from clinragen.errors import UserError
from clinragen.schema import CohortPaths

START = datetime(2150, 3, 1, 7, 30)


@pytest.fixture
def cohort_of(hospital, restamp, tmp_path):
    """``cohort_of(window, rows, length)``: three stays of the hospital with other series, window and length."""

    def make(window, rows=(), length=60.0) -> Cohort:
        for path in hospital.cohort.iterdir():
            if (
                path.name not in ("series.parquet", "stays.parquet", "manifest.json")
                and not (tmp_path / path.name).exists()
            ):
                (tmp_path / path.name).symlink_to(path)
        paths = CohortPaths(tmp_path)
        stays = pl.read_parquet(CohortPaths(hospital.cohort).stays).sort("stay_id")
        end = pl.lit(START + timedelta(hours=length), dtype=pl.Datetime("ms"))
        start = pl.lit(START, dtype=pl.Datetime("ms"))
        stays.with_columns(intime=start, outtime=end, prediction_time=end).write_parquet(paths.stays)
        ids = stays["stay_id"].to_list()
        table = [(ids[at], float(hour), name, float(value)) for at, hour, name, value in rows]
        schema = {"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32}
        pl.DataFrame(table, schema=schema, orient="row").write_parquet(paths.series)
        manifest = json.loads(CohortPaths(hospital.cohort).manifest.read_text())
        if window is None:
            del manifest["protocol"]
        else:
            manifest["protocol"]["window"] = window
        paths.manifest.write_text(json.dumps(manifest))
        restamp(tmp_path)
        return Cohort.load(tmp_path)

    return make


@pytest.mark.parametrize(
    ("told", "length", "expected"),
    [
        ({"kind": "first", "hours": 48}, 60, Window(48)),
        ({"kind": "first", "hours": 24.0}, 60, Window(24)),
        ({"kind": "first", "hours": 36.5}, 60, Window(37)),
        ({"kind": "first", "hours": 0.25}, 60, Window(1)),
        ({"kind": "last", "hours": 24}, 60, Window(24, "last")),
        ({"kind": "whole", "hours": None}, 60, Window(111, "whole")),
        (None, 60, Window(111)),
    ],
)
def test_the_window_is_the_protocols(cohort_of, told, length, expected):
    assert Window.of(cohort_of(told, [(0, 3, "sodium", 140), (2, 110, "sodium", 141)], length)) == expected


@pytest.mark.parametrize(
    "told",
    [
        "48", [], {"kind": "first"}, {"kind": "first", "hours": None}, {"kind": "first", "hours": "48"},
        {"kind": "first", "hours": -1}, {"kind": "last", "hours": 0}, {"kind": "first", "hours": 1e12},
        {"kind": "middle", "hours": 48}, {"hours": 48}, {"kind": "first", "hours": True},
    ],
)  # fmt: skip
def test_a_window_that_makes_no_sense_is_an_error_that_names_the_manifest(cohort_of, told):
    with pytest.raises(UserError, match=r"manifest\.json: protocol\.window is damaged"):
        Window.of(cohort_of(told))


@settings(deadline=None)
@given(st.integers(1, 6000), st.sampled_from(["first", "last", "whole"]))
def test_every_hour_of_the_window_has_one_bin_and_spans_join(hours, kind):
    window = Window(hours, kind)
    read = np.arange(hours)
    found = window.bin_of(read)
    assert (found >= 0).all()
    assert (np.diff(found) >= 0).all()
    for hour, cell in list(zip(read.tolist(), found.tolist(), strict=True))[:: max(1, hours // 50)]:
        start, end = window.span(cell, cell + 1)
        assert start <= hour < end
    spans = [window.span(cell, cell + 1) for cell in range(window.bins)]
    assert spans[0][0] == 0
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))


def test_whole_stays_are_read_to_the_end_in_bins_that_widen(cohort_of):
    rows = [(0, hour, "sodium", 100 + hour) for hour in (0, 47, 48, 53, 54, 167, 168, 191, 192, 400)]
    cohort = cohort_of({"kind": "whole", "hours": None}, rows, 401)
    window = Window.of(cohort)
    assert window.bins == 48 + 20 + 10
    values = grid(cohort, cohort.stays["stay_id"].to_numpy(), ["sodium"], window)[0, 0]
    seen = {int(window.starts[cell]): float(values[cell]) for cell in np.flatnonzero(np.isfinite(values))}
    assert seen == {0: 100, 47: 147, 48: 150.5, 54: 154, 162: 267, 168: 279.5, 192: 292, 384: 500}
    shorter = Window(200, "whole")  # a model that learned from shorter stays: its last bin takes what comes later
    late = grid(cohort, cohort.stays["stay_id"].to_numpy(), ["sodium"], shorter)[0, 0]
    assert late[-1] == np.float32((292 + 500) / 2)


def test_half_a_year_in_the_unit_stays_cheap():
    assert Window(24 * 180, "whole").bins < 250


def test_the_last_hours_are_read_wherever_they_lie(cohort_of):
    """A stay of 400.5 hours: its last 24 begin in hour 376, which is read, as the preparation lets it be."""
    rows = [(0, 10, "sodium", 120), (0, 375, "sodium", 130), (0, 376, "sodium", 140), (0, 400, "sodium", 150)]
    cohort = cohort_of({"kind": "last", "hours": 24}, rows, 400.5)
    stays, window = cohort.stays["stay_id"].to_numpy(), Window.of(cohort)
    assert window.first_hours(cohort, stays)[0] == 376
    values = grid(cohort, stays, ["sodium"], window)[0, 0]
    assert {cell: values[cell] for cell in np.flatnonzero(np.isfinite(values))} == {0: 140, 24: 150}
    assert rows_within(cohort, stays, None, window)["hour"].to_list() == [376, 400]
    short = cohort_of({"kind": "last", "hours": 24}, [(0, 0, "sodium", 120), (0, 5, "sodium", 121)], 6)
    assert np.isfinite(grid(short, stays, ["sodium"], window)).sum() == 2  # a stay shorter than the window


def test_no_variable_within_the_window_is_told_with_the_window(cohort_of):
    cohort = cohort_of({"kind": "first", "hours": 2}, [(0, 5, "sodium", 140)])
    with pytest.raises(UserError, match="within the first 2 hours"):
        observed_variables(cohort, cohort.split("train"), 0.02, Window.of(cohort))


FIRST, SHORT, LONG = {"kind": "first", "hours": 48}, {"kind": "first", "hours": 24}, {"kind": "first", "hours": 72}
LAST, WHOLE = {"kind": "last", "hours": 48}, {"kind": "whole", "hours": None}


@pytest.mark.parametrize(
    ("model", "cohort", "outcome"),
    [
        (Window(48), FIRST, None),
        (Window(48), SHORT, "the model learned from the first 48 hours"),
        (Window(48), LONG, UserError),
        (Window(48), WHOLE, UserError),
        (Window(48), LAST, UserError),
        (Window(200, "whole"), WHOLE, None),
        (Window(5, "whole"), WHOLE, None),
        (Window(200, "whole"), FIRST, "the model learned from the whole stay"),
        (Window(200, "whole"), LAST, UserError),
        (Window(48, "last"), LAST, None),
        (Window(72, "last"), LAST, "the model learned from the last 72 hours"),
        (Window(24, "last"), LAST, UserError),
        (Window(48, "last"), FIRST, UserError),
    ],
)
def test_a_model_reads_every_hour_of_a_cohort_or_refuses_it(cohort_of, model, cohort, outcome):
    opened = cohort_of(cohort, [(0, 70, "sodium", 140)])
    if outcome is UserError:
        with pytest.raises(UserError, match=f"the model reads {model}"):
            model.check(opened)
    else:
        assert (model.check(opened) or "").startswith(outcome or "")
        assert (model.check(opened) is None) == (outcome is None)


def test_hours_of_ones_own_are_refused_where_they_are_not_the_cohorts(cohort_of):
    assert training_window(None, cohort_of(FIRST)) == training_window(48, cohort_of(FIRST)) == Window(48)
    with pytest.raises(UserError, match=r"model\.hours is 24, and .* holds the first 48 hours"):
        training_window(24, cohort_of(FIRST))


def test_rationales_speak_of_the_whole_window(hospital, runs, restamp, tmp_path):
    """What holds a model to its chart, and what its teacher read, are the same rows: no hour is left out."""
    from clinragen.chart.findings import findings
    from clinragen.data.dataset import StayDataset
    from clinragen.inference.predict import TrainedModel

    folder = Path(shutil.copytree(hospital.cohort, tmp_path / "cohort"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["protocol"]["window"] = {"kind": "whole", "hours": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    table = pl.read_parquet(folder / "series.parquet")
    late = table.with_columns(pl.col("hour") + 96, pl.col("value") * 1.2)
    pl.concat([table, late]).write_parquet(folder / "series.parquet")
    restamp(folder)
    cohort, trained = Cohort.load(folder), TrainedModel.load(runs.multimodal)
    data: StayDataset = trained.dataset(Cohort.load(hospital.cohort), "test")
    data.cohort = cohort
    read = data.statistics.variables
    data.statistics = type(data.statistics)(**vars(data.statistics) | {"hours": 144, "kind": "whole"})
    mine = pl.col("stay_id").is_in(data.stay_ids) & pl.col("variable").is_in(read)
    assert findings(data.measurements(), normal=True) == findings(cohort.series.filter(mine), normal=True)
    assert data.measurements()["hour"].max() >= 96
    data.series_input = "zeroed"
    assert data.measurements().is_empty()
    data.series_input = "permuted"
    strangers = data.stay_ids[data._strangers()]
    for stay, stranger in zip(data.stay_ids.tolist(), strangers.tolist(), strict=True):
        mine = data.measurements().filter(pl.col("stay_id") == stay).drop("stay_id").rows()
        theirs = cohort.series.filter((pl.col("stay_id") == stranger) & pl.col("variable").is_in(read))
        assert sorted(mine) == sorted(theirs.select("hour", "variable", "value").rows())
