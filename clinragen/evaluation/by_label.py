"""All scores of each label with intervals, their means by kind of label, and how often a whole list is right.

A score that is not defined is None and named, not 0: a precision of a label that is never listed, a recall or F1 of one
that no stay has, an area without both classes. A mean by kind is over the labels for which the score is defined; its
interval over resampled patients likewise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clinragen.evaluation.diagnosis import CALIBRATION_BINS, bins_of, interval, patient_bootstrap
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.ranking import Ranking
from clinragen.evaluation.rows import ByLabel, KindRow

SCORES = ("auroc", "auprc", "precision", "recall", "f1", "brier", "ece")
_BLOCK = 64  # replicates at once: bounds the memory


def summarize(predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0) -> ByLabel:
    """Scores of the listed diagnoses and of the probabilities, by label and by kind of label.

    Args:
        predictions: of ``n`` stays.
        truth: their labels.
        replicates: of the bootstrap, which resamples patients.
        seed: of the bootstrap.
    """
    patients = truth.stays["subject_id"].to_numpy()
    weights = np.array([np.ones(len(patients)), *patient_bootstrap(patients, replicates, seed)])
    scores = np.concatenate(list(_scores(predictions, truth, weights)))  # [1 + B, scores, L]
    value, drawn = scores[0], scores[1:]
    labels = predictions.labels
    kinds: list[KindRow] = []
    for kind in dict.fromkeys(label.kind for label in labels.values()):
        members = [position for position, label in enumerate(labels.values()) if label.kind == kind]
        kinds.append(
            {
                "kind": kind,
                "labels": len(members),
                "scores": {
                    name: interval(_mean(value[None, i, members])[0], _mean(drawn[:, i, members]))
                    for i, name in enumerate(SCORES)
                },
            }
        )
    right = (predictions.system.listed == truth.gold) | ~truth.eligible
    whole = weights @ right.all(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return {
        "labels": {
            key: {name: interval(value[i, column], drawn[:, i, column]) for i, name in enumerate(SCORES)}
            for column, key in enumerate(labels)
        },
        "undefined": {
            name: [key for column, key in enumerate(labels) if np.isnan(value[i, column])]
            for i, name in enumerate(SCORES)
            if np.isnan(value[i]).any()
        },
        "kinds": kinds if len(kinds) > 1 else [],
        "subset_accuracy": interval(float(whole[0]), whole[1:]),
    }


def _scores(predictions: Predictions, truth: Truth, weights: np.ndarray) -> Iterator[np.ndarray]:
    """Scores [weights of a block, scores, L], NaN where not defined."""
    system, gold, eligible = predictions.system, truth.gold & truth.eligible, truth.eligible
    listed, chances = system.listed & eligible, system.probabilities
    stays, labels = gold.shape
    ranking = Ranking(gold, chances, eligible)
    squared = (chances - gold) ** 2 * eligible
    gaps = np.zeros((stays, labels, CALIBRATION_BINS), dtype=np.float32)
    np.put_along_axis(gaps, bins_of(chances, CALIBRATION_BINS)[..., None], ((chances - gold) * eligible)[..., None], 2)
    for start in range(0, len(weights), _BLOCK):
        block = weights[start : start + _BLOCK]
        areas = np.array([ranking(row) for row in block]).transpose(1, 0, 2)  # [2, block, L]
        hits, called, real = block @ (gold & listed), block @ listed, block @ gold
        counted = block @ eligible
        gap = np.abs(block.astype(np.float32) @ gaps.reshape(stays, -1)).reshape(len(block), labels, -1).sum(axis=2)
        f1 = np.where(real > 0, _share(2 * hits, called + real), np.nan)
        agreement = (_share(hits, called), _share(hits, real), f1)
        calibration = (_share(block @ squared, counted), _share(gap, counted))
        yield np.stack((*areas, *agreement, *calibration), axis=1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Means [n] of rows [n, labels] over what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _share(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))
