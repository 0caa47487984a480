"""Vectors of notes and series from a run of stage `align`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from clinragen.data.dataset import StayDataset
from clinragen.inference.predict import TrainedModel, batches
from clinragen.model.alignment import Alignment


class Vectors(NamedTuple):
    """Unit vectors of the note and of the series of n stays, float32 [n, D] each, in the order of the dataset."""

    note: np.ndarray
    series: np.ndarray


@torch.inference_mode()
def vectors(trained: TrainedModel, stays: StayDataset, size: int = 64) -> Vectors:
    """Read each stay's note and its series, each without the other.

    Args:
        trained: a run of stage ``align``.
        stays: of ``trained.stays`` or ``trained.dataset``.
        size: stays of a batch.

    Raises:
        UserError: the run was not aligned.
    """
    alignment = Alignment.load(trained.run.model).to(trained.device)
    trained.model.to(trained.device).eval()
    read = Vectors(*(np.zeros((len(stays), alignment.shape.dim), dtype=np.float32) for _ in range(2)))
    for rows, batch in batches(trained.model, stays, size):
        for side, into in zip(alignment.read(trained.model, batch.to(trained.device)), read, strict=True):
            into[rows] = side.vector.float().cpu().numpy()
    return read
