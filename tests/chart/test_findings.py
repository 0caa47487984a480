"""What a series shows, held against numbers worked out by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest

from clinragen.catalog import variables
from clinragen.chart.findings import HOURLY, Finding, findings, normal


def series(*rows: tuple[str, float, float], stay: int = 1) -> pl.DataFrame:
    """A stay from (variable, hour, value)."""
    return pl.DataFrame(
        [(stay, hour, variable, value) for variable, hour, value in rows],
        schema={"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32},
        orient="row",
    )


def of(*rows: tuple[str, float, float], normal: bool = False) -> list[Finding]:
    return findings(series(*rows), normal=normal)[1]


def test_one_finding_for_each_side_of_the_range_with_its_extreme_and_hour():
    rows = [("potassium", 9.0, 5.8), ("potassium", 1.0, 4.0), ("potassium", 4.0, 3.0), ("potassium", 6.0, 6.1)]
    high, low = of(*rows)
    assert high == Finding("potassium", "high", 4, 2, 4.0, 5.8, 6.1, 6.0)
    assert low == Finding("potassium", "low", 4, 1, 4.0, 5.8, 3.0, 4.0)
    assert (high.concept, low.concept) == ("finding:potassium:high", "finding:potassium:low")
    assert (high.share, low.share) == (0.5, 0.25)


def test_normal_variables_are_told_only_when_asked_for():
    rows = [("potassium", 1.0, 4.0), ("potassium", 2.0, 4.4)]
    assert of(*rows) == []
    assert of(*rows, normal=True) == [Finding("potassium", "normal", 2, 0, 4.0, 4.4, 4.4, 2.0)]


def test_what_counts_is_the_value_as_it_would_be_written():
    bound = variables()["inr"].high
    assert bound == 1.2  # whose float32 is above it
    assert of(("inr", 1.0, 1.2)) == []
    assert [finding.direction for finding in of(("inr", 1.0, 1.3))] == ["high"]


@pytest.mark.parametrize(
    ("first", "last", "trend"),
    [(4.0, 4.4, 0), (4.0, 4.5, 1), (4.0, 3.6, 0), (4.0, 3.5, -1)],  # 3.5 to 5.0: three tenths are 0.45
)
def test_a_trend_is_a_change_of_three_tenths_of_the_range(first, last, trend):
    assert (variables()["potassium"].low, variables()["potassium"].high) == (3.5, 5.0)
    assert Finding("potassium", "high", 3, 1, first, last, 6.0, 2.0).trend == trend


def test_severity_counts_widths_beyond_the_bound_it_lies_beyond():
    assert Finding("potassium", "high", 1, 1, 6.5, 6.5, 6.5, 0.0).severity == pytest.approx(math.tanh(1.0))
    assert Finding("potassium", "low", 1, 1, 2.0, 2.0, 2.0, 0.0).severity == pytest.approx(math.tanh(1.0))
    assert Finding("potassium", "normal", 1, 0, 4.0, 4.0, 4.0, 0.0).severity == 0.0


def test_a_single_value_of_what_is_charted_every_hour_is_worth_little():
    pulse = Finding("heart_rate", "high", 20, 1, 80.0, 80.0, 130.0, 3.0)
    lab = Finding("creatinine", "high", 20, 1, 1.0, 1.0, 2.0, 3.0)
    assert pulse.reliability == pytest.approx(0.15 + 0.85 / 20)
    assert lab.reliability == pytest.approx(0.5 + 0.5 / 20)
    assert lab.weight == pytest.approx((0.35 + 0.65 * lab.severity) * lab.reliability)


def test_measures_of_the_same_thing_are_kin():
    assert "hematocrit" in Finding("hemoglobin", "low", 1, 1, 7.0, 7.0, 7.0, 0.0).kin
    assert Finding("lactate", "high", 1, 1, 4.0, 4.0, 4.0, 0.0).kin == ("lactate",)


def test_a_value_lies_outside_by_what_is_written_of_it():
    finding = Finding("creatinine", "high", 1, 1, 2.0, 2.0, 2.0, 0.0)
    assert finding.spec.high == 1.2
    assert not finding.outside(1.2)
    assert finding.outside(1.3)
    low = Finding("potassium", "low", 1, 1, 3.0, 3.0, 3.0, 0.0)
    assert low.outside(3.4)
    assert not low.outside(3.5)
    assert not low.outside(6.0)


def test_kin_are_variables_of_the_catalogue_and_kin_of_each_other():
    kin = {key: Finding(key, "high", 1, 1, 1.0, 1.0, 1.0, 0.0).kin for key in variables()}
    for key, family in kin.items():
        assert key in family
        assert {kin.get(other) for other in family} == {family}
    assert len(set(kin.values())) < len(kin) - 10  # and there are some


def test_what_is_charted_every_hour_is_a_kind_of_the_catalogue():
    assert set(HOURLY) - {"treatment"} < {spec.kind for spec in variables().values()}  # treatments are added to it


def test_stays_are_kept_apart_and_variables_without_a_range_show_nothing():
    unbounded = next(key for key, spec in variables().items() if spec.low is None and spec.high is None)
    table = pl.concat([series(("potassium", 1.0, 6.0), stay=2), series((unbounded, 1.0, 9.0), stay=3)])
    assert {stay: len(rows) for stay, rows in findings(table, normal=True).items()} == {2: 1, 3: 0}


def test_values_are_those_that_would_be_written_not_their_nearest_float32():
    (finding,) = of(("creatinine", 1.0, 2.3), ("creatinine", 2.0, 2.7))
    assert (finding.first, finding.last, finding.extreme) == (2.3, 2.7, 2.7)


def test_a_trend_that_would_not_show_in_the_numbers_as_written_is_none():
    assert variables()["heart_rate"].decimals == 0
    assert Finding("heart_rate", "high", 2, 1, 90.4, 89.6, 130.0, 2.0).trend == 0


@pytest.mark.parametrize(
    ("variable", "value", "sides"),
    [
        # at the bound is within; what counts is what is written
        ("potassium", 3.5, []),
        ("potassium", 3.4, ["low"]),
        ("potassium", 5.0, []),
        ("potassium", 5.1, ["high"]),
        ("inr", 1.24, []),
        ("inr", 1.25, []),  # a tie is written with the even digit, 1.2
        ("inr", 1.26, ["high"]),
        ("ph", 7.454, []),
        ("ph", 7.46, ["high"]),
        ("ph", 7.346, []),
        ("ph", 7.34, ["low"]),
    ],
)
def test_a_value_is_outside_by_as_many_decimals_as_its_variable_is_written_with(variable, value, sides):
    assert [finding.direction for finding in of((variable, 1.0, value))] == sides
    assert [finding.outside(value) for finding in of((variable, 1.0, value))] == [True] * len(sides)


@pytest.mark.parametrize("key", [key for key, spec in variables().items() if spec.low is not None or spec.high])
def test_a_tie_is_rounded_alike_in_the_finding_and_in_the_number_that_is_written(key):
    """Half a step from each bound: what is written beyond it is a finding, what is written as the bound is none."""
    spec = variables()[key]
    half = 0.5 * 10.0**-spec.decimals
    for bound in (bound for bound in (spec.low, spec.high) if bound is not None):
        for value in (round(bound - half, spec.decimals + 1), round(bound + half, spec.decimals + 1)):
            written = float(f"{value:.{spec.decimals}f}")
            side = "low" if spec.low is not None and written < spec.low else None
            side = "high" if spec.high is not None and written > spec.high else side
            shown = of((key, 1.0, value))
            assert [finding.direction for finding in shown] == ([side] if side else []), value
            assert all(finding.outside(value) for finding in shown)


def test_a_variable_with_one_bound_is_normal_on_the_other_side_of_it():
    bound, above = variables()["pao2_fio2"].low, variables()["pao2_fio2"].high
    assert (bound, above) == (300, None)
    said = {value: of(("pao2_fio2", 1.0, value), normal=True)[0].direction for value in (299.0, 300.0, 900.0)}
    assert said == {299.0: "low", 300.0: "normal", 900.0: "normal"}


def test_findings_are_in_the_order_of_stays_and_of_the_names_of_variables():
    names = ("sodium", "potassium", "lactate", "glucose", "creatinine")
    rows = [series(*((name, 5.0, 1000.0) for name in names), stay=stay) for stay in (9, 2, 5, 7, 1)]
    found = findings(pl.concat(rows))
    assert list(found) == [1, 2, 5, 7, 9]
    assert all([finding.variable for finding in each] == sorted(names) for each in found.values())
    assert findings(series(("sodium", 1.0, 140.0))) == {1: []}  # what is normal is told when asked for


def test_values_are_told_with_six_digits():
    (finding,) = of(("glucose", 1.0, 450.1234))
    assert (finding.first, finding.extreme) == (450.123, 450.123)


def test_of_equal_extremes_the_first_hour_is_told_whatever_the_order_of_rows():
    rows = [("potassium", 8.0, 6.0), ("potassium", 3.0, 6.0), ("potassium", 7.0, 3.0), ("potassium", 2.0, 3.0)]
    high, low = of(*rows)
    assert (high.extreme_hour, low.extreme_hour) == (3.0, 2.0)
    assert (high.first, high.last) == (3.0, 6.0)


def test_what_the_catalogue_does_not_know_and_a_stay_without_rows_show_nothing():
    assert of(("potassium", 1.0, 6.0), ("moonlight", 1.0, 9.0)) == [Finding("potassium", "high", 1, 1, *[6.0] * 3, 1.0)]
    assert findings(series()) == {}


def test_a_variable_outside_on_one_side_is_not_also_normal():
    said = {value: [each.direction for each in of(("potassium", 1.0, value), normal=True)] for value in (3.0, 4.0, 6.0)}
    assert said == {3.0: ["low"], 4.0: ["normal"], 6.0: ["high"]}


def test_the_normal_ones_are_those_within_the_range():
    rows = of(("potassium", 1.0, 6.0), ("sodium", 1.0, 140.0), ("lactate", 1.0, 1.0), normal=True)
    assert [finding.variable for finding in normal(rows)] == ["lactate", "sodium"]
    assert normal([]) == []


def test_severity_beyond_the_only_bound_counts_in_that_bound():
    finding = Finding("pao2_fio2", "low", 1, 1, 150.0, 150.0, 150.0, 0.0)
    assert finding.severity == pytest.approx(math.tanh(0.5))
    assert finding.weight == pytest.approx(0.35 + 0.65 * math.tanh(0.5))  # one value, and it lies outside


@pytest.mark.parametrize(("first", "last", "trend"), [(80.0, 92.0, 1), (80.0, 91.0, 0), (92.0, 80.0, -1)])
def test_a_change_of_exactly_three_tenths_of_the_range_is_a_trend(first, last, trend):
    assert (variables()["heart_rate"].low, variables()["heart_rate"].high) == (60, 100)
    assert Finding("heart_rate", "high", 2, 1, first, last, 130.0, 2.0).trend == trend
