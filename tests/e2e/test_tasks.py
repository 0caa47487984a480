"""A task other than diagnosis goes through training, prediction and evaluation; a task is one file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl

from clinragen import tasks
from clinragen.data.cohort import Cohort


def test_a_long_stay_is_learned_predicted_and_scored_on_eligible_stays(hospital, command, tmp_path, capsys):
    name, key = "length_of_stay_over_7_days", "icu_stay_over_7_days"
    given = ("--cohort", hospital.cohort, "--task", name, "--model", hospital.model)
    assert command("clinragen", "train", "notes", *given, "--out", tmp_path / "notes", "--set", "stage.epochs=1") == 0
    assert json.loads((tmp_path / "notes" / "manifest.json").read_text())["task"] == name
    predict = ("--model", tmp_path / "notes", "--cohort", hospital.cohort, "--out", tmp_path / "predictions")
    assert command("clinragen", "predict", *predict) == 0
    rows = pl.read_parquet(tmp_path / "predictions" / "predictions.parquet")
    assert rows["parsed"].all()
    assert rows["probabilities"].struct.fields == [key]
    scored = ("--predictions", tmp_path / "predictions", "--cohort", hospital.cohort, "--no-controls")
    assert command("clinragen", "evaluate", *scored, "--replicates", "5") == 0
    evaluation = json.loads((tmp_path / "predictions" / "evaluation.json").read_text())
    eligible = tasks.load(name).labels(Cohort.load(hospital.cohort), rows["stay_id"].to_numpy()).eligible
    assert evaluation["phenotypes"][0]["n_eligible"] == eligible.sum()
    assert command("clinragen", "report", *scored[:4], "--out", tmp_path / "report") == 0
    capsys.readouterr()
    parent = ("--cohort", hospital.cohort, "--parent", tmp_path / "notes", "--out", tmp_path / "series")
    assert command("clinragen", "train", "series", *parent) == 2
    assert f"learns task '{name}', not 'diagnosis'" in capsys.readouterr().err


def test_a_cohort_of_before_serves_diagnosis_and_refuses_mortality(hospital, command, tmp_path, capsys):
    old = tmp_path / "cohort"
    shutil.copytree(hospital.cohort, old)
    (old / "outcomes.parquet").unlink()
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["outputs"]["outcomes.parquet"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    given = ("--cohort", old, "--model", hospital.model, "--out", tmp_path / "notes", "--preflight")
    assert command("clinragen", "train", "notes", *given, "--task", "mortality") == 2
    said = capsys.readouterr().err
    assert "has no outcomes (outcomes.parquet)" in said
    assert "prepare it anew" in said
    assert command("clinragen", "train", "notes", *given) == 0


def test_the_task_of_the_page_is_one_file(hospital, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "long_hospital_stay.py").write_text(code.replace('"NAME"', '"long_hospital_stay"'))
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert "long_hospital_stay" in tasks.names()
    cohort, task = Cohort.load(hospital.cohort), tasks.load("long_hospital_stay")
    present, eligible = task.labels(cohort, cohort.split("train"))
    assert eligible.any()
    assert not (present & ~eligible).any()
