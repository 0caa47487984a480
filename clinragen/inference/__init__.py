"""Batch inference, constrained decoding, calibration and control experiments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clinragen.choices import CONTROLS, Device


def controls(predictions: Path, cohort: Path, device: Device = "auto") -> dict[str, np.ndarray]:
    """Calibrated probabilities of the same model on the same stays with the series zeroed and permuted.

    Returns:
        ``zeroed`` and ``permuted``, each [n, phenotypes] in the order of the split's stays; empty for a model that
        reads no series.
    """
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel, score
    from clinragen.manifests import PredictionsManifest

    manifest = PredictionsManifest.read(predictions / "manifest.json")
    trained = TrainedModel.load(manifest.model, device)
    inputs = trained.manifest.inputs
    if "series" not in inputs:
        return {}
    opened = Cohort.load(cohort)
    probabilities = {}
    for name in CONTROLS:
        logits, _ = score(trained.model, trained.dataset(opened, manifest.split, name), inputs, where=trained.device)
        probabilities[name] = trained.calibration.probabilities(logits)
    return probabilities
