"""A file format whose layout changes has a new version, so that no reader takes a file for what it is not."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from clinragen.versions import FORMATS
from tests.format_layouts import RECORDED, VERSIONS, breaking, complaints, layouts


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads(RECORDED.read_text())


def test_no_layout_changes_without_its_version(hospital, runs, tmp_path: Path, recorded) -> None:
    assert complaints(layouts(hospital.cohort, runs.root, tmp_path), recorded) == []


def test_every_format_is_recorded_with_the_version_it_bears(recorded) -> None:
    assert recorded.keys() == VERSIONS.keys()
    assert len(VERSIONS) == len(FORMATS) + 1
    by_name = {form.name: form.key for form in FORMATS}
    for key in by_name.values():
        assert f'"{key}": "int"' in json.dumps(recorded), key


def test_what_is_gone_needs_a_version(recorded) -> None:
    now = copy.deepcopy(recorded)
    del now["COHORT"]["layout"]["stays.parquet"]["age"]
    [line] = complaints(now, recorded)
    assert line.startswith("COHORT: stays.parquet age is gone: raise COHORT in clinragen/versions.py, then type")
    assert breaking(now, recorded) == ["COHORT: stays.parquet age is gone: raise COHORT in clinragen/versions.py first"]
    now["COHORT"]["version"] += 1
    [line] = complaints(now, recorded)
    assert "raise" not in line
    assert breaking(now, recorded) == []


@pytest.mark.parametrize(
    ("name", "place", "other"),
    [
        ("GRAPH", ("manifest.json", "nodes"), "str"),
        ("MODEL", ("calibration.json", "slope"), "null"),
        ("PREDICTIONS", ("manifest.json", "stays"), "float"),
    ],
)
def test_another_type_needs_a_version(name, place, other, recorded) -> None:
    now = copy.deepcopy(recorded)
    now[name]["layout"][place[0]][place[1]] = other
    [line] = breaking(now, recorded)
    assert line.startswith(f"{name}: {place[0]} {place[1]} is {other}, was")


def test_a_key_that_is_not_always_there_any_more_needs_a_version(recorded) -> None:
    now = copy.deepcopy(recorded)
    record = now["JOURNAL"]["layout"]["*.journal.jsonl"][0]
    record["text?"] = record.pop("text")
    [line] = breaking(now, recorded)
    assert line.startswith("JOURNAL: *.journal.jsonl text is no longer always there")


def test_what_only_some_records_have_may_be_missing(recorded) -> None:
    now = copy.deepcopy(recorded)
    now["JOURNAL"]["layout"]["*.journal.jsonl"][0].pop("attempt?")
    now["PREDICTIONS"]["layout"]["predictions.jsonl"][0]["diagnoses"] = []
    assert complaints(now, recorded) == []


def test_an_addition_is_recorded_without_a_version_where_older_readers_leave_it_alone(recorded) -> None:
    now = copy.deepcopy(recorded)
    now["EVALUATION"]["layout"]["evaluation.json"]["ward"] = "str"
    [line] = complaints(now, recorded)
    assert line.startswith("EVALUATION: evaluation.json ward is new: raise EVALUATION in clinragen/versions.py where")
    assert breaking(now, recorded) == []


def test_a_raised_version_is_recorded(recorded) -> None:
    now = copy.deepcopy(recorded)
    now["RUN"]["version"] += 1
    [line] = complaints(now, recorded)
    assert line.startswith("RUN: its version was raised: type `python -m tests.format_layouts`")
