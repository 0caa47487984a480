"""Intervals of calibrated probabilities: how far a calibration would have come out otherwise on other validation stays.

A calibration is a regression on the validation stays, and like any estimate it has an error: the large-sample one of a
penalised logistic regression (the inverse of its curvature), widened where stays of one patient are alike (the design
effect of the cluster-robust "sandwich", Liang & Zeger 1986). On the scale of logits it grows with the distance from
where the validation stays lie, and for labels with few positives. It says nothing of how another training would have
come out, nor of another hospital.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clinragen.errors import UserError
from clinragen.shape import NUMBER, differs


@dataclass(frozen=True)
class CalibrationVariance:
    """Variances of a calibration with a common slope and an offset for each label.

    Attributes:
        slope: variance of the slope.
        offsets: variance of each offset, [labels].
        both: covariance of slope and each offset, [labels].
    """

    slope: float
    offsets: list[float]
    both: list[float]

    @classmethod
    def fit(
        cls,
        logits: np.ndarray,
        labels: np.ndarray,
        probabilities: np.ndarray,
        counts: np.ndarray,
        patients: np.ndarray | None = None,
    ) -> CalibrationVariance:
        """Of the regression that gave ``probabilities``.

        Args:
            logits: [n, labels], of the validation stays.
            labels: [n, labels], 0 or 1.
            probabilities: [n, labels], calibrated.
            counts: [n, labels] bool, the pairs that count.
            patients: [n] ids; each stay is a patient's only one by default.
        """
        width = logits.shape[1]
        weights = np.where(counts, probabilities * (1 - probabilities), 0.0)
        curvature = np.zeros((width + 1, width + 1))
        curvature[0, 0] = (weights * logits**2).sum() + 1.0  # the penalty of the regression: C = 1
        curvature[0, 1:] = curvature[1:, 0] = (weights * logits).sum(axis=0)
        curvature[1:, 1:] = np.diag(weights.sum(axis=0) + 1.0)
        variance = np.linalg.inv(curvature)
        missed = np.where(counts, labels - probabilities, 0.0)
        gradients = np.concatenate([(missed * logits).sum(axis=1, keepdims=True), missed], axis=1)
        variance *= max(1.0, _design_effect(gradients, patients))
        return cls(float(variance[0, 0]), np.diag(variance)[1:].tolist(), variance[0, 1:].tolist())

    def moved(self, shift: np.ndarray) -> CalibrationVariance:
        """The error for logits that lack ``shift``, [labels]."""
        both, offsets = np.asarray(self.both), np.asarray(self.offsets)
        return CalibrationVariance(
            self.slope,
            (offsets + 2 * shift * both + shift**2 * self.slope).tolist(),
            (both + shift * self.slope).tolist(),
        )

    def deviations(self, logits: np.ndarray) -> np.ndarray:
        """Standard errors of the calibrated logits, [n, labels]."""
        variance = self.slope * logits**2 + 2 * np.asarray(self.both) * logits + np.asarray(self.offsets)
        return np.sqrt(np.maximum(variance, 0.0))

    @classmethod
    def from_json(cls, values: Any, labels: int) -> CalibrationVariance:
        """From ``calibration.json``, of so many labels.

        Raises:
            UserError: it is damaged.
        """
        shape = {"slope": NUMBER, "offsets": [NUMBER], "both": [NUMBER]}
        if trouble := differs(values, shape):
            raise UserError(f"calibration.json: `variance` is damaged ({trouble}): train anew")
        variance = cls(values["slope"], values["offsets"], values["both"])
        if not (len(variance.offsets) == len(variance.both) == labels):
            raise UserError(f"calibration.json: `variance` is not of {labels} labels: train anew")
        return variance


def _design_effect(gradients: np.ndarray, patients: np.ndarray | None) -> float:
    """How much more the gradients vary between patients than they would if all stays were of different ones."""
    if patients is None:
        return 1.0
    _, owner = np.unique(patients, return_inverse=True)
    sums = np.zeros((owner.max() + 1, gradients.shape[1]))
    np.add.at(sums, owner, gradients)
    return float((sums**2).sum() / max((gradients**2).sum(), 1e-12))
