"""Statements on single variables, whole: their form, their words, the charted numbers and the rounded ones."""

from __future__ import annotations

import pytest
from whole_graph import GRAPH

from clinragen.catalog import variables
from clinragen.chart.findings import Finding
from clinragen.chart.series_statements import SeriesStatement, name, normal_statement, statement
from clinragen.chart.wording import Wording, every


def said(finding: Finding) -> list[SeriesStatement]:
    """What may be said of a finding, by every wording."""
    return every(lambda wording: statement(finding, GRAPH, wording))


def one(key: str, value: float, direction: str = "high") -> Finding:
    """A variable that was measured once."""
    return Finding(key, direction, 1, 1, value, value, value, 5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (
            Finding("creatinine", "high", 3, 2, 1.04, 2.44, 2.44, 9.0),
            SeriesStatement(
                "creatinine", "high", "trend", "high creatinine rising from about 1.0 to 2.4 mg/dL", 2.44,
                first=1.04, stated=("1.0", "2.4"),
            ),
        ),
        (
            Finding("creatinine", "high", 2, 1, 1.0, 1.5, 1.5, 9.0),
            SeriesStatement(
                "creatinine", "high", "trend", "high creatinine rising from about 1.0 to 1.5 mg/dL", 1.5,
                first=1.0, stated=("1.0", "1.5"),
            ),
        ),
        (
            Finding("creatinine", "high", 3, 1, 1.0, 1.1, 2.03, 9.0),
            SeriesStatement(
                "creatinine", "high", "extreme", "high creatinine up to about 2.0 mg/dL", 2.03, stated=("2.0",)
            ),
        ),
        (
            one("creatinine", 2.03),
            SeriesStatement(
                "creatinine", "high", "level", "high creatinine of about 2.0 mg/dL", 2.03, stated=("2.0",)
            ),
        ),
        # what is there or not has no number
        (
            one("capillary_refill", 1.0),
            SeriesStatement("capillary_refill", "high", "level", "delayed capillary refill", 1.0),
        ),
    ],
)  # fmt: skip
def test_a_statement_has_its_form_its_words_and_both_kinds_of_number(finding, expected):
    assert said(finding) == [expected]


def test_a_normal_variable_has_its_name_and_its_last_value():
    finding = Finding("sodium", "normal", 2, 0, 140.0, 141.0, 141.0, 5.0)
    assert normal_statement(finding) == SeriesStatement("sodium", "normal", "normal", "sodium", 141.0)


@pytest.mark.parametrize(
    ("hour", "times"),
    [
        (0.0, {"in the first 24 hours", "around hour 0"}),
        (10.0, {"in the first 24 hours", "around hour 12"}),
        (23.9, {"in the first 24 hours", "around hour 24"}),
        (24.0, {"after hour 24", "around hour 24"}),
        (26.9, {"after hour 24", "around hour 24"}),
    ],
)
def test_an_extreme_of_what_is_charted_every_hour_may_be_placed_in_time(hour, times):
    words = "low mean blood pressure down to about 50 mmHg"
    found = {each.statement: each.hour for each in said(Finding("mean_bp", "low", 5, 1, 80.0, 80.0, 50.0, hour))}
    assert found == {words: None} | {f"{words} {time}": hour for time in times}


def test_one_in_four_extremes_is_placed_in_time_and_of_those_two_in_three_by_the_day():
    finding = Finding("mean_bp", "low", 5, 1, 80.0, 80.0, 50.0, 10.0)
    texts = [statement(finding, GRAPH, Wording(stay)).statement for stay in range(800)]
    placed = [text for text in texts if "hour" in text]
    assert 0.2 < len(placed) / len(texts) < 0.3
    assert 0.55 < sum("first" in text for text in placed) / len(placed) < 0.78


def test_what_is_not_charted_every_hour_is_never_placed_in_time():
    assert {each.hour for each in said(Finding("creatinine", "high", 3, 1, 1.0, 1.1, 2.0, 9.0))} == {None}


