"""Batch inference, constrained decoding, calibration and control experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clinragen.choices import INPUT_CONTROLS, SERIES_CONTROLS, Control

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from clinragen.cohort.folder import Cohort
    from clinragen.data.dataset import StayDataset
    from clinragen.inference.predict import TrainedModel


def controls(
    trained: TrainedModel,
    cohort: Cohort,
    split: str,
    names: Collection[Control] = INPUT_CONTROLS,
    begin: Callable[[Control], object] = lambda name: None,
) -> dict[Control, np.ndarray]:
    """Calibrated probabilities of a model on the stays of a split with the series zeroed, permuted and reversed, and
    with the notes emptied.

    Args:
        trained: the model.
        cohort: of the stays.
        split: whose stays.
        names: the controls that are run.
        begin: called before each control with its name.

    Returns:
        By control, each [n, phenotypes] in the order of the split's stays; only those of what the model reads.
    """
    from clinragen.inference.predict import score

    inputs = trained.manifest.inputs
    probabilities: dict[Control, np.ndarray] = {}

    def run(name: Control, altered: StayDataset) -> None:
        logits, _ = score(trained.model, altered, inputs, where=trained.device)
        probabilities[name] = trained.calibration.probabilities(logits)

    for name in SERIES_CONTROLS:
        if "series" in inputs and name in names:
            begin(name)
            run(name, trained.dataset(cohort, split, name))
    if "note" in inputs and "emptied" in names:
        begin("emptied")
        run("emptied", trained.dataset(cohort, split, note_input="emptied"))
    return probabilities
