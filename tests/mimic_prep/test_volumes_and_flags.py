"""Exact expected values: volumes charted twice, rows with a warning, stays without a code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clinragen.cohort.folder import Cohort
from mimic_prep.cli import main

#: hour 4 of stay 100, which begins at 08:00
_HOUR = 4.0
_OTHER_ITEM = 226560


def _at(minute: int) -> str:
    return f"2151-03-01 12:{minute:02}:00"


@pytest.mark.parametrize(
    ("rows", "total"),
    [
        ([(5, 100), (5, 100)], 100),  # the same volume at the same minute is one row that is there twice
        ([(5, 100), (5, 40)], 140),  # two volumes of one minute are two
        ([(5, 100), (35, 100)], 200),  # and so is the same one half an hour later
        ([(5, 100, _OTHER_ITEM), (5, 100)], 200),  # or from another catheter
        ([(5, 100), (5, 100), (5, 40), (5, 40), (59, 1)], 141),
        ([(5, 0)], 0),  # nothing came, which is a value
        ([], None),
    ],
)
def test_volumes_of_an_hour_add_up_and_rows_that_are_there_twice_count_once(hospital, prepared, rows, total) -> None:
    for minute, volume, *item in rows:
        hospital.urine(100, _at(minute), volume, *item)
    assert prepared(hospital).values(100).get(("urine_output", _HOUR)) == total


def test_of_a_volume_that_was_corrected_the_last_entry_counts_alone(hospital, prepared) -> None:
    hospital.urine(100, _at(5), 900, storetime=_at(6))
    hospital.urine(100, _at(5), 90, storetime=_at(20))
    hospital.urine(100, _at(5), 90, storetime=_at(20))
    hospital.urine(100, _at(5), 7, _OTHER_ITEM, storetime=_at(6))  # another item is no correction of it
    assert prepared(hospital).values(100)["urine_output", _HOUR] == 97


def test_a_volume_at_the_full_hour_belongs_to_the_hour_that_begins(hospital, prepared) -> None:
    hospital.urine(100, "2151-03-01 11:59:59", 30)
    hospital.urine(100, "2151-03-01 12:00:00", 50)
    values = prepared(hospital).values(100)
    assert (values["urine_output", _HOUR - 1], values["urine_output", _HOUR]) == (30, 50)


def _counts(cohort: Any) -> dict[str, Any]:
    [count] = [count for name, count in cohort.manifest["tables"].items() if "chartevents" in name]
    return count


@pytest.mark.parametrize(
    ("drop", "value", "quarantined"), [(False, 140.0, {}), (True, 90.0, {"marked with a warning": 2})]
)
def test_rows_with_a_warning_are_left_out_only_when_asked(hospital, prepared, drop, value, quarantined) -> None:
    hospital.chart(100, _at(1), 220045, 90, "bpm", 0)
    hospital.chart(100, _at(2), 220045, 140, "bpm", 1)
    hospital.chart(100, "2151-03-01 13:00:00", 220045, 150, "bpm", 2)  # any mark but 0 is a warning
    hospital.chart(100, "2151-03-01 14:00:00", 220045, 77, "bpm", "")  # no mark is none
    cohort = prepared(hospital, rules__drop_warnings=drop, rules__max_bad_share=1)
    values = cohort.values(100)
    assert values["heart_rate", _HOUR] == value
    assert values.get(("heart_rate", _HOUR + 1)) == (None if drop else 150.0)
    assert values["heart_rate", _HOUR + 2] == 77.0
    assert _counts(cohort)["quarantined"] == quarantined


def test_a_stay_without_a_code_carries_no_label_and_is_counted(hospital, prepared) -> None:
    rows = hospital.tables["hosp/diagnoses_icd"]
    hospital.tables["hosp/diagnoses_icd"] = [row for row in rows if row["hadm_id"] != 20]  # of stays 200 and 201
    cohort = prepared(hospital)
    assert cohort.manifest["cohort"]["stays_without_codes"] == 2
    [line] = [line for line in cohort.manifest["warnings"] if "no coded diagnosis" in line]
    assert line.startswith("2 of 3 stays ")
    carried = {row["stay_id"]: [key for key, has in row.items() if has is True] for row in cohort.labels.to_dicts()}
    assert carried == {100: ["pneumonia"], 200: [], 201: []}


def test_a_code_that_gives_no_label_is_a_code(hospital, prepared) -> None:
    for row in hospital.tables["hosp/diagnoses_icd"]:
        if row["hadm_id"] == 20:
            row["icd_code"] = "V1582"  # a history of smoking
    cohort = prepared(hospital)
    assert cohort.manifest["cohort"]["stays_without_codes"] == 0
    assert not [line for line in cohort.manifest["warnings"] if "no coded diagnosis" in line]


def test_no_stay_with_a_code_makes_a_cohort_without_labels(hospital, tmp_path, capsys) -> None:
    hospital.tables["hosp/diagnoses_icd"] = []
    raw = hospital.write(tmp_path / "raw")
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 0
    manifest = json.loads((tmp_path / "cohort" / "manifest.json").read_text())
    assert manifest["cohort"]["stays_without_codes"] == 3
    assert not Cohort.load(tmp_path / "cohort").labelled
    capsys.readouterr()
