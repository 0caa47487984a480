"""Predictions and results as MEDS-DEV and meds-evaluation take them."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from small_hospital import KEYS, make_predictions

from clinragen.cli import dispatch
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation.meds_dev import PREDICTIONS, results

#: of https://github.com/kamilest/meds-evaluation, src/meds_evaluation/schema.py: columns beside MEDS's label schema
PREDICTED = {"predicted_boolean_value": pa.bool_(), "predicted_boolean_probability": pa.float32()}
#: of tests/sample_output/results.json there
SCORES = {
    "binary_accuracy", "f1_score", "roc_auc_score", "average_precision_score", "calibration_error", "brier_score",
}  # fmt: skip


@pytest.fixture
def written(cohort, tmp_path):
    predictions = make_predictions(tmp_path / "predictions", cohort)
    words = ["--predictions", predictions, "--cohort", cohort, "--out", tmp_path / "out", "--no-controls"]
    assert not dispatch(["evaluate", *map(str, words), "--replicates", "5", "--form", "meds-dev"])
    return predictions, tmp_path / "out" / "meds-dev", list(map(str, words))


def test_each_label_has_its_predictions_in_the_label_schema(cohort, written):
    predictions, folder, _ = written
    meds = pytest.importorskip("meds")
    opened = Cohort.load(cohort)
    probabilities = pl.read_parquet(predictions / "predictions.parquet").select("stay_id", "probabilities")
    thresholds = json.loads((predictions / "manifest.json").read_text())["thresholds"]
    for key in KEYS:
        table = pq.read_table(folder / "predictions" / f"{key}.parquet")
        meds.LabelSchema.validate(table.drop_columns(list(PREDICTED)))
        assert {name: table.schema.field(name).type for name in PREDICTED} == PREDICTED
        truth = probabilities.unnest("probabilities").select("stay_id", predicted=key)
        truth = truth.join(opened.labels.select("stay_id", label=key), on="stay_id")
        truth = truth.join(opened.stays, on="stay_id").sort("subject_id", "prediction_time")
        assert table["subject_id"].to_pylist() == truth["subject_id"].to_list()
        assert table["prediction_time"].to_pylist() == truth["prediction_time"].to_list()
        assert table["boolean_value"].to_pylist() == truth["label"].to_list()
        assert np.allclose(table["predicted_boolean_probability"].to_numpy(), truth["predicted"].to_numpy(), atol=1e-6)
        assert table["predicted_boolean_value"].to_pylist() == (truth["predicted"] >= thresholds[key]).to_list()


def test_each_label_has_a_result_that_a_table_takes(written):
    predictions, folder, words = written
    evaluation = json.loads((folder.parent / "evaluation.json").read_text())
    auroc = {row["key"]: row["auroc"]["value"] for row in evaluation["phenotypes"]}
    for key in KEYS:
        record = json.loads((folder / "results" / f"{key}.json").read_text())
        assert set(record) == {"dataset", "task", "model", "timestamp", "result", "version"}
        assert all(isinstance(record[name], str) for name in set(record) - {"result"})
        assert datetime.fromisoformat(record["timestamp"]).timestamp() <= datetime.now().timestamp()
        assert record["task"] == f"diagnosis/{key}"
        assert str(predictions.parent) not in json.dumps(record)
        assert set(record["result"]) == {"samples_equally_weighted", "subjects_equally_weighted"}
        for scores in record["result"].values():
            assert set(scores) == SCORES
            assert all(value is None or 0 <= value <= 1 for value in scores.values())
        assert record["result"]["samples_equally_weighted"]["roc_auc_score"] == pytest.approx(auroc[key], abs=1e-6)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(UserError, match="already exists"):
        dispatch(["evaluate", *words, "--replicates", "5", "--form", "meds-dev"])
    assert not dispatch(["evaluate", *words, "--replicates", "5", "--form", "meds-dev", "--overwrite"])
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 4), st.booleans(), st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=20
    )
)
def test_scores_are_those_of_scikit_learn_and_stay_in_their_range(rows):
    rows = sorted(rows, key=lambda row: row[0])
    subjects, gold, called, probabilities = zip(*rows, strict=True)
    times = [datetime(2150, 1, 1)] * len(rows)
    table = pa.Table.from_pydict(
        dict(zip(PREDICTIONS.names, (subjects, times, gold, called, probabilities), strict=True)), schema=PREDICTIONS
    )
    scored = results(table)
    samples = scored["samples_equally_weighted"]
    assert samples["binary_accuracy"] == pytest.approx(np.mean(np.equal(gold, called)))
    assert samples["brier_score"] == pytest.approx(np.mean((np.array(gold) - np.array(probabilities)) ** 2), abs=1e-6)
    if 0 < sum(gold) < len(gold):
        assert samples["roc_auc_score"] == pytest.approx(roc_auc_score(gold, probabilities))
        assert samples["average_precision_score"] == pytest.approx(average_precision_score(gold, probabilities))
    else:
        assert samples["roc_auc_score"] is None
    assert results(table) == scored  # the draw of stays is the same each time
    if len(set(subjects)) == len(subjects):  # four times the same stay of each patient weighs as much as once
        assert scored["subjects_equally_weighted"]["brier_score"] == pytest.approx(samples["brier_score"], abs=1e-6)
