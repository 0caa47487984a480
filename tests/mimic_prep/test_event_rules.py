"""Rows of a table of measurements as events, rule by rule: which rows count, when they were known, in which unit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from clinragen.catalog import variables
from mimic_prep.accounting import RowFilter
from mimic_prep.events import EVENTS, EventRules
from mimic_prep.releases.eicu.tables import events as eicu_events
from mimic_prep.releases.mimic_iv.tables import CHARTEVENTS, MIMIC4
from mimic_prep.stay_index import StayIndex

BEGIN = datetime(2151, 3, 1, 8)
INDEX = StayIndex(
    pl.DataFrame(
        [
            (100, 1, BEGIN, BEGIN, BEGIN + timedelta(hours=24)),
            (101, 1, BEGIN + timedelta(days=9), BEGIN + timedelta(days=9), BEGIN + timedelta(days=10)),
            (200, 2, BEGIN, BEGIN, BEGIN + timedelta(hours=24)),
        ],
        schema=["stay_id", "subject_id", "intime", "window_start", "prediction_time"],
        orient="row",
    )
)
CHART, LAB, *_ = MIMIC4.events
KEYS = list(variables())
PULSE, FAHRENHEIT, WEIGHT, PEEP = 220045, 223761, 224639, 220339
CREATININE = 50912


def after(second: int | None) -> datetime | None:
    return None if second is None else BEGIN + timedelta(seconds=second)


_COLUMNS = {
    "stay_id": pl.Int64, "subject_id": pl.Int64, "item": pl.Int64,
    "time": pl.Datetime("us"), "known": pl.Datetime("us"),
    "specimen": pl.Int64, "value": pl.Float64, "words": pl.String, "unit": pl.String,
    "warning": pl.Float64, "error": pl.Float64,
}  # fmt: skip


def ran(source: Any, rows: list[dict[str, Any]], **options: Any) -> RowFilter:
    """The rows of a table, the first in line 2, after its rules; ``at`` and ``entered`` count seconds from intime."""
    names = [name for name in _COLUMNS if name in source.table.columns or any(name in row for row in rows)]
    base = {source.key: 100 if source.key == "stay_id" else 1, "item": PULSE, "at": 60, "value": 80.0, "unit": ""}
    filled = [base | row for row in rows]
    filled = [row | {"time": after(row["at"]), "known": after(row.get("entered", row["at"]))} for row in filled]
    table = {name: pl.Series([row.get(name) for row in filled], dtype=_COLUMNS[name]) for name in names}
    row_filter = RowFilter(pl.DataFrame(table | {"line": pl.Series(range(2, 2 + len(rows)), dtype=pl.Int64)}))
    EventRules(source, "mimic4", INDEX, **({"drop_warnings": False} | options))(row_filter)
    return row_filter


def lines(row_filter: RowFilter) -> dict[str, list[int]]:
    return {reason: at.tolist() for reason, at in row_filter.quarantined}


def test_a_row_becomes_its_stay_second_variable_value_and_when_it_was_known():
    rows = [
        {"at": 0, "value": 81.0},
        {"stay_id": 200, "at": 3700, "entered": 4000, "value": 99.0},
        {"item": FAHRENHEIT, "at": 90, "value": 100.4, "unit": "°F"},
    ]
    got = ran(CHART, rows)
    assert got.frame.schema == pl.Schema(EVENTS)
    pulse, temperature = KEYS.index("heart_rate"), KEYS.index("temperature")
    assert got.frame.drop("priority").rows() == [
        (0, 0, pulse, 81.0, 0), (2, 3700, pulse, 99.0, 4000), (0, 90, temperature, 38.0, 90),
    ]  # fmt: skip
    assert (got.out_of_scope, got.quarantined, got.remarks) == ({}, [], {})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"at": 86399}, None),
        ({"at": 86400}, "outside the window"),
        ({"at": -1}, "outside the window"),
        ({"stay_id": 999}, "stay not in the cohort"),
        ({"stay_id": None}, "no stay_id"),
        # entered too late; a clock that is behind makes nothing known before its time
        ({"at": 60, "entered": 86399}, None),
        ({"at": 60, "entered": 86400}, "not known by the prediction time"),
        ({"at": 60, "entered": -600}, None),
        ({"at": 86400, "entered": 90000}, "outside the window"),
    ],
)
def test_rows_out_of_scope(row, reason):
    got = ran(CHART, [row, {"at": 5}])
    assert got.out_of_scope == ({reason: 1} if reason else {})
    assert got.quarantined == []
    assert got.frame.height == (1 if reason else 2)


def test_by_the_charted_time_a_late_entry_counts():
    got = ran(CHART, [{"at": 60, "entered": 90000}], known_at="charttime")
    assert got.frame.select("second", "known").rows() == [(60, 90000)]


def test_a_mistyped_century_of_entry_stays_on_its_side_of_the_charted_time():
    """Seconds are 32-bit numbers: without a limit a time of entry in 1900 would count as one in the future."""
    got = ran(
        CHART, [{"at": 60, "entered": -7_900_000_000}, {"at": 90, "entered": 7_900_000_000}], known_at="charttime"
    )
    assert got.frame.select("second", "known").rows() == [(60, -(2**31 - 1)), (90, 2**31 - 1)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"item": None}, "no item"),
        ({"at": None}, "no time"),
        ({"value": None}, "no numeric value"),
        ({"value": float("inf")}, "no numeric value"),
        ({"value": -float("inf")}, "no numeric value"),
        ({"value": 80.0, "unit": "kg"}, "unit of another kind of variable"),
        ({"value": 80.0, "unit": "whatever"}, None),
        ({"value": 10.0}, None),
        ({"value": 9.0}, "implausible heart_rate"),
        ({"value": 300.0}, None),
        ({"value": 301.0}, "implausible heart_rate"),
        ({"value": 901.0, "item": WEIGHT, "unit": "kg"}, "implausible weight"),
        ({"error": 1.0}, "marked as an error"),
        ({"error": 0.0}, None),
    ],
)
def test_rows_that_cannot_be_trusted_are_quarantined_with_their_line(row, reason):
    assert variables()["heart_rate"].plausible == (10, 300)
    got = ran(CHART, [{"at": 5}, row, {"at": 7}])
    assert lines(got) == ({reason: [3]} if reason else {})
    assert got.frame.height == (2 if reason else 3)
    assert got.out_of_scope == {}


@pytest.mark.parametrize(("drop", "kept"), [(False, [80, 81, 82, 83]), (True, [80, 83])])
def test_marked_rows_go_only_when_asked(drop, kept):
    rows = [{"warning": 0.0, "value": 80.0}, {"warning": 1.0, "value": 81.0}, {"warning": 2.0, "value": 82.0}]
    got = ran(CHART, [*rows, {"warning": None, "value": 83.0}], drop_warnings=drop)
    assert got.frame["value"].to_list() == kept
    assert lines(got) == ({"marked with a warning": [3, 4]} if drop else {})


@pytest.mark.parametrize(
    ("item", "value", "unit", "canonical"),
    [
        (FAHRENHEIT, 98.6, "°F", 37.0),
        (FAHRENHEIT, 98.6, "", 37.0),  # the usual unit of the item
        (FAHRENHEIT, 37.0, "°F", 37.0),  # on the other scale than it says
        (FAHRENHEIT, 98.6, "°C", 37.0),
        (WEIGHT, 100.0, "kg", 100.0),
        (WEIGHT, 100.0, "lbs", 45.359),
        (WEIGHT, 100.0, None, 100.0),
        (PULSE, 80.1234567, "bpm", 80.123),  # three digits more than it is written with
    ],
)
def test_values_come_in_the_canonical_unit(item, value, unit, canonical):
    got = ran(CHART, [{"item": item, "value": value, "unit": unit}, {"unit": "bpm"}])
    assert got.quarantined == []
    assert got.frame["value"].to_list() == [pytest.approx(canonical, abs=5e-4), 80.0]


def test_a_row_without_a_time_of_entry_was_known_when_it_was_charted_and_is_counted():
    got = ran(CHART, [{"at": 60, "entered": None}, {"at": 90, "entered": 100}, {"at": 70, "entered": None}])
    assert got.frame["known"].to_list() == [60, 100, 70]
    assert got.remarks == {"no time of entry: known when charted": 2}
    assert ran(CHART, [{"at": 86400, "entered": None}, {"at": 90}]).remarks == {
        "no time of entry: known when charted": 0
    }
    undated = ran(CHART, [{"at": 60, "entered": None}])
    assert (undated.frame["known"].to_list(), undated.remarks) == ([60], {"no time of entry: known when charted": 1})


def test_rows_of_a_patient_belong_to_the_stay_that_holds_their_time():
    nine_days = 9 * 86400
    rows = [{"item": CREATININE, "value": 1.5, "unit": "mg/dL", "at": at} for at in (60, nine_days + 30, 200000)]
    got = ran(LAB, [*rows, rows[0] | {"subject_id": 2}, rows[0] | {"subject_id": 7}, rows[0] | {"at": None}])
    assert got.frame.select("stay", "second").rows() == [(0, 60), (1, 30), (2, 60)]
    assert got.out_of_scope == {"outside the window": 1, "patient not in the cohort": 1}
    assert lines(got) == {"no time": [7]}


def test_the_items_that_are_read_are_those_of_the_table():
    chart = EventRules(CHART, "mimic4", INDEX, drop_warnings=False).only
    lab = EventRules(LAB, "mimic4", INDEX, drop_warnings=False).only
    assert chart is not None
    assert lab is not None
    assert (chart.column, chart.reason) == ("item", "item not used")
    assert {PULSE, FAHRENHEIT, WEIGHT, PEEP} <= set(chart.values)
    assert CREATININE in lab.values
    assert CREATININE not in chart.values


def test_of_two_items_of_a_variable_the_first_in_the_catalogue_comes_first():
    items = list(variables()["temperature"].items["mimic4"][CHARTEVENTS.name])
    got = ran(CHART, [{"item": item, "value": 37.0} for item in items])
    assert got.frame["priority"].to_list() == list(range(len(items)))
    assert np.unique(got.frame["variable"].to_numpy()).tolist() == [KEYS.index("temperature")]


# eICU: times are minutes from ICU admission, items are words, and some tables have a column for each item.


def ran_eicu(table: str, rows: list[dict[str, Any]], **options: Any) -> RowFilter:
    """The rows of a table of eICU, the first in line 2, after its rules; a value is text where the table holds text."""
    source = next(
        source for source in eicu_events() if source.table.name == table and (source.wide or "item" in rows[0])
    )
    columns = [name for name in source.table.columns if name != "time" or source.minute is None]
    types = {"stay_id": pl.Int64, "time": pl.Int64, "known": pl.Int64, "item": pl.String, "label": pl.String,
             "words": pl.String, "unit": pl.String}  # fmt: skip
    types["value"] = pl.String if table == "nursecharting" else pl.Float64
    table_of = {
        name: pl.Series([({"stay_id": 100} | row).get(name) for row in rows], dtype=types.get(name, pl.Float64))
        for name in columns
    }
    row_filter = RowFilter(pl.DataFrame(table_of | {"line": pl.Series(range(2, 2 + len(rows)), dtype=pl.Int64)}))
    EventRules(source, "eicu", INDEX, **({"drop_warnings": False} | options))(row_filter)
    return row_filter


def test_minutes_from_admission_become_seconds_and_so_does_the_time_of_entry():
    rows = [
        {"time": 0, "known": 5, "item": "sodium", "value": 140.0},
        {"stay_id": 101, "time": 61, "known": None, "item": "potassium", "value": 4.0},
        {"time": 1439, "known": 1439, "item": "sodium", "value": 141.0},
        {"time": 1440, "known": 1440, "item": "sodium", "value": 142.0},
        {"time": 1430, "known": 1440, "item": "sodium", "value": 143.0},
        {"time": -1, "known": 0, "item": "sodium", "value": 144.0},
        {"time": None, "known": 5, "item": "sodium", "value": 145.0},
    ]
    got = ran_eicu("lab", rows)
    sodium, potassium = KEYS.index("sodium"), KEYS.index("potassium")
    assert got.frame.select("stay", "second", "variable", "value", "known").rows() == [
        (0, 0, sodium, 140.0, 300), (1, 3660, potassium, 4.0, 3660), (0, 86340, sodium, 141.0, 86340),
    ]  # fmt: skip
    assert got.out_of_scope == {"outside the window": 2, "not known by the prediction time": 1}
    assert lines(got) == {"no time": [8]}
    assert got.remarks == {"no time of entry: known when charted": 1}


def test_a_cell_of_a_wide_table_is_a_measurement():
    rows = [
        {"time": 5, "heartrate": 80.0, "sao2": 97.0},
        {"time": 10, "heartrate": None, "sao2": 96.0},
        {"time": 15, "heartrate": 400.0, "sao2": None},
        {"time": 20, "heartrate": None, "sao2": None},
    ]
    got = ran_eicu("vitalperiodic", rows)
    pulse, saturation = KEYS.index("heart_rate"), KEYS.index("spo2")
    events = got.frame.select("second", "variable", "value", "priority").sort("second", "variable").rows()
    assert events == sorted([(300, pulse, 80.0, 0), (300, saturation, 97.0, 0), (600, saturation, 96.0, 0)])
    assert got.read == 4  # cells, not lines: the empty ones were never measured
    assert lines(got) == {"implausible heart_rate": [4]}


def test_rows_of_a_wide_table_that_were_refused_before_are_still_counted_as_read():
    source = next(source for source in eicu_events() if source.table.name == "vitalperiodic")
    frame = pl.DataFrame({"stay_id": [100], "time": [5], "heartrate": [80.0], "line": [2]})
    row_filter = RowFilter(frame)
    row_filter.quarantined = [("too few fields", np.array([3, 4])), ("no number", np.array([5]))]
    EventRules(source, "eicu", INDEX, drop_warnings=False)(row_filter)
    assert row_filter.read == 1 + 3


def test_a_table_without_times_is_of_its_minute():
    got = ran_eicu("patient", [{"admissionheight": 170.0, "admissionweight": 70.0}])
    events = got.frame.select("second", "variable", "value").sort("variable").rows()
    assert events == sorted([(0, KEYS.index("height"), 170.0), (0, KEYS.index("weight"), 70.0)], key=lambda row: row[1])


def test_an_item_without_a_name_of_its_own_is_that_of_its_label():
    """``generic``: nurses' values are all called "Value", and the label says of what."""
    rows = [
        {"time": 1, "known": 1, "item": "Heart Rate", "label": "something else", "value": " 81 "},
        {"time": 2, "known": 2, "item": "Value", "label": "Temperature (F)", "value": "98.6"},
        {"time": 3, "known": 3, "item": "Value", "label": "Pain Score", "value": "2"},
        {"time": 4, "known": 4, "item": "Value", "label": None, "value": "2"},
        {"time": 5, "known": 5, "item": None, "label": "Heart Rate", "value": "82"},
        {"time": 6, "known": 6, "item": "O2 Saturation", "label": None, "value": "95 %"},
        {"time": 7, "known": 7, "item": "O2 Saturation", "label": None, "value": "nan"},
        {"time": 8, "known": 8, "item": "O2 Saturation", "label": None, "value": "high"},
    ]
    got = ran_eicu("nursecharting", rows)
    temperature = list(variables()["temperature"].items["eicu"]["nursecharting"])
    assert got.frame.select("second", "variable", "priority", "value").rows() == [
        (60, KEYS.index("heart_rate"), 0, 81.0),
        (120, KEYS.index("temperature"), temperature.index("Temperature (F)"), 37.0),
        (360, KEYS.index("spo2"), 0, 95.0),
    ]
    assert got.out_of_scope == {"item not used": 2}
    assert lines(got) == {"no item": [6], "no numeric value": [8, 9]}


def test_a_table_of_generic_items_lets_the_generic_one_through():
    """The reader drops rows by item before the label is looked at."""
    source = next(source for source in eicu_events() if source.generic)
    only = EventRules(source, "eicu", INDEX, drop_warnings=False).only
    assert only is not None
    assert {"Heart Rate", source.generic} <= set(only.values)
    wide = next(source for source in eicu_events() if source.wide)
    assert EventRules(wide, "eicu", INDEX, drop_warnings=False).only is None
