"""Scores of each label with intervals: those of scikit-learn, what is undefined, means by kind, whole lists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from small_hospital import make_cohort, make_predictions

from clinragen.cohort.folder import Cohort
from clinragen.evaluation import by_label
from clinragen.evaluation.diagnosis import System, calibration_curve
from clinragen.evaluation.inputs import load_predictions, load_truth


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("by_label")
    cohort = make_cohort(root / "cohort", stays=60)
    predictions = load_predictions(make_predictions(root / "predictions", cohort))
    return predictions, load_truth(predictions, Cohort.load(cohort))


def test_each_score_is_that_of_scikit_learn(scored) -> None:
    predictions, truth = scored
    part = by_label.summarize(predictions, truth, replicates=20)
    gold, listed, chances = truth.gold, predictions.system.listed, predictions.system.probabilities
    checked = 0
    for column, key in enumerate(predictions.labels):
        real, called, chance = gold[:, column], listed[:, column], chances[:, column]
        if not real.any() or real.all() or not called.any():
            continue
        curve = calibration_curve(real[:, None], chance[:, None])
        expected = {
            "auroc": roc_auc_score(real, chance),
            "auprc": average_precision_score(real, chance),
            "precision": precision_score(real, called),
            "recall": recall_score(real, called),
            "f1": f1_score(real, called),
            "brier": brier_score_loss(real, chance),
            "ece": sum(each["count"] * abs(each["probability"] - each["observed"]) for each in curve) / len(real),
        }
        for name, value in expected.items():
            score = part["labels"][key][name]
            assert score["value"] == pytest.approx(value, abs=1e-6)
            assert score["low"] <= score["high"]
        checked += 1
    assert checked > 3
    assert part["subset_accuracy"]["value"] == pytest.approx(accuracy_score(gold, listed))


def test_what_is_not_defined_is_none_and_named(scored) -> None:
    predictions, truth = scored
    gold, listed = truth.gold.copy(), predictions.system.listed.copy()
    gold[:, 0], listed[:, 1] = False, False
    gold[0, 1] = True
    altered = replace(predictions, system=replace(predictions.system, written=listed))
    part = by_label.summarize(altered, replace(truth, gold=gold), replicates=20)
    first, second = list(predictions.labels)[:2]
    for name in ("auroc", "auprc", "recall", "f1"):
        assert part["labels"][first][name] == {"value": None, "low": None, "high": None}
        assert first in part["undefined"][name]
    assert part["labels"][second]["precision"]["value"] is None
    assert second in part["undefined"]["precision"]
    assert part["labels"][second]["f1"]["value"] == 0
    assert "brier" not in part["undefined"]


def test_means_by_kind_are_over_its_labels(scored) -> None:
    predictions, truth = scored
    part = by_label.summarize(predictions, truth, replicates=20)
    kinds = {label.kind for label in predictions.labels.values()}
    assert {row["kind"] for row in part["kinds"]} == (kinds if len(kinds) > 1 else set())
    assert sum(row["labels"] for row in part["kinds"]) in (0, len(predictions.labels))
    for row in part["kinds"]:
        for name, score in row["scores"].items():
            values = [
                value
                for key, label in predictions.labels.items()
                if label.kind == row["kind"] and (value := part["labels"][key][name]["value"]) is not None
            ]
            assert score["value"] == (pytest.approx(np.mean(values)) if values else None)


def test_ineligible_stays_count_nowhere(scored) -> None:
    predictions, truth = scored
    rows = np.arange(len(truth.gold)) % 3 > 0
    eligible = np.repeat(rows[:, None], truth.gold.shape[1], axis=1)
    part = by_label.summarize(predictions, replace(truth, eligible=eligible), replicates=2)
    stays = np.flatnonzero(rows).tolist()
    alone = by_label.summarize(predictions.take(stays), truth.take(stays, predictions.stay_ids[stays]), replicates=2)
    for key, scores in alone["labels"].items():
        for name, score in scores.items():
            assert part["labels"][key][name]["value"] == pytest.approx(score["value"], abs=1e-6)


def test_a_perfect_system_is_wholly_right(scored) -> None:
    predictions, truth = scored
    system = System(truth.gold.astype(float), np.full(truth.gold.shape[1], 0.5))
    part = by_label.summarize(replace(predictions, system=system), truth, replicates=20)
    assert part["subset_accuracy"] == {"value": 1, "low": 1, "high": 1}
    for scores in part["labels"].values():
        assert {scores[name]["value"] for name in ("auroc", "precision", "recall", "f1")} <= {1, None}
        assert scores["brier"]["value"] == scores["ece"]["value"] == 0
