"""A cohort goes to MEDS, and ``mimic-prep meds`` brings back its stays, series, notes, labels, splits and protocol."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from clinragen.cohort.folder import Cohort
from mimic_prep.cli import main

pytest.importorskip("meds")

from clinragen.adapters.meds import export_cohort

_KEPT = ("protocol", "label_set", "source", "cohort", "attrition", "warnings", "config_hash", "clock")


def _meds(raw: Path, out: Path, *options: str) -> int:
    return main(["meds", "--raw", str(raw), "--out", str(out), *options])


@pytest.mark.parametrize("protocol", ["admission", "paper"])
def test_there_and_back_is_the_same(hospital, prepared, tmp_path, capsys, protocol):
    hospital.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS:\nClear lungs.\n")
    first, second, *_ = hospital.tables["hosp/admissions"][1:]
    first.update(hospital_expire_flag=1, deathtime="2151-03-09 12:00:00")
    second.update(hospital_expire_flag=0, hospital_id="St Mary")
    hospital.tables["hosp/patients"][0]["anchor_year_group"] = "2014 - 2016"
    cohort = prepared(hospital, protocol, notes__kinds="[radiology]", window__hours=24)
    export_cohort(Cohort.load(cohort.root), tmp_path / "meds")
    assert _meds(tmp_path / "meds", tmp_path / "back") == 0
    shown = capsys.readouterr().out
    assert "3 stays of 2 patients" in shown
    for name in ("stays", "series", "notes", "labels", "outcomes", "sites"):
        first, second = ((root / f"{name}.parquet").read_bytes() for root in (cohort.root, tmp_path / "back"))
        assert first == second, name
    manifest = json.loads((tmp_path / "back" / "manifest.json").read_text())
    assert {key: manifest[key] for key in _KEPT} == {key: cohort.manifest[key] for key in _KEPT}
    assert "metadata/subject_splits.parquet" in manifest["inputs"]
    assert Cohort.load(tmp_path / "back").labels.height == 3


def test_a_cohort_without_labels_goes_there_and_back(hospital, tmp_path, capsys):
    hospital.tables["hosp/diagnoses_icd"] = []
    raw, cohort = hospital.write(tmp_path / "raw"), tmp_path / "cohort"
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(cohort)]) == 0
    export_cohort(Cohort.load(cohort), tmp_path / "meds")
    assert not (tmp_path / "meds" / "labels").exists()
    assert _meds(tmp_path / "meds", tmp_path / "back") == 0
    assert not Cohort.load(tmp_path / "back").labelled
    assert (cohort / "notes.parquet").read_bytes() == (tmp_path / "back" / "notes.parquet").read_bytes()
    capsys.readouterr()


@pytest.mark.parametrize("options", [("--set", "window.hours=24"), ("--protocol", "paper"), ("--codes", "own.yaml")])
def test_settings_that_cannot_apply_are_refused(hospital, prepared, tmp_path, capsys, options):
    export_cohort(Cohort.load(prepared(hospital).root), tmp_path / "meds")
    assert _meds(tmp_path / "meds", tmp_path / "back", *options) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert options[0] in line
    assert str(tmp_path / "meds") in line
    assert not (tmp_path / "back").exists()


def test_an_export_that_is_damaged_is_named(hospital, prepared, tmp_path, capsys):
    export_cohort(Cohort.load(prepared(hospital).root), tmp_path / "meds")
    labels = tmp_path / "meds" / "labels" / "pneumonia.parquet"
    pl.read_parquet(labels).drop("boolean_value").write_parquet(labels)
    assert _meds(tmp_path / "meds", tmp_path / "back") == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert str(labels) in line
    assert not (tmp_path / "back").exists()


def test_an_existing_cohort_is_replaced_only_when_asked(hospital, prepared, tmp_path, capsys):
    export_cohort(Cohort.load(prepared(hospital).root), tmp_path / "meds")
    assert _meds(tmp_path / "meds", tmp_path / "back") == 0
    assert _meds(tmp_path / "meds", tmp_path / "back") == 2
    assert _meds(tmp_path / "meds", tmp_path / "back", "--overwrite") == 0
    capsys.readouterr()
