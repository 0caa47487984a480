"""Occlusion: what a diagnosis loses without a part of the stay: a finding, words of the note, a variable, hours.

The model is trained on incomplete data, so removed parts are in its distribution: values become unmeasured, and words
are cut from the note with their links. Nothing replaces them. A score is the drop of a phenotype's logit, so scores of
different phenotypes and of the two modalities are comparable. What similar training stays say of the whole stay is a
part of its own: a part that is taken away does not change who they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clinragen.choices import Modality
from clinragen.data.dataset import Stay, collate
from clinragen.data.evidence_pieces import StayEvidence, without_cells
from clinragen.model.clinragen import ClinRaGen

ROWS = 64  # altered stays per forward pass


@dataclass(frozen=True)
class Part:
    """A part of a stay that can be removed.

    Attributes:
        kind: ``finding`` and ``mention`` (a concept of the graph), ``variable``, or ``hours`` (of one variable).
        name: the concept's id, or the variable.
        hours: for ``hours``, the first hour and the hour after the last, from admission to the unit.
        without: the stay without it.
        values: number of removed measurements.
    """

    kind: str
    name: str
    without: Stay
    hours: tuple[int, int] | None = None
    values: int = 0


def findings(model: ClinRaGen, stay: Stay) -> Iterator[Part]:
    """Findings of the series: the values beyond the reference bound are removed, the others stay."""
    prior = model.head.knowledge_prior
    if prior is None:
        return
    rows = zip(prior.node.tolist(), prior.column.tolist(), prior.sign.tolist(), prior.bound.tolist(), strict=True)
    for node, column, sign, bound in rows:
        beyond = stay.observed[column] & (sign * (stay.values[column] - bound) > 0)
        if beyond.any():
            without, values = _unmeasured(stay, column, beyond)
            yield Part("finding", model.concepts.ids[node], without, values=values)


def mentions(evidence: StayEvidence) -> Iterator[Part]:
    """Concepts that the note mentions: the words of all their mentions are removed."""
    for piece in evidence.pieces:
        if piece.kind == "concept":
            yield Part("mention", piece.name, evidence.without([piece]))


def variables(model: ClinRaGen, stay: Stay) -> Iterator[Part]:
    """Variables that were measured."""
    for column, name in enumerate(model.statistics.variables):
        if stay.observed[column].any():
            without, values = _unmeasured(stay, column, stay.observed[column])
            yield Part("variable", name, without, values=values)


def hours(model: ClinRaGen, stay: Stay, names: Sequence[str]) -> Iterator[Part]:
    """Blocks of hours, those of the patches of the series encoder, in which a variable was measured."""
    width, window = model.series_encoder.patch_hours, model.statistics.window
    for name in names:
        column = model.statistics.variables.index(name)
        for start in range(0, stay.observed.shape[1], width):
            end = min(start + width, stay.observed.shape[1])
            block = np.zeros(stay.observed.shape[1], dtype=bool)
            block[start:end] = stay.observed[column, start:end]
            if block.any():
                without, values = _unmeasured(stay, column, block)
                first, after = window.span(start, end)
                yield Part("hours", name, without, (stay.first_hour + first, stay.first_hour + after), values)


@torch.inference_mode()
def logits(model: ClinRaGen, stays: Sequence[Stay], inputs: Sequence[Modality]) -> np.ndarray:
    """Label logits of stays, float32 [n, L]."""
    return np.concatenate(
        [np.zeros((0, len(model.labels)), np.float32), *(part for part, _ in _read(model, stays, inputs))]
    )


@torch.inference_mode()
def similar_cases(model: ClinRaGen, stay: Stay, inputs: Sequence[Modality]) -> np.ndarray | None:
    """What similar cases add to the logits of a stay, [L]; None of a model without any."""
    return next(votes[0] if votes is not None else None for _, votes in _read(model, [stay], inputs))


def _read(
    model: ClinRaGen, stays: Sequence[Stay], inputs: Sequence[Modality]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Logits, and the part of similar cases in them if there are any, of some stays at a time, [n, L] each."""
    where = next(model.parameters()).device
    for start in range(0, len(stays), ROWS):
        batch = collate(stays[start : start + ROWS], model.tokenizer.pad_token_id).to(where)
        output = model(batch, list(inputs), targets=False)
        yield output.logits.float().cpu().numpy(), None if output.votes is None else output.votes.cpu().numpy()


@torch.inference_mode()
def falls(model: ClinRaGen, stay: Stay, parts: Sequence[Part], inputs: Sequence[Modality]) -> np.ndarray:
    """Drop of each logit without each part, [parts, L]; negative where a part is evidence against a phenotype."""
    read = _read(model, [stay, *(part.without for part in parts)], inputs)
    readings = np.concatenate([logits if votes is None else logits - votes for logits, votes in read])
    return readings[:1] - readings[1:]


def _unmeasured(stay: Stay, column: int, which: np.ndarray) -> tuple[Stay, int]:
    cells = np.zeros_like(stay.observed)
    cells[column] = which
    return without_cells(stay, cells), int(which.sum())
