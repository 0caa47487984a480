"""A batch of stays as tensors that checks its own shapes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = -100  # label value that the language-model loss ignores
NOBODY = -1  # patient of a stay that is nobody's


class SoftBatch(NamedTuple):
    """Soft targets at A positions of B stays, with S tokens each.

    Attributes:
        places: int64 [B, A], positions in the targets, padded with ``IGNORED``.
        ids: int64 [B, A, S], tokens.
        probs: float32 [B, A, S], the teacher's; 0 pads.
    """

    places: Tensor
    ids: Tensor
    probs: Tensor


@dataclass(frozen=True)
class Batch:
    """B stays, V variables, T hourly bins, N note tokens, K terms, C concepts, M target tokens, L phenotypes, W tokens
    of captions.

    Attributes:
        stay_ids: int64 [B].
        note_ids, note_mask: int64 and bool [B, N]; N may be 0.
        mentions: bool [B, 2, C], concepts the note affirms and denies.
        term_ids, term_weights: int64 and float32 [B, K], terms of the note by the model's lexicon; weight 0 pads.
        values: float32 [B, V, T], standardised, 0 where not observed.
        observed: bool [B, V, T].
        target_ids: int64 [B, M], padded with ``IGNORED``.
        labels: float32 [B, L].
        eligible: bool [B, L], false where a label is null, which is never counted; all by default.
        soft_places, soft_ids, soft_probs: see ``soft``; empty if no log-probabilities are read.
        patients: int64 [B], ids of whose they are; -1 where that is not known, as by default.
        caption_ids, caption_mask: int64 and bool [B, W], the series in words; W is 0 if the model reads none.
    """

    stay_ids: Tensor
    note_ids: Tensor
    note_mask: Tensor
    mentions: Tensor
    term_ids: Tensor
    term_weights: Tensor
    values: Tensor
    observed: Tensor
    target_ids: Tensor
    labels: Tensor
    soft_places: Tensor
    soft_ids: Tensor
    soft_probs: Tensor
    eligible: Tensor = field(default_factory=lambda: torch.empty(0))
    patients: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    caption_ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    caption_mask: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        if self.eligible.shape == (0,):
            object.__setattr__(self, "eligible", torch.ones_like(self.labels, dtype=torch.bool))
        size = len(self.stay_ids)
        if self.patients.shape == (0,):
            object.__setattr__(self, "patients", torch.full_like(self.stay_ids, NOBODY))
        for name in ("caption_ids", "caption_mask"):
            if getattr(self, name).shape == (0,):
                object.__setattr__(self, name, getattr(self, name).new_zeros((size, 0)))
        for each in fields(self):
            tensor = getattr(self, each.name)
            if len(tensor) != size:
                raise ValueError(f"{each.name} holds {len(tensor)} stays, expected {size}")
        for name, like in (
            ("note_mask", "note_ids"),
            ("caption_mask", "caption_ids"),
            ("term_weights", "term_ids"),
            ("soft_probs", "soft_ids"),
            ("observed", "values"),
        ):
            shape, expected = tuple(getattr(self, name).shape), tuple(getattr(self, like).shape)
            if shape != expected:
                raise ValueError(f"{name} is {shape}, expected {expected}")

    def __len__(self) -> int:
        return len(self.stay_ids)

    @property
    def soft(self) -> SoftBatch:
        """The soft targets of the stays: positions [B, A], token ids and probabilities [B, A, S]."""
        return SoftBatch(self.soft_places, self.soft_ids, self.soft_probs)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)}
        return Batch(**moved)
