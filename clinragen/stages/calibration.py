"""What is fitted once a student is trained: linear probes, similar cases, and the calibration of its probabilities."""

from __future__ import annotations

from rich.console import Console

from clinragen.data.dataset import StayDataset
from clinragen.inference.calibrate import Calibration, LabelCounts, fit_calibration
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import phase
from clinragen.stages.config import StageConfig
from clinragen.stages.ensemble import fit_linear_probes, refit_linear_probes
from clinragen.stages.similar_cases import fit_similar_cases


def calibrated(
    model: ClinRaGen, data: dict[str, StayDataset], stage: StageConfig, console: Console
) -> tuple[Calibration, dict[str, float]]:
    """Fit what the stage adds to the network, in place, and calibrate the probabilities on the validation stays.

    Args:
        model: the trained student, in evaluation mode.
        data: stays of ``train`` and ``validation``.
        stage: its settings.
        console: where progress is shown.

    Returns:
        The calibration, and what was chosen for probes and similar cases, for the manifest.
    """
    weigh = stage.freshness == "validation"
    fits = None
    if stage.linear_probes:
        fits = fit_linear_probes(model, data, stage.inputs, stage.batch_size, console, weigh=weigh)
    similar = fit_similar_cases(model, data, stage.inputs, stage.batch_size, console) if stage.similar_cases else {}
    phase(console, "calibrating on the validation stays and writing the model")
    logits, labels = score(model, data["validation"], stage.inputs, stage.batch_size)
    calibration = fit_calibration(
        logits, labels, list(model.labels), data["validation"].eligible, data["validation"].patients,
        LabelCounts.of(data["train"].labels, data["train"].eligible),
    )  # fmt: skip
    if fits is None:
        return calibration, similar
    shift = refit_linear_probes(model, data, fits, console)
    if model.head.similar_cases is not None:
        shift = shift * float(model.head.similar_cases.gains[0])
    return calibration.moved(shift), fits.described() | similar
