"""Estimated GFR, and when creatinine is changing."""

from __future__ import annotations

import pytest

from clinragen.chart.measurements import measurements
from clinragen.safety.kidney import estimated_gfr, kidney_function


def _of(*rows: tuple[float, float], age: float = 60, sex: str | None = "M"):
    return kidney_function(measurements({"creatinine": list(rows)})["creatinine"], age, sex)


@pytest.mark.parametrize(
    ("creatinine", "age", "sex", "egfr"),
    # by hand: 142 min(c/k, 1)^a max(c/k, 1)^-1.2 0.9938^age, and 1.012 for women
    [(0.9, 40, "M", 110.7), (0.7, 40, "F", 112.1), (1.8, 40, "M", 48.2), (0.45, 40, "M", 136.5), (1.4, 80, "F", 38.0)],
)
def test_the_estimated_gfr_is_that_of_the_equation(creatinine, age, sex, egfr):
    assert estimated_gfr(creatinine, age, sex) == pytest.approx(egfr, abs=0.1)


@pytest.mark.parametrize(
    ("rows", "course", "compared"),
    [
        ([(1, 1.0)], "steady", 1.0),
        ([(1, 1.0), (20, 1.29)], "steady", 1.29),
        ([(1, 1.0), (20, 1.3)], "rising", 1.0),
        ([(1, 1.0), (60, 1.3)], "steady", 1.3),  # not within two days
        ([(1, 1.0), (60, 1.5)], "rising", 1.0),  # but half as much again within a week
        ([(1, 3.0), (20, 2.0)], "falling", 3.0),
        ([(1, 3.0), (20, 1.0), (30, 1.4)], "rising", 1.0),
    ],
)
def test_a_change_of_creatinine_is_told(rows, course, compared):
    kidneys = _of(*rows)
    assert kidneys is not None
    assert (kidneys.course, kidneys.compared.value) == (course, compared)
    assert kidneys.creatinine.value == rows[-1][1]


def test_there_is_no_estimate_for_children_or_without_sex_or_creatinine():
    assert _of((1, 1.0), age=17) is None
    assert _of((1, 1.0), sex=None) is None
    assert kidney_function(None, 60, "F") is None
