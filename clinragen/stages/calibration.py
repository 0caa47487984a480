"""What is fitted once a student is trained: linear probes, and the calibration of its probabilities."""

from __future__ import annotations

from rich.console import Console

from clinragen.data.dataset import StayDataset
from clinragen.inference.calibrate import Calibration, LabelCounts, fit_calibration
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import phase
from clinragen.stages.config import StageConfig
from clinragen.stages.ensemble import fit_linear_probes, refit_linear_probes


def calibrated(
    model: ClinRaGen, data: dict[str, StayDataset], stage: StageConfig, console: Console
) -> tuple[Calibration, dict[str, float]]:
    """Fit the linear probes in place and calibrate the probabilities on the validation stays.

    Args:
        model: the trained student, in evaluation mode.
        data: stays of ``train`` and ``validation``.
        stage: its settings.
        console: where progress is shown.

    Returns:
        The calibration, and penalties and gains of the probes, for the manifest.
    """
    weigh = stage.freshness == "validation"
    fits = fit_linear_probes(model, data, stage.inputs, stage.batch_size, console, weigh=weigh)
    phase(console, "calibrating on the validation stays and writing the model")
    logits, labels = score(model, data["validation"], stage.inputs, stage.batch_size)
    calibration = fit_calibration(
        logits, labels, list(model.labels), data["validation"].eligible, data["validation"].patients,
        LabelCounts.of(data["train"].labels, data["train"].eligible),
    )  # fmt: skip
    if fits is None:
        return calibration, {}
    return calibration.moved(refit_linear_probes(model, data, fits, console)), fits.described()
