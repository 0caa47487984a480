"""Patients whose diagnoses are not coded yet: predicted and reported; what needs labels says so in one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError


def _without_codes(raw: Path, root: Path, *, header: bool) -> Path:
    for path in raw.rglob("*.csv.gz"):
        target = root / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name != "diagnoses_icd.csv.gz":
            target.symlink_to(path)
        elif header:
            target.write_bytes(gzip.compress(b"subject_id,hadm_id,seq_num,icd_code,icd_version\n"))
    return root


@pytest.fixture(scope="module")
def uncoded(hospital, command, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("uncoded")
    raw = _without_codes(hospital.raw, root / "raw", header=True)
    assert command("mimic-prep", "mimic-iv", "--raw", raw, "--out", root / "cohort") == 0
    return root / "cohort"


def test_no_table_is_as_an_empty_one(uncoded, hospital, command, tmp_path, capsys):
    raw = _without_codes(hospital.raw, tmp_path / "raw", header=False)
    assert command("mimic-prep", "mimic-iv", "--raw", raw, "--out", tmp_path / "cohort") == 0
    assert "no stay has a coded diagnosis" in capsys.readouterr().out
    for root in (uncoded, tmp_path / "cohort"):
        assert not (root / "labels.parquet").exists()
        assert not Cohort.load(root).labelled
    for name in ("stays", "series", "notes"):
        first, second = (pl.read_parquet(root / f"{name}.parquet") for root in (uncoded, tmp_path / "cohort"))
        assert first.equals(second)


def test_they_are_predicted_as_coded_ones_are_and_reported(uncoded, hospital, runs, command, tmp_path):
    for cohort, out in ((uncoded, tmp_path / "uncoded"), (hospital.cohort, tmp_path / "coded")):
        given = ("--model", runs.multimodal, "--cohort", cohort, "--out", out, "--limit", 3)
        assert command("clinragen", "predict", *given) == 0
    first, second = (pl.read_parquet(tmp_path / name / "predictions.parquet") for name in ("uncoded", "coded"))
    same = Cohort.load(uncoded).notes.equals(Cohort.load(hospital.cohort).notes)
    assert first["stay_id"].equals(second["stay_id"])
    if same:  # digests tell earlier diagnoses, which are not coded here either
        assert first.drop("concepts").equals(second.drop("concepts"))
    site = tmp_path / "site"
    given = ("--predictions", tmp_path / "uncoded", "--cohort", uncoded, "--out", site)
    assert command("clinragen", "report", *given) == 0
    page = next((site / "stays").glob("*.html")).read_text()
    assert "the cohort is not coded yet" in page
    assert "not recorded" not in page.split("<main")[1].split("Rationales")[0]


@pytest.mark.parametrize("name", ["teach", "train", "distill", "evaluate", "graph"])
def test_what_needs_labels_refuses_in_one_line(name, uncoded, hospital, runs, command, tmp_path, capsys):
    arguments = {
        "teach": ("teach", "--cohort", uncoded),
        "train": ("train", "notes", "--cohort", uncoded, "--model", hospital.model, "--out", tmp_path / "out"),
        "distill": ("distill", "--cohort", uncoded, "--model", hospital.model, "--out", tmp_path / "out"),
        "evaluate": ("evaluate", "--predictions", tmp_path / "predictions", "--cohort", uncoded, "--no-controls"),
        "graph": ("graph", "build", "--out", tmp_path / "out", "--source", f"cohort={uncoded}"),
    }[name]
    if name == "evaluate":
        given = ("--model", runs.multimodal, "--cohort", uncoded, "--out", tmp_path / "predictions", "--limit", 1)
        assert command("clinragen", "predict", *given) == 0
    capsys.readouterr()
    assert command("clinragen", *arguments) == 2
    told = capsys.readouterr().err.splitlines()
    [line] = [line for line in told if line.startswith("error: ")]  # phases may be announced before it
    assert "labels" in line
    assert str(uncoded) in line
    assert not (tmp_path / "out").exists()


def test_labels_that_were_lost_are_not_labels_that_never_were(hospital, tmp_path):
    for path in hospital.cohort.iterdir():
        if path.name != "labels.parquet":
            (tmp_path / path.name).symlink_to(path)
    cohort = Cohort.load(tmp_path)
    assert cohort.labelled
    with pytest.raises(UserError, match=r"labels\.parquet not found"):
        _ = cohort.labels


def test_the_manifest_says_so(uncoded):
    manifest = json.loads((uncoded / "manifest.json").read_text())
    assert "phenotypes" not in manifest["cohort"]
    assert manifest["cohort"]["stays_without_codes"] == manifest["cohort"]["stays"]
    assert any("no labels" in line for line in manifest["warnings"])
