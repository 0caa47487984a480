"""Linear probes: elastic-net logistic regressions on note and series beside the network, with a gain for each.

With a thousand stays, a linear regression on words and binned summaries ranks stays better than a network that must
learn to read first; with many stays the network catches up. The model therefore adds both, with gains fitted on the
validation split. The probes are not trained by gradients: ``clinragen.stages.ensemble`` fits them after a stage by
convex optimisation, at last on training and validation stays together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PROBES = ("note", "series")
MENTION_SCALE = 0.2  # weight of a mention relative to the terms of a note, whose weights have norm 1


@dataclass(frozen=True)
class NoteTerms:
    """A note as weighted terms of the lexicon, ids and weights [B, K], and bool mentions [B, 2, C]."""

    ids: Tensor
    weights: Tensor
    mentions: Tensor

    @property
    def some(self) -> Tensor:
        """Which notes have any term or mention, bool [B]."""
        return (self.weights != 0).any(1) | self.mentions.flatten(1).any(1)

    def times(self, matrix: Tensor) -> Tensor:
        """Products of the features of the notes with a matrix, [B, D].

        Args:
            matrix: rows of the terms, then of the mentions, [terms + 2C, D].
        """
        mentions = self.mentions.flatten(1).float()
        products = MENTION_SCALE * mentions @ matrix[len(matrix) - mentions.shape[1] :]
        if self.ids.shape[1]:
            products = products + F.embedding_bag(self.ids, matrix, per_sample_weights=self.weights, mode="sum")
        return products


class LinearProbes(nn.Module):
    """Adds linear logits to the network's, [B, L].

    Args:
        terms: number of terms in the lexicon.
        concepts: number of concepts of the graph, each affirmed or denied.
        bins: number of features of the binned summaries over all variables.
    """

    note: Tensor
    series: Tensor
    gains: Tensor

    def __init__(self, terms: int, concepts: int, bins: int, labels: int):
        super().__init__()
        self.register_buffer("note", torch.zeros(terms + 2 * concepts, labels))
        self.register_buffer("series", torch.zeros(bins, labels))
        self.register_buffer("gains", torch.zeros(1 + len(PROBES)))
        self.reset()

    def reset(self) -> None:
        """Set the gains to network only."""
        self.gains.copy_(torch.tensor([1.0] + [0.0] * len(PROBES)))

    def forward(self, network: Tensor, note: NoteTerms | None, bins: Tensor | None) -> Tensor:
        """Logits [B, L] of the network and the probes together.

        Args:
            network: its logits, [B, L].
            note: its terms, or None when no note is read.
            bins: binned summaries [B, V, F], or None when no series is read.
        """
        logits = self.gains[0] * network
        if note is not None:
            logits = logits + self.gains[1] * note.times(self.note)
        if bins is not None:
            logits = logits + self.gains[2] * (bins.flatten(1).float() @ self.series)
        return logits
