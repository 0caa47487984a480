"""Batch inference, constrained decoding, calibration and control experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clinragen.choices import CONTROLS

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel


def controls(trained: TrainedModel, cohort: Cohort, split: str) -> dict[str, np.ndarray]:
    """Calibrated probabilities of a model on the stays of a split with the series zeroed and permuted.

    Returns:
        ``zeroed`` and ``permuted``, each [n, phenotypes] in the order of the split's stays; empty for a model that
        reads no series.
    """
    from clinragen.inference.predict import score

    inputs = trained.manifest.inputs
    if "series" not in inputs:
        return {}
    probabilities = {}
    for name in CONTROLS:
        logits, _ = score(trained.model, trained.dataset(cohort, split, name), inputs, where=trained.device)
        probabilities[name] = trained.calibration.probabilities(logits)
    return probabilities
