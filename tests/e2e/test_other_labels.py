"""A cohort with labels of its own goes through every command; a model of one label set is refused on another."""

from __future__ import annotations

import json

import polars as pl
import pytest

from clinragen.cohort.folder import Cohort

_OWN = """labels:
  lungs: {name: disease of the lungs, icd9: ["460-519"], icd10: [J00-J99]}
  pneumonia: {name: pneumonia, kind: acute, ccs: [122]}
  heart: {name: "heart disease", icd9: ["390-429"], icd10: [I00-I52]}
"""


@pytest.fixture(scope="module")
def cohort(hospital, command, tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    (root / "own.yaml").write_text(_OWN)
    given = ("--raw", hospital.raw, "--out", root / "cohort", "--set", f"labels={root / 'own.yaml'}")
    assert command("mimic-prep", "mimic-iv", *given) == 0
    return root / "cohort"


def test_every_command_takes_a_cohort_with_its_own_labels(cohort, hospital, command, tmp_path, capsys):
    assert command("clinragen", "teach", "--cohort", cohort) == 0
    told = " ".join(Cohort.load(cohort).rationales("evidence").filter(pl.col("kind") == "note")["text"])
    assert "disease of the lungs" in told
    assert "septicemia" not in told
    train = ("--out", tmp_path / "notes", "--model", hospital.model, "--set", "stage.epochs=1")
    assert command("clinragen", "train", "notes", "--cohort", cohort, *train) == 0
    predict = ("--model", tmp_path / "notes", "--cohort", cohort, "--out", tmp_path / "predictions")
    assert command("clinragen", "predict", *predict) == 0
    given = ("--predictions", tmp_path / "predictions", "--cohort", cohort)
    assert command("clinragen", "evaluate", *given, "--out", tmp_path / "evaluation") == 0
    scored = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert [row["name"] for row in scored["phenotypes"]] == ["disease of the lungs", "pneumonia", "heart disease"]
    assert command("clinragen", "report", *given, "--out", tmp_path / "report") == 0
    assert "disease of the lungs" in (tmp_path / "report" / "index.html").read_text()
    evaluated = ("--evaluation", tmp_path / "evaluation" / "evaluation.json")
    assert command("clinragen", "export", "--model", tmp_path / "notes", "--out", tmp_path / "student", *evaluated) == 0
    card = (tmp_path / "student" / "README.md").read_text()
    assert "Labels: disease of the lungs; pneumonia; heart disease." in card
    assert "listed diagnoses with a stated ground" in card
    again = ("--model", tmp_path / "student", "--cohort", cohort, "--out", tmp_path / "again")
    assert command("clinragen", "predict", *again) == 0
    first, second = (pl.read_parquet(tmp_path / name / "predictions.parquet") for name in ("predictions", "again"))
    assert first["diagnoses"].to_list() == second["diagnoses"].to_list()
    capsys.readouterr()
    wrong = ("--model", tmp_path / "notes", "--cohort", hospital.cohort, "--out", tmp_path / "wrong")
    assert command("clinragen", "predict", *wrong) == 2
    assert "was trained on another label set" in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()


def test_the_teacher_says_for_which_labels_it_knows_no_grounds(hospital, command, tmp_path, capsys):
    given = ("--raw", hospital.raw, "--out", tmp_path / "cohort", "--set", "labels=icd_chapters")
    assert command("mimic-prep", "mimic-iv", *given) == 0
    capsys.readouterr()
    assert command("clinragen", "teach", "--cohort", tmp_path / "cohort") == 0
    said = capsys.readouterr().err
    assert "has no evidence for" in said
    assert "congenital" in said
    assert "circulatory" not in said


def test_two_label_sets_live_side_by_side_in_one_process(cohort, hospital, runs, command, tmp_path, capsys):
    from clinragen.evaluation.inputs import load_predictions
    from clinragen.inference.predict import TrainedModel
    from clinragen.knowledge.relabel import open_graph

    own, default = Cohort.load(cohort), Cohort.load(hospital.cohort)
    assert list(own.label_set) == own.labels.columns[1:] == ["lungs", "pneumonia", "heart"]
    assert list(default.label_set) == default.labels.columns[1:]
    graphs = [open_graph(None, each.label_set) for each in (own, default, own)]
    assert [len(graph.of_kind("phenotype")) for graph in graphs] == [3, 25, 3]
    assert "phenotype:lungs" in graphs[0].graph
    assert "phenotype:lungs" not in graphs[1].graph
    if not own.paths.rationales("evidence").exists():
        assert command("clinragen", "teach", "--cohort", cohort) == 0
    train = ("--out", tmp_path / "notes", "--model", hospital.model, "--set", "stage.epochs=1")
    assert command("clinragen", "train", "notes", "--cohort", cohort, *train) == 0
    theirs, ours = TrainedModel.load(tmp_path / "notes"), TrainedModel.load(runs.multimodal)
    assert theirs.model.labels == theirs.model.graph.labels == own.label_set
    assert ours.model.labels == ours.model.graph.labels == default.label_set
    assert load_predictions(runs.predictions).labels == default.label_set