@pytest.mark.parametrize(
    ("key", "value", "direction", "written"),
    [
        # within four fifths of what "about" allows
        ("heart_rate", 128, "high", "130"),
        ("heart_rate", 101, "high", "101"),  # never back into the range
        ("creatinine", 4.13, "high", "4.2"),
        ("creatinine", 20.4, "high", "20"),
        ("creatinine", 1.3, "high", "1.3"),
        ("platelets", 33, "low", "32"),
        ("platelets", 44, "low", "44"),
        ("platelets", 2, "low", "2"),
        ("platelets", 148, "low", "148"),
        ("platelets", 1234, "high", "1250"),
        ("lactate", 11.3, "high", "11.5"),
        ("sodium", 127, "low", "128"),  # two exactly
        ("temperature", 39.3, "high", "39.2"),
        ("wbc", 0.44, "low", "0.4"),
        ("wbc", 15.3, "high", "15"),
        ("troponin_t", 1.02, "high", "1.00"),
        ("troponin_t", 0.07, "high", "0.07"),
        ("urine_output", 0, "low", "0"),
        ("ph", 7.21, "low", "7.20"),
    ],
)
def test_a_number_is_rounded_within_what_about_allows(key, value, direction, written):
    assert {each.stated for each in said(one(key, value, direction))} == {(written,)}
    assert all(
        each.value == value and f"of about {written}" in each.statement for each in said(one(key, value, direction))
    )


@pytest.mark.parametrize(
    ("finding", "moves"),
    [
        (Finding("creatinine", "high", 2, 1, 1.0, 2.0, 2.0, 9.0), True),
        (Finding("creatinine", "high", 1, 1, 1.0, 2.0, 2.0, 9.0), False),  # of one measurement
        (Finding("lactate", "high", 2, 1, 1.0, 4.0, 4.0, 9.0), True),  # a gas
        (Finding("heart_rate", "high", 9, 5, 70.0, 130.0, 130.0, 9.0), False),  # charted every hour
        (Finding("creatinine", "high", 3, 1, 3.0, 1.1, 3.0, 0.0), False),  # ends within
        (Finding("creatinine", "high", 3, 3, 2.0, 2.1, 2.1, 9.0), False),  # less than a trend
    ],
)
def test_a_course_is_told_of_laboratory_values_that_moved_and_end_outside(finding, moves):
    assert {each.form == "trend" for each in said(finding)} == {moves}


@pytest.mark.parametrize(
    ("abnormal", "texts"),
    [
        (4, {"low sodium down to about 126 mEq/L", "hyponatremia down to about 126 mEq/L"}),
        (5, {"persistently low sodium down to about 126 mEq/L", "hyponatremia down to about 126 mEq/L"}),
    ],
)
def test_persistently_is_said_of_more_than_four_in_five(abnormal, texts):
    found = said(Finding("sodium", "low", 5, abnormal, 128.0, 128.0, 126.0, 4.0))
    assert {each.statement for each in found} == texts


@pytest.mark.parametrize(
    ("key", "direction", "value", "subjects"),
    [
        ("potassium", "high", 6.1, {"high potassium", "hyperkalemia"}),
        ("systolic_bp", "low", 80.0, {"low systolic blood pressure", "hypotension"}),
        ("base_excess", "low", -8.0, {"low base excess"}),  # "base deficit" has two words
        ("minute_volume", "high", 15.0, {"high minute volume"}),
        ("creatinine", "high", 3.0, {"high creatinine"}),
        ("lactate", "low", 0.3, {"low lactate"}),  # which the graph does not know
    ],
)
def test_a_finding_is_called_by_its_side_or_by_its_own_name_of_one_word(key, direction, value, subjects):
    found = said(one(key, value, direction))
    assert {each.statement.partition(" of about")[0] for each in found} == subjects


def test_names_in_sentences_have_neither_comma_nor_brackets():
    assert name("gcs_total") == "Glasgow coma scale total"
    assert name("capillary_refill") == "capillary refill"
    assert name("sodium") == "sodium"
    assert all(name(key).strip() == name(key) and not set(name(key)) & set(",()") for key in variables())
