"""Linear readings of note and series beside the network, fitted by convex optimisation, and how much each counts.

With a thousand stays, words and binned summaries read linearly under a strong ridge penalty rank stays better than any
network that must learn to read first; with many the network catches up. So both speak, and their gains are fitted on
the validation split. Nothing here has gradients: ``clinragen.stages.ensemble`` fits it after a stage has been trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PROBES = ("note", "series")
MENTION_SCALE = 0.2  # of a mention beside the terms of a note, whose weights have a length of one


class LinearProbes(nn.Module):
    """Adds linear logits to the network's, [B, L].

    Args:
        terms: of the lexicon.
        concepts: of the graph, each affirmed or denied.
        bins: features of the binned summaries over all variables.
    """

    note: Tensor
    series: Tensor
    gains: Tensor

    def __init__(self, terms: int, concepts: int, bins: int, labels: int):
        super().__init__()
        self.terms = terms
        self.register_buffer("note", torch.zeros(terms + 2 * concepts, labels))
        self.register_buffer("series", torch.zeros(bins, labels))
        self.register_buffer("gains", torch.zeros(1 + len(PROBES)))
        self.reset()

    def reset(self) -> None:
        """Let the network alone speak."""
        self.gains.copy_(torch.tensor([1.0] + [0.0] * len(PROBES)))

    def forward(self, network: Tensor, note: tuple[Tensor, Tensor, Tensor] | None, bins: Tensor | None) -> Tensor:
        """Logits [B, L] of the network and the probes together.

        Args:
            network: its logits, [B, L].
            note: term ids and weights [B, K] and mentions [B, 2, C], or None when no note is read.
            bins: binned summaries [B, V, F], or None when no series is read.
        """
        logits = self.gains[0] * network
        if note is not None:
            ids, weights, mentions = note
            read = MENTION_SCALE * mentions.flatten(1).float() @ self.note[self.terms :]
            if ids.shape[1]:
                read = read + F.embedding_bag(ids, self.note, per_sample_weights=weights, mode="sum")
            logits = logits + self.gains[1] * read
        if bins is not None:
            logits = logits + self.gains[2] * (bins.flatten(1).float() @ self.series)
        return logits
