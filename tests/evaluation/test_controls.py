"""Controls: what each alters of the input, what it leaves, and that nothing is learned of permuted labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clinragen.baselines import permuted_labels
from clinragen.choices import CONTROLS, INPUT_CONTROLS
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import CONTROL_TITLES
from clinragen.inference import controls
from clinragen.inference.predict import TrainedModel
from clinragen.tasks import load


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def trained(runs) -> TrainedModel:
    return TrainedModel.load(runs.multimodal)


@pytest.fixture(scope="module")
def dataset(trained, cohort):
    return trained.dataset(cohort, "test")


def test_a_reversed_series_has_the_same_values_backwards(dataset) -> None:
    backwards = replace(dataset, series_input="reversed")
    for index in range(len(dataset)):
        now, then = dataset[index], backwards[index]
        hours = np.flatnonzero(now.observed.any(axis=0))
        span = slice(hours[0], hours[-1] + 1)
        assert np.array_equal(then.observed[:, span], now.observed[:, span][:, ::-1])
        assert np.array_equal(then.values[:, span], now.values[:, span][:, ::-1])
        assert not then.observed[:, : hours[0]].any()
        assert not then.observed[:, hours[-1] + 1 :].any()
        assert then.note_ids == now.note_ids
    twice = replace(backwards, series_input="observed")
    assert np.array_equal(twice.values, dataset.values)


def test_measurements_in_words_are_reversed_likewise(dataset) -> None:
    now, then = dataset.measurements(), replace(dataset, series_input="reversed").measurements()
    columns = ["stay_id", "variable", "value"]
    assert now.select(columns).sort(columns).equals(then.select(columns).sort(columns))
    hours = pl.col("hour").min().alias("first"), pl.col("hour").max().alias("last")
    assert (
        now.group_by("stay_id").agg(hours).sort("stay_id").equals(then.group_by("stay_id").agg(hours).sort("stay_id"))
    )
    assert not now.equals(then)


def test_emptied_notes_leave_no_word_term_or_concept(dataset) -> None:
    emptied = replace(dataset, note_input="emptied")
    for index in range(len(dataset)):
        stay = emptied[index]
        assert len(stay.note_ids) == 1
        assert not len(stay.term_ids)
        assert not stay.mentions.any()
        assert np.array_equal(stay.values, dataset[index].values)
    assert any(len(dataset[index].term_ids) for index in range(len(dataset)))


def test_each_control_is_run_once_and_differs(trained, cohort) -> None:
    begun: list[str] = []
    probabilities = controls(trained, cohort, "test", begin=begun.append)
    assert tuple(begun) == tuple(probabilities) == INPUT_CONTROLS
    shapes = {array.shape for array in probabilities.values()}
    assert len(shapes) == 1
    arrays = list(probabilities.values())
    assert not any(np.array_equal(arrays[i], arrays[j]) for i in range(4) for j in range(i))
    assert list(controls(trained, cohort, "test", ["emptied"])) == ["emptied"]


def test_every_control_has_a_title() -> None:
    assert tuple(CONTROL_TITLES) == CONTROLS


def test_permuted_labels_stay_in_their_split_and_test_labels_where_they_are(cohort) -> None:
    labels = load("diagnosis").labels(cohort, cohort.stays["stay_id"].to_numpy())
    dealt = permuted_labels(cohort, labels, seed=1)
    for split in ("train", "validation", "test"):
        rows = (cohort.stays["split"] == split).to_numpy()
        before, after = labels.present[rows], dealt.present[rows]
        assert sorted(map(bytes, before)) == sorted(map(bytes, after))
        assert np.array_equal(before, after) or split != "test"
    assert not np.array_equal(labels.present, dealt.present)
    assert not np.array_equal(dealt.present, permuted_labels(cohort, labels, seed=2).present)


def test_evaluate_tells_every_control(runs, hospital, command, tmp_path: Path, capsys) -> None:
    options = ("--predictions", runs.predictions, "--cohort", hospital.cohort, "--out", tmp_path / "evaluation")
    options = (*options, "--replicates", 20, "--reasons", 0, "--labels-permuted")
    assert command("clinragen", "evaluate", *options) == 0
    evaluation = load_evaluation(tmp_path / "evaluation" / "evaluation.json")
    assert set(evaluation["cost_of_control"]) == set(CONTROLS)
    shown = capsys.readouterr().out
    for name in CONTROLS:
        cost = evaluation["cost_of_control"][name]["macro_auroc"]
        scores = [evaluation["systems"][system]["scores"]["macro_auroc"]["value"] for system in ("model", name)]
        assert cost["value"] == pytest.approx(scores[0] - scores[1])
        assert cost["low"] <= cost["high"]
        assert CONTROL_TITLES[name] in " ".join(shown.split())
    report = ("--predictions", runs.predictions, "--cohort", hospital.cohort, "--out", tmp_path / "report")
    assert command("clinragen", "report", *report, "--evaluation", tmp_path / "evaluation" / "evaluation.json") == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert all(title in page for title in CONTROL_TITLES.values())


def test_permuted_labels_are_for_held_out_stays(runs, hospital, command, tmp_path: Path, capsys) -> None:
    predicted = ("--cohort", hospital.cohort, "--out", tmp_path / "train", "--split", "train", "--diagnoses-only")
    assert command("clinragen", "predict", "--model", runs.multimodal, *predicted) == 0
    options = ("--predictions", tmp_path / "train", "--cohort", hospital.cohort, "--no-controls", "--labels-permuted")
    assert command("clinragen", "evaluate", *options) == 2
    assert "predict held-out stays" in capsys.readouterr().err
    assert json.loads((tmp_path / "train" / "manifest.json").read_text())["split"] == "train"
