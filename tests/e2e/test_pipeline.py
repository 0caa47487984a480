"""From raw tables to a report by the commands a user types, on the small synthetic hospital."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest

from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.inference.predict import TrainedModel


@pytest.fixture(scope="module")
def predicted(runs) -> pl.DataFrame:
    return pl.read_parquet(runs.predictions / "predictions.parquet")


def test_every_stay_of_the_split_is_predicted_once(predicted, hospital):
    assert sorted(predicted["stay_id"].to_list()) == Cohort.load(hospital.cohort).split("test").tolist()


def test_both_files_hold_the_same(predicted, runs):
    lines = [json.loads(line) for line in (runs.predictions / "predictions.jsonl").read_text().splitlines()]
    assert lines == predicted.to_dicts()


def test_all_outputs_are_reports_of_the_closed_list(predicted):
    keys = list(phenotypes())
    assert predicted["parsed"].all()
    for row in predicted.iter_rows(named=True):
        assert row["note_rationale"]
        assert row["series_rationale"]
        assert row["diagnoses"] == [key for key in keys if key in row["diagnoses"]]
        assert list(row["probabilities"]) == keys
        assert all(0 <= p <= 1 for p in row["probabilities"].values())


def test_the_list_names_what_the_rationales_argue_for(predicted, runs):
    """Grounded rationales speak of the diagnoses whose probability reaches the threshold, and so does the list."""
    thresholds = json.loads((runs.predictions / "manifest.json").read_text())["thresholds"]
    for row in predicted.iter_rows(named=True):
        assert row["diagnoses"] == [key for key, p in row["probabilities"].items() if p > thresholds[key]]
        assert ("no disease was diagnosed" in row["note_rationale"]) == (not row["diagnoses"])


def test_concepts_are_weighed_heaviest_first(predicted):
    for concepts in predicted["concepts"].to_list():
        weights = [row["weight"] for row in concepts]
        assert len(weights) == 15
        assert weights == sorted(weights, reverse=True)
        assert 0 < sum(weights) <= 1.0001
        assert all(
            re.match(r"(variable|finding|phenotype|symptom|drug|disease|procedure):", r["concept"]) for r in concepts
        )


def test_the_manifest_names_model_cohort_and_split(runs, hospital):
    manifest = json.loads((runs.predictions / "manifest.json").read_text())
    assert manifest["split"] == "test"
    assert manifest["series_input"] == "observed"
    assert manifest["labels"] == list(phenotypes())
    assert manifest["cohort_hash"] == Cohort.load(hospital.cohort).sha256
    assert manifest["model_hash"] == json.loads((runs.multimodal / "manifest.json").read_text())["model_sha256"]
    assert all(0 < threshold < 1 for threshold in manifest["thresholds"].values())


def test_possible_labels_are_those_from_one_probability_on(predicted, runs, hospital, command, tmp_path):
    least = json.loads((runs.predictions / "manifest.json").read_text())["possible_from"]
    for row in predicted.iter_rows(named=True):
        clear = {key: chance for key, chance in row["probabilities"].items() if abs(chance - least) > 2e-6}
        assert set(row["possible"]) & set(clear) == {key for key, chance in clear.items() if chance > least}
    out = tmp_path / "evaluation"
    evaluate = ("clinragen", "evaluate", "--predictions", runs.predictions, "--cohort", hospital.cohort, "--out", out)
    assert command(*evaluate, "--no-controls", "--reasons", 0) == 0
    sets = json.loads((out / "evaluation.json").read_text())["label_sets"]
    assert sets["promised"] == 0.9
    sizes = predicted["possible"].list.len().to_list()
    assert sets["size"]["value"] == pytest.approx(sum(sizes) / len(sizes))


def test_every_probability_lies_within_its_interval(predicted, runs):
    from clinragen.evaluation.inputs import load_predictions

    loaded = load_predictions(runs.predictions)
    low, high = loaded.intervals[..., 0], loaded.intervals[..., 1]
    assert ((low < loaded.system.probabilities) & (loaded.system.probabilities < high)).all()
    one = next(predicted.iter_rows(named=True))
    assert one["interval"]["shock"] == loaded.intervals[0, list(loaded.labels).index("shock")].tolist()


def test_predicting_again_in_other_batches_gives_the_same(runs, hospital, predicted, command, tmp_path):
    predict = ("clinragen", "predict", "--model", runs.multimodal, "--cohort", hospital.cohort)
    assert command(*predict, "--out", tmp_path / "again", "--batch-size", 3) == 0
    again = pl.read_parquet(tmp_path / "again" / "predictions.parquet")
    columns = ["stay_id", "diagnoses", "note_rationale", "series_rationale", "parsed"]
    assert again.select(columns).equals(predicted.select(columns))
    expected, got = (frame["probabilities"].struct.unnest().to_numpy() for frame in (predicted, again))
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_evaluate_shows_the_controls_and_report_writes_a_page_per_stay(
    runs, hospital, predicted, command, tmp_path, capsys, monkeypatch
):
    given = ("--predictions", runs.predictions, "--cohort", hospital.cohort)
    loaded: list[object] = []
    load = TrainedModel.load
    monkeypatch.setattr(TrainedModel, "load", lambda *arguments: (loaded.append(arguments), load(*arguments))[1])
    assert command("clinragen", "evaluate", *given, "--out", tmp_path / "evaluation") == 0
    assert len(loaded) == 1  # for the controls and for the evidence that is removed
    shown = capsys.readouterr().out
    for word in ("macro AUROC", "series zeroed", "series permuted", "prevalence guess"):
        assert re.search(r"\s+".join(word.split()), shown), word
    scored = tmp_path / "evaluation" / "evaluation.json"
    assert command("clinragen", "report", *given, "--evaluation", scored, "--out", tmp_path / "report") == 0
    index = (tmp_path / "report" / "shared" / "rows.js").read_text()
    for stay in predicted["stay_id"].to_list():
        assert str(stay) in index
    assert len(list((tmp_path / "report").rglob("*.html"))) >= len(predicted) + 1


def test_notes_only_and_series_only_models_predict_too(runs, hospital, command, tmp_path):
    for name, run in (("notes", runs.notes), ("series", runs.series)):
        predict = ("clinragen", "predict", "--model", run, "--cohort", hospital.cohort, "--limit", 4)
        assert command(*predict, "--out", tmp_path / name) == 0
    notes, series = (pl.read_parquet(tmp_path / name / "predictions.parquet") for name in ("notes", "series"))
    assert notes["parsed"].all()
    assert series["parsed"].all()
    assert notes["concepts"].list.len().max() == 0
    assert series["note_rationale"].to_list() == [""] * 4


def test_control_predictions_remove_and_exchange_the_series(runs, hospital, predicted, command, tmp_path):
    probabilities = [predicted["probabilities"].struct.unnest().to_numpy()]
    for name in ("zeroed", "permuted"):
        predict = ("clinragen", "predict", "--model", runs.multimodal, "--cohort", hospital.cohort)
        assert command(*predict, "--series-input", name, "--out", tmp_path / name) == 0
        assert json.loads((tmp_path / name / "manifest.json").read_text())["series_input"] == name
        table = pl.read_parquet(tmp_path / name / "predictions.parquet")
        probabilities.append(table["probabilities"].struct.unnest().to_numpy())
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-4
    assert np.abs(probabilities[0] - probabilities[2]).max() > 1e-4
