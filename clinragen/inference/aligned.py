"""Vectors of notes and series from a run of stage `align`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from clinragen.data.dataset import StayDataset, collate
from clinragen.inference.predict import TrainedModel, batches
from clinragen.model.alignment import Alignment


class Vectors(NamedTuple):
    """Vectors of the note and of the series of n stays, float32 [n, D] each, in the order of the dataset."""

    note: np.ndarray
    series: np.ndarray


@torch.inference_mode()
def vectors(
    trained: TrainedModel, stays: StayDataset, size: int = 64, advance: Callable[[int], object] = lambda count: None
) -> Vectors:
    """Read each stay's note and its series, each without the other, as unit vectors.

    Args:
        trained: a run of stage ``align``.
        stays: of ``trained.stays`` or ``trained.dataset``.
        size: stays of a batch.
        advance: called with the number of stays of each batch that is done.

    Raises:
        UserError: the run was not aligned.
    """
    alignment = Alignment.load(trained.run.model).to(trained.device)
    trained.model.to(trained.device).eval()
    read = Vectors(*(np.zeros((len(stays), alignment.shape.dim), dtype=np.float32) for _ in range(2)))
    for rows, batch in batches(trained.model, stays, size):
        for side, into in zip(alignment.read(trained.model, batch.to(trained.device)), read, strict=True):
            into[rows] = side.vector.float().cpu().numpy()
        advance(len(rows))
    return read


@torch.inference_mode()
def states(
    trained: TrainedModel, stays: StayDataset, size: int = 64, advance: Callable[[int], object] = lambda count: None
) -> Vectors:
    """What the label head of any student reads, averaged over the tokens: hidden states of the note, and
    knowledge-augmented tokens of the series; 0 for a modality that the student does not read.

    Args:
        trained: a run of any stage that predicts.
        stays: of ``trained.stays`` or ``trained.dataset``.
        size: stays of a batch.
        advance: called with the number of stays of each batch that is done.
    """
    model = trained.model.to(trained.device).eval()
    width = model.language_model.hidden_size
    read = Vectors(*(np.zeros((len(stays), width), dtype=np.float32) for _ in range(2)))
    for rows, batch in batches(model, stays, size):
        output = model(batch.to(trained.device), trained.manifest.inputs, targets=False, explain=True)
        for side, into in zip((output.note, output.series), read, strict=True):
            if side is not None:
                shares = side.mask.float() / side.mask.sum(1, keepdim=True).clamp_min(1)
                into[rows] = (shares[:, None] @ side.states.float())[:, 0].cpu().numpy()
        advance(len(rows))
    return read


@torch.inference_mode()
def note_vectors(trained: TrainedModel, notes: Sequence[Sequence[tuple[str, str]]], size: int = 64) -> np.ndarray:
    """Notes that belong to no stay, such as descriptions, as unit vectors, float32 [n, D].

    Args:
        trained: a run of stage ``align``.
        notes: (section, text) pairs of each.
        size: notes of a batch.

    Raises:
        UserError: the run was not aligned.
    """
    alignment = Alignment.load(trained.run.model).to(trained.device)
    trained.model.to(trained.device).eval()
    stays, pad = trained.of_notes(notes), trained.model.tokenizer.pad_token_id
    read = np.zeros((len(stays), alignment.shape.dim), dtype=np.float32)
    for first in range(0, len(stays), size):
        batch = collate(stays[first : first + size], pad).to(trained.device)
        read[first : first + size] = alignment.read(trained.model, batch)[0].vector.float().cpu().numpy()
    return read
