"""Calibrated probabilities and decision thresholds, fitted on the validation split only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clinragen.errors import UserError

MIN_POSITIVES = 20  # with fewer validation positives than this a phenotype keeps the common threshold


@dataclass(frozen=True)
class Calibration:
    """Platt scaling with a common slope, and an offset and a threshold for each phenotype.

    The slope is common because rare phenotypes have too few validation positives for their own.
    """

    labels: list[str]
    slope: float
    offsets: list[float]
    thresholds: list[float]

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, [n, phenotypes].

        Raises:
            UserError: a logit is NaN or infinite.
        """
        if not np.isfinite(logits).all():
            row, label = np.argwhere(~np.isfinite(logits))[0]
            raise UserError(f"the model's score of {self.labels[label]} is not finite (row {row}): train anew")
        return np.exp(-np.logaddexp(0, -(self.slope * logits + np.asarray(self.offsets))))

    def beliefs(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities with each phenotype's odds divided by its threshold's: above 0.5 if predicted, never 0 or 1."""
        threshold = np.asarray(self.thresholds)
        odds = probabilities / (1 - probabilities).clip(1e-9) * (1 - threshold) / threshold
        return (odds / (1 + odds)).clip(1e-6, 1 - 1e-6)

    def moved(self, shift: np.ndarray) -> Calibration:
        """The calibration of logits that lack ``shift``, [phenotypes]."""
        return replace(self, offsets=(np.asarray(self.offsets) + self.slope * shift).tolist())

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain values for ``calibration.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any], labels: list[str]) -> Calibration:
        """Check the label order and load."""
        if values.get("labels") != labels:
            raise UserError("calibration.json belongs to another label set than its model: train anew")
        slope, offsets, thresholds = values.get("slope", ""), values.get("offsets", []), values.get("thresholds", [])
        if not (_numbers([slope]) and _numbers(offsets, len(labels)) and _numbers(thresholds, len(labels))):
            raise UserError("calibration.json: expected a slope, and an offset and a threshold for each label")
        if outside := [label for label, value in zip(labels, thresholds, strict=True) if not 0 < value < 1]:
            raise UserError(f"calibration.json: the threshold of {outside[0]} does not lie between 0 and 1: train anew")
        return cls(labels, slope, offsets, thresholds)


def _numbers(values: Any, count: int = 1) -> bool:
    """Whether a JSON value is a list of this many numbers."""
    return isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)


def fit_calibration(
    logits: np.ndarray, labels: np.ndarray, names: list[str], eligible: np.ndarray | None = None
) -> Calibration:
    """Fit on validation logits and labels, both [n, phenotypes].

    One logistic regression over all (stay, phenotype) pairs, on the logit and an indicator of each phenotype.

    Args:
        logits: [n, phenotypes], of the validation stays.
        labels: [n, phenotypes], 0 or 1.
        names: keys of the phenotypes, in the order of the columns.
        eligible: [n, phenotypes], the pairs that count; all by default.

    Raises:
        UserError: none of these pairs is positive, or all are.
    """
    count, width = logits.shape
    counts = np.ones((count, width), dtype=bool) if eligible is None else eligible
    pairs = counts.reshape(-1)
    design = np.concatenate([logits.reshape(-1, 1), np.tile(np.eye(width), (count, 1))], axis=1)
    design, flat = design[pairs], labels.reshape(-1)[pairs].astype(int)
    if not len(flat) or flat.min() == flat.max():
        raise UserError("the validation split has no positive label at all: calibration needs more stays")
    from sklearn.linear_model import LogisticRegression  # not needed for prediction

    regression = LogisticRegression(C=1.0, max_iter=2000).fit(design, flat)
    slope = max(float(regression.coef_[0, 0]), 1e-3)
    offsets = (regression.coef_[0, 1:] + regression.intercept_[0]).tolist()
    unthresholded = Calibration(names, slope, offsets, [0.5] * width)
    probabilities = unthresholded.probabilities(logits)
    common = _best_threshold(labels.reshape(-1)[pairs], probabilities.reshape(-1)[pairs])
    thresholds = [
        0.5 * (common + _best_threshold(labels[counts[:, i], i], probabilities[counts[:, i], i]))
        if labels[counts[:, i], i].sum() >= MIN_POSITIVES
        else common
        for i in range(width)
    ]
    return Calibration(names, slope, offsets, thresholds)


def _best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the best F1 on a grid."""
    candidates = np.linspace(0.05, 0.8, 76)
    flagged = probabilities[None] >= candidates[:, None]
    hits = (flagged & (labels[None] > 0)).sum(1)
    scores = 2 * hits / np.maximum(flagged.sum(1) + labels.sum(), 1)
    return float(candidates[int(scores.argmax())])
