"""The grid, the variables chosen and the statistics, compared with numbers worked out by hand."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from clinragen.catalog import variable
from clinragen.cohort.window import Window
from clinragen.data.series import SUMMARIES, SeriesStatistics, _edges, grid, observed_variables, rows_within, summarise
from clinragen.errors import UserError

STAYS = np.array([11, 12, 13, 14])
NAN = float("nan")


def cohort_of(*rows: tuple[int, float, str, float]) -> Any:
    """A cohort of nothing but a series table."""
    schema = {"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32}
    table = pl.DataFrame(list(rows), schema=schema, orient="row")
    return SimpleNamespace(series=table, paths=SimpleNamespace(series=Path("series.parquet")))


def test_each_value_lies_at_its_stay_variable_and_hour():
    cohort = cohort_of((12, 0.0, "sodium", 140), (11, 2.9, "lactate", 3), (14, 3.0, "sodium", 131), (12, 1.0, "ph", 7))
    values = grid(cohort, STAYS, ["lactate", "sodium"], Window(4))
    expected = np.full((4, 2, 4), np.nan, dtype=np.float32)
    expected[1, 1, 0], expected[0, 0, 2], expected[3, 1, 3] = 140, 3, 131
    np.testing.assert_array_equal(values, expected)
    assert values.dtype == np.float32


def test_bins_of_several_hours_hold_the_mean_of_their_hours():
    rows = [(11, 48.0, "sodium", 130), (11, 50.0, "sodium", 136), (11, 54.0, "sodium", 150), (11, 3.0, "sodium", 141)]
    values = grid(cohort_of(*rows), STAYS[:1], ["sodium"], Window(60, "whole"))
    assert values.shape == (1, 1, 50)
    assert [(at, value) for at, value in enumerate(values[0, 0].tolist()) if value == value] == [
        (3, 141),
        (48, 133),
        (49, 150),
    ]


def test_the_mean_of_a_bin_is_the_same_whatever_the_order_of_rows():
    """Sums of numbers far apart in size depend on their order: it is that of the hours."""
    rows = [(11, 48.0, "sodium", 1e20), (11, 49.0, "sodium", 6.0), (11, 50.0, "sodium", -1e20)]
    forward, back = (
        grid(cohort_of(*order), STAYS[:1], ["sodium"], Window(60, "whole"))[0, 0, 48]
        for order in (rows, [rows[0], rows[2], rows[1]])
    )
    assert forward == back == 0.0


def test_the_last_hours_are_counted_from_the_end_of_each_stay():
    """Two hours before the end of a stay of five hours begin in its fourth; a stay of half an hour is read from 0."""
    cohort = cohort_of(*((stay, hour, "sodium", 100 * (stay - 10) + hour) for stay in (11, 12) for hour in range(6)))
    begin = datetime(2020, 1, 1)
    ends = [begin + timedelta(hours=hours) for hours in (5, 0.5)]
    cohort.stays = pl.DataFrame({"stay_id": [12, 11], "intime": [begin] * 2, "prediction_time": ends[::-1]})
    values = grid(cohort, STAYS[:2], ["sodium"], Window(2, "last"))
    assert values.tolist() == [[[103.0, 104.0, 105.0]], [[200.0, 201.0, 202.0]]]
    rows = rows_within(cohort, STAYS[:1], None, Window(2, "last"))
    assert rows.select("hour", "bin").rows() == [(3.0, 0), (4.0, 1), (5.0, 2)]


def test_rows_of_other_stays_variables_and_hours_are_left_out():
    rows = [
        (11, 0.5, "sodium", 1),
        (15, 0.5, "sodium", 2),
        (11, 4.0, "sodium", 3),
        (11, 3.5, "ph", 4),
        (11, -0.5, "ph", 5),
    ]
    cohort = cohort_of(*rows)
    assert rows_within(cohort, STAYS, None, Window(4))["value"].to_list() == [1, 4]
    assert rows_within(cohort, STAYS, ["sodium"], Window(4))["value"].to_list() == [1]
    assert rows_within(cohort, STAYS, None, Window(4))["bin"].to_list() == [0, 3]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, ["lactate", "ph", "sodium"]),
        (0.25, ["lactate", "ph", "sodium"]),
        (0.26, ["ph", "sodium"]),
        (0.5, ["ph", "sodium"]),
        (0.51, ["sodium"]),
        (0.75, ["sodium"]),
    ],
)
def test_a_variable_is_read_where_enough_stays_have_it(share, expected):
    """Of four stays three have sodium, two pH, one lactate, which was measured there again and again."""
    rows = [(stay, 0.0, "sodium", 140.0) for stay in (11, 12, 13)] + [(stay, 1.0, "ph", 7.4) for stay in (11, 14)]
    rows += [(12, float(hour), "lactate", 2.0) for hour in range(4)] + [(13, 9.0, "lactate", 2.0), (99, 0.0, "ph", 7.0)]
    assert observed_variables(cohort_of(*rows), STAYS, share, Window(4)) == expected


def test_no_variable_in_enough_stays_is_an_error_that_says_the_share():
    with pytest.raises(
        UserError, match=r"series.parquet: no variable is measured in 80.0% .* within the first 4 hours"
    ):
        observed_variables(cohort_of((11, 0.0, "sodium", 140)), STAYS, 0.8, Window(4))
    with pytest.raises(UserError, match=r"no variable is measured in 0\.0%"):
        observed_variables(cohort_of((99, 0.0, "sodium", 140)), STAYS, 0.0, Window(4))


def test_a_variable_that_the_catalogue_does_not_know_is_an_error():
    with pytest.raises(UserError, match="blood_sugar"):
        observed_variables(cohort_of((11, 0.0, "blood_sugar", 140)), STAYS, 0.1, Window(4))


def test_a_grid_larger_than_the_memory_is_refused_before_it_is_made(monkeypatch):
    """Five bytes a cell: four of the value, one of the mask."""
    machine = {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 12}
    monkeypatch.setattr(os, "sysconf", machine.__getitem__)
    cohort = cohort_of((11, 0.0, "sodium", 140))
    assert grid(cohort, STAYS, ["sodium"], Window(6)).shape == (4, 1, 6)  # 120 bytes
    with pytest.raises(UserError, match=r"the first 7 hours of 4 stays with 1 variables need 0\.0 GiB"):
        grid(cohort, STAYS, ["sodium"], Window(7))
    machine |= {"SC_PAGE_SIZE": 2**20, "SC_PHYS_PAGES": 3 * 2**9}
    with pytest.raises(UserError, match=r"need 4\.7 GiB of memory, and this machine has 1\.5: prepare"):
        grid(cohort, np.arange(100_000), ["sodium"] * 100, Window(100))


def test_summaries_of_a_series_with_gaps():
    values = torch.tensor([[[0.0, 4.0, 9.0, -2.0, 1.0], [7.0, 7.0, 7.0, 7.0, 7.0]]])
    observed = torch.tensor([[[False, True, False, True, True], [False] * 5]])
    summaries = summarise(values, observed)
    assert SUMMARIES == ("mean", "min", "max", "first", "last", "count")
    assert summaries[0, 0].tolist() == [1.0, -2.0, 4.0, 4.0, 1.0, 3.0]
    assert summaries[0, 1].isnan().all()
    only = summarise(torch.tensor([[5.0, 6.0]]), torch.tensor([[True, False]]))
    assert only.tolist() == [[5.0, 5.0, 5.0, 5.0, 5.0, 1.0]]
    assert only.dtype == torch.float32
    late = summarise(torch.tensor([[5.0, 6.0, 7.0]]), torch.tensor([[False, False, True]]))
    assert late.tolist() == [[7.0, 7.0, 7.0, 7.0, 7.0, 1.0]]


def test_summaries_are_made_where_the_values_are():
    values, observed = (torch.empty(2, 3, 4, dtype=kind, device="meta") for kind in (torch.float32, torch.bool))
    assert summarise(values, observed).device.type == "meta"


def test_centre_is_the_median_and_scale_the_middle_ninety_per_cent():
    values = np.full((21, 2, 2), np.nan, dtype=np.float32)
    values[:, 0, 0] = np.arange(21)  # quantiles .05, .5, .95 are 1, 10, 19
    values[:, 1, 1] = 400.0  # all alike
    fitted = SeriesStatistics.fit(values, ["creatinine", "sodium"], 4)
    assert fitted.variables == ["creatinine", "sodium"]
    assert fitted.centre == [10.0, 400.0]
    assert fitted.scale == pytest.approx([18 / 3.29, 0.4])
    small = SeriesStatistics.fit(np.full((3, 1, 2), 0.5, dtype=np.float32), ["creatinine"], 2)
    assert small.scale == pytest.approx([1e-3])
    below = SeriesStatistics.fit(np.full((3, 1, 2), -50.0, dtype=np.float32), ["base_excess"], 2)
    assert below.scale == pytest.approx([0.05])


def statistics(**changes: Any) -> SeriesStatistics:
    plain = {
        "variables": ["creatinine", "sodium"],
        "hours": 3,
        "centre": [1.0, 140.0],
        "scale": [0.5, 4.0],
        "edges": [],
    }
    return SeriesStatistics(**(plain | changes))


def test_standardised_values():
    values = np.array([[[1.0, NAN, 2.0], [132.0, 140.0, NAN]], [[0.5, 9.0, -9.0], [NAN, NAN, 200.0]]], dtype=np.float32)
    standardised, observed = statistics().standardise(values)
    expected = [[[0.0, 0.0, 2.0], [-2.0, 0.0, 0.0]], [[-1.0, 8.0, -8.0], [0.0, 0.0, 8.0]]]
    assert standardised.tolist() == expected
    assert observed.tolist() == [[[True, False, True], [True, True, False]], [[True, True, True], [False, False, True]]]
    assert standardised.dtype == np.float32
    assert statistics(clip=1.5).standardise(values)[0][0, 0].tolist() == [0.0, 0.0, 1.5]


def test_values_are_standardised_in_single_precision():
    values = np.random.default_rng(0).uniform(0, 3, (50, 2, 3)).astype(np.float32)
    got, _ = statistics(centre=[0.1, 0.7], scale=[0.3, 1.1]).standardise(values)
    for position, (centre, scale) in enumerate([(0.1, 0.3), (0.7, 1.1)]):
        expected = (values[:, position] - np.float32(centre)) / np.float32(scale)
        np.testing.assert_array_equal(got[:, position], np.minimum(expected, np.float32(8)))


def test_the_window_of_statistics_is_that_of_their_grid():
    values = np.ones((3, 1, 50), dtype=np.float32)
    assert SeriesStatistics.fit(values, ["creatinine"], 2).window == Window(50, "first")
    assert SeriesStatistics.fit(values, ["creatinine"], 2, Window(60, "whole")).window == Window(60, "whole")
    assert SeriesStatistics.fit(values, ["creatinine"], 2, Window(49, "last")).hours == 49


def test_they_are_stored_as_they_are():
    assert statistics().to_json() == {
        "variables": ["creatinine", "sodium"],
        "hours": 3,
        "centre": [1.0, 140.0],
        "scale": [0.5, 4.0],
        "edges": [],
        "clip": 8.0,
        "kind": "first",
    }


def test_edges_are_quantiles_with_a_bound_in_the_place_of_the_nearest_inner_one():
    values = np.array([NAN, 0.0, 1.0, 2.0, 3.0, 4.0, np.inf])
    assert _edges(values, 4, []) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert _edges(values, 2, []) == [0.0, 2.0, 4.0]
    assert _edges(values, 4, [1.2]) == [0.0, 1.2, 2.0, 3.0, 4.0]
    assert _edges(values, 4, [3.9, 0.1]) == [0.0, 0.1, 2.0, 3.9, 4.0]
    assert _edges(values, 4, [0.0, 4.0, -1.0, 9.0]) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert _edges(values, 4, [2.9, 2.6]) == [0.0, 1.0, 2.0, 2.6, 4.0]


def test_the_edges_of_each_summary_hold_the_reference_bounds_and_those_of_the_count_do_not():
    low, high = variable("creatinine").low, variable("creatinine").high
    assert (low, high) == (0.5, 1.2)
    random = np.random.default_rng(0)
    values = random.uniform(0, 3, (300, 1, 6)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    fitted = SeriesStatistics.fit(values, ["creatinine"], 8)
    bounds = [(bound - fitted.centre[0]) / fitted.scale[0] for bound in (low, high)]
    summaries = summarise(*map(torch.from_numpy, fitted.standardise(values))).numpy()[:, 0]
    for position, kind in enumerate(SUMMARIES):
        edges = fitted.edges[0][position]
        assert len(edges) == 9
        seen = summaries[:, position][np.isfinite(summaries[:, position])]
        assert (edges[0], edges[-1]) == (seen.min(), seen.max()), kind
        assert all((bound in edges) == (kind != "count" and edges[0] < bound < edges[-1]) for bound in bounds), kind
    assert all(bound in fitted.edges[0][3] for bound in bounds)  # first values reach from 0 to 3
