"""Rows of `federation.py --network`: the network of `tiny`, trained on pooled rows, by all sites, and by each alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from eicu_table import student

from clinragen.cohort.folder import Cohort
from clinragen.federation.features import stays_of
from clinragen.federation.network import NetworkWork
from clinragen.inference.predict import TrainedModel, score
from clinragen.model.clinragen import ClinRaGen
from clinragen.stages.build import stays

if TYPE_CHECKING:
    from federation import Split

RATE = 4.0  # of the learning rates at sites
BATCH = "stage.batch_size=8"


def work(linear: dict[str, Any], passes: int, overrides: Sequence[str]) -> NetworkWork:
    """The work, with settings of its probes, and one pass over a site's stays in each round."""
    stages = {"multimodal": passes}
    return NetworkWork({"linear": linear, "stages": stages, "rate": RATE, "overrides": [BATCH, *overrides]})


def cell(split: Split, kind: str) -> dict[str, np.ndarray]:
    """Logits of the held-out stays, [n, L]: of the whole model (but for own), and of the network alone."""
    if kind == "own":
        return {"alone": _alone(split)}
    model = _central(split) if kind == "central" else split.work.finished(split.federated()).model
    return {
        "test": _scored(split.work, model, split.cohort),
        "alone": _scored(split.work, model, split.cohort, alone=True),
    }


def _central(split: Split) -> ClinRaGen:
    """Row `tiny` of `eicu_table.py`: three stages on pooled rows, of each the best epoch by validation loss."""
    student("tiny")(split.cohort, split.out / "tiny")
    return TrainedModel.load(split.out / "tiny" / "multimodal").model


def _alone(split: Split) -> np.ndarray:
    """Logits of held-out stays by networks that their sites trained alone, [n, L]."""
    counted, held = split.counted, stays_of(split.cohort, "test")
    logits = np.zeros((len(held), len(split.work.linear.settings.labels)))
    phases = split.work.phases()
    first, rounds = 1 + sum(phase.rounds for phase in phases[:-3]), phases[-3].rounds
    for site in split.sites.values():
        tested, trained = stays_of(site, "test"), stays_of(site, "train")
        if not len(tested):
            continue
        tensors = dict(counted)
        for number in range(first, first + rounds if len(trained) else first):
            tensors |= split.work.train(site, tensors, number)[0]
        logits[np.isin(held, tested)] = _scored(split.work, split.work.model(tensors), site, alone=True)
    return logits


def _scored(network: NetworkWork, model: ClinRaGen, cohort: Cohort, *, alone: bool = False) -> np.ndarray:
    """Logits of held-out stays; ``alone`` leaves out the probes, for good."""
    if alone:
        model.head.reset()
    config = network.config("multimodal")
    config.model = model.config
    return score(model, stays(model, config, cohort, "test"), config.stage.inputs)[0]
