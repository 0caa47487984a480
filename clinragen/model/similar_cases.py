"""The vote of similar training stays: how those most like a stay were labelled, as one more path to the logits.

The only part of a model that holds data of single patients: for each training stay a unit vector of its note and one of
its series, its labels, and a hash of its patient, so that no stay is judged by its own patient's others. It is fitted
after training (``clinragen.stages.similar_cases``) and absent unless a stage asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinragen.model.linear_probes import PROBES, NoteTerms

#: Weight of the rate of a label among all training stays, in nearest stays: what a label without neighbours gets.
PRIOR = 1.0
#: Label of a training stay that does not count for it.
NULL = -1


class SimilarCases(nn.Module):
    """Votes of the training stays that are nearest to a stay, by its note and by its series.

    Args:
        stays: number of training stays.
        labels: number of labels.
        axes: by modality that is compared, the number of features and of the axes along which they are compared.

    Buffers, beside those of each modality:
        labels: int8 [stays, L]: 1, 0, or -1 where the label is null.
        patients: int64 [stays], hashes of :meth:`hashed`.
        key: uint8 [16], of the hash.
        gains: of the logits of the rest of the model, and of each modality's vote, [1 + 2].
        nearest: how many stays vote, [2].
        softness: by how much less similar a stay is that counts 1/e as much, [2].
    """

    note_axes: Tensor
    note_centre: Tensor
    series_axes: Tensor
    series_centre: Tensor
    labels: Tensor
    patients: Tensor
    key: Tensor
    gains: Tensor
    nearest: Tensor
    softness: Tensor

    def __init__(self, stays: int, labels: int, axes: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.modalities = [name for name in PROBES if name in axes]
        for name in self.modalities:
            features, dim = axes[name]
            self.register_buffer(f"{name}_axes", torch.zeros(features, dim))
            self.register_buffer(f"{name}_centre", torch.zeros(dim))
            self.register_buffer(f"{name}_stays", torch.zeros(stays, dim))
        self.register_buffer("labels", torch.zeros(stays, labels, dtype=torch.int8))
        self.register_buffer("patients", torch.zeros(stays, dtype=torch.int64))
        self.register_buffer("key", torch.zeros(16, dtype=torch.uint8))
        self.register_buffer("gains", torch.tensor([1.0] + [0.0] * len(PROBES)))
        self.register_buffer("nearest", torch.ones(len(PROBES), dtype=torch.int64))
        self.register_buffer("softness", torch.ones(len(PROBES)))

    def described(self) -> dict[str, Any]:
        """The sizes, by which :meth:`of` makes an empty one."""
        axes = {name: list(getattr(self, f"{name}_axes").shape) for name in self.modalities}
        return {"stays": len(self.patients), "axes": axes}

    @classmethod
    def of(cls, described: Any, labels: int) -> SimilarCases:
        """One of these sizes, to be filled with weights.

        Raises:
            KeyError, TypeError, ValueError: not written by :meth:`described`.
        """
        axes = {str(name): (int(features), int(dim)) for name, (features, dim) in described["axes"].items()}
        return cls(int(described["stays"]), labels, axes)

    def hashed(self, patients: Sequence[int]) -> Tensor:
        """Hashes of patients' ids, int64 [n]."""
        key = bytes(self.key.tolist())
        digests = [hashlib.blake2b(str(one).encode(), digest_size=8, key=key).digest() for one in patients]
        whole = [int.from_bytes(digest, "big", signed=True) for digest in digests]
        return torch.tensor(whole, dtype=torch.int64, device=self.patients.device)

    def forward(self, patients: Tensor, note: NoteTerms | None, bins: Tensor | None) -> Tensor:
        """What similar cases add to the logits of B stays, [B, L].

        Args:
            patients: whose they are, int64 [B].
            note: the terms of their notes, or None when no note is read.
            bins: binned summaries [B, V, F], or None when no series is read.
        """
        total = torch.zeros(len(patients), self.labels.shape[1], device=self.labels.device)
        hashes = self.hashed(patients.tolist())
        for name, vectors in self.vectors(note, bins).items():
            position = PROBES.index(name)
            if gain := float(self.gains[1 + position]):
                similar = self.similarities(name, vectors, hashes)
                total += gain * self.votes(similar, int(self.nearest[position]), float(self.softness[position]))
        return total

    def vectors(self, note: NoteTerms | None, bins: Tensor | None) -> dict[str, Tensor]:
        """Unit vectors of B stays by modality, [B, axes]; 0 where there is nothing to compare."""
        vectors: dict[str, Tensor] = {}
        if note is not None and "note" in self.modalities:
            vectors["note"] = unit_vectors(note.times(self.note_axes), self.note_centre, note.some)
        if bins is not None and "series" in self.modalities:
            measured = (bins[..., -1] == 0).any(1)  # the last feature of a variable says that it is missing
            vectors["series"] = unit_vectors(bins.flatten(1).float() @ self.series_axes, self.series_centre, measured)
        return vectors

    def similarities(self, name: str, vectors: Tensor, hashes: Tensor) -> Tensor:
        """Cosines of B stays with all training stays, [B, stays]; minus infinity where one may not vote.

        That is a stay of the same patient, or one with nothing to compare.
        """
        stays = getattr(self, f"{name}_stays")
        similar = vectors @ stays.T
        barred = (hashes[:, None] == self.patients) | ~stays.any(1) | ~vectors.any(1)[:, None]
        return similar.masked_fill(barred, -torch.inf)

    def votes(self, similar: Tensor, nearest: int, softness: float) -> Tensor:
        """By how much the log-odds of each label among similar stays differ from those among all, [B, L].

        Args:
            similar: result of :meth:`similarities`.
            nearest: how many stays vote.
            softness: by how much less similar a stay is that counts 1/e as much.
        """
        top, stays = similar.topk(min(nearest, similar.shape[1]), dim=1)
        each = ((top - top[:, :1].clamp(min=-1)) / softness).exp()
        weights = torch.zeros_like(similar).scatter_(1, stays, each)
        given, counts = (self.labels > 0).float(), (self.labels != NULL).float()
        rate = (given.sum(0) + 1) / (counts.sum(0) + 2)
        share = (weights @ given + PRIOR * rate) / (weights @ counts + PRIOR)
        return share.logit() - rate.logit()


def unit_vectors(products: Tensor, centre: Tensor, some: Tensor) -> Tensor:
    """Unit vectors of n stays, [n, axes]; 0 where there is nothing to compare.

    Args:
        products: of features with the axes, [n, axes].
        centre: mean of training stays along them, [axes].
        some: which stays have anything to compare, bool [n].
    """
    return F.normalize(products - centre, dim=1) * some[:, None]
