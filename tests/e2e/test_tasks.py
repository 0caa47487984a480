"""A task other than diagnosis goes through training, prediction and evaluation; a task is one file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from clinragen import tasks
from clinragen.artifacts import write_table
from clinragen.cohort.folder import Cohort
from clinragen.integrity import outputs_of
from clinragen.schema import OUTCOMES, STAYS, CohortPaths


@pytest.fixture
def mortal(hospital, tmp_path):
    """The cohort with ends of our own: every fourth stay is over by the prediction, of the others every second dies."""
    root = tmp_path / "mortal"
    shutil.copytree(hospital.cohort, root)
    paths, place = CohortPaths(root), pl.int_range(pl.len()).over("split")
    stays = pl.read_parquet(paths.stays).sort("stay_id")
    later = pl.col("prediction_time") + pl.duration(days=pl.when(place % 4 == 3).then(-1).otherwise(2))
    write_table(paths.stays, stays.with_columns(outtime=later).to_arrow().cast(STAYS))
    ends = stays.select("stay_id", died_in_hospital=place % 2 == 0, death_time=None, hospital_outtime=None)
    write_table(paths.outcomes, ends.to_arrow().cast(OUTCOMES))
    manifest = json.loads(paths.manifest.read_text())
    paths.manifest.write_text(json.dumps(manifest | outputs_of(root.glob("*.parquet"))))
    return root


def test_mortality_is_learned_predicted_and_scored_on_eligible_stays(mortal, hospital, command, tmp_path, capsys):
    name, key = "mortality", "in_hospital_death"
    given = ("--cohort", mortal, "--task", name, "--model", hospital.model)
    assert command("clinragen", "train", "notes", *given, "--out", tmp_path / "notes", "--set", "stage.epochs=1") == 0
    assert json.loads((tmp_path / "notes" / "manifest.json").read_text())["task"] == name
    predict = ("--model", tmp_path / "notes", "--cohort", mortal, "--out", tmp_path / "predictions")
    assert command("clinragen", "predict", *predict) == 0
    rows = pl.read_parquet(tmp_path / "predictions" / "predictions.parquet")
    assert rows["parsed"].all()
    assert rows["probabilities"].struct.fields == [key]
    scored = ("--predictions", tmp_path / "predictions", "--cohort", mortal, "--no-controls")
    assert command("clinragen", "evaluate", *scored, "--replicates", "5") == 0
    evaluation = json.loads((tmp_path / "predictions" / "evaluation.json").read_text())
    eligible = tasks.load(name).labels(Cohort.load(mortal), rows["stay_id"].to_numpy()).eligible
    assert evaluation["phenotypes"][0]["n_eligible"] == eligible.sum() < len(rows)
    assert set(evaluation["phenotypes"][0]["scores"]) == {"min(Se, +P)"}
    assert command("clinragen", "report", *scored[:4], "--out", tmp_path / "report") == 0
    capsys.readouterr()
    parent = ("--cohort", mortal, "--parent", tmp_path / "notes", "--out", tmp_path / "series")
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
