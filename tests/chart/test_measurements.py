"""The numbers of a stay, as verification and teachers read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from clinragen.catalog import variables
from clinragen.chart.measurements import cells_by_stay, measurements
from clinragen.chart.reference_range import tolerance, width


def test_hours_ascend_and_values_are_what_would_be_written():
    lactate = float(np.float32(1.2))
    assert lactate != 1.2
    chart = measurements({"lactate": [(5.0, 4.0), (1.0, lactate)], "sodium": []})
    assert list(chart) == ["lactate"]
    assert chart["lactate"].hours.tolist() == [1.0, 5.0]
    assert chart["lactate"].values.tolist() == [1.2, 4.0]


def test_rows_of_a_table_are_sorted_into_stays():
    table = pl.DataFrame(
        {"variable": ["sodium", "lactate", "sodium"], "value": [140.0, 2.0, 141.0]}
        | {"stay_id": [1, 2, 1], "hour": [0.0, 1.0, 2.0]}
    )
    assert cells_by_stay(table) == {1: {"sodium": [(0.0, 140.0), (2.0, 141.0)]}, 2: {"lactate": [(1.0, 2.0)]}}


def test_a_range_with_one_end_is_as_wide_as_its_bound():
    potassium, creatinine = variables()["potassium"], variables()["creatinine"]
    assert width(potassium) == potassium.high - potassium.low
    assert width(replace(creatinine, low=None)) == creatinine.high
    assert width(replace(creatinine, high=None)) == creatinine.low


def test_about_allows_a_tenth_and_no_more_than_a_quarter_of_the_range():
    sodium = variables()["sodium"]  # 135 to 145: a tenth of the value would be wider than the range
    assert (sodium.low, sodium.high) == (135, 145)
    assert tolerance(140.0, sodium) == 2.5
    creatinine = variables()["creatinine"]
    assert tolerance(1.0, creatinine) == 0.1
    far = 100.0  # far outside, a tenth of the distance
    assert tolerance(far, creatinine) == 0.1 * (far - creatinine.high)
