"""Draw texts token by token, so that what is drawn of a stay depends on the seed and the stay alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

#: What is drawn never lies beyond the last token that has a probability.
_WITHIN = 1 - 1e-12


class Draws(LogitsProcessor):
    """Leaves one token of each sequence, drawn by its probability; to stand behind all other processors.

    Every sequence has random numbers of its own, one for each step, which choose among the tokens in the order of the
    vocabulary (the inverse of the distribution function).

    Args:
        stays: id of the stay of each text, [B].
        numbers: number of each text among those of its stay, [B].
        seed: of the random numbers.
        temperature: scores are divided by it.
        skip: tokens at the start of a sequence that were given to the model.
        longest: most tokens that are drawn.

    Attributes:
        log_likelihood: of each text so far at temperature 1, [B]; tokens without a choice add nothing.
        lengths: tokens of each text that were chosen, [B].
    """

    def __init__(
        self,
        stays: Sequence[int],
        numbers: Sequence[int],
        seed: int,
        temperature: float,
        skip: int,
        longest: int,
    ) -> None:
        origins = [[seed, stay % 2**63, number] for stay, number in zip(stays, numbers, strict=True)]
        self._random = np.stack([np.random.default_rng(origin).random(longest) for origin in origins])
        self._temperature, self._skip = temperature, skip
        self.log_likelihood = torch.zeros(len(origins), dtype=torch.float64)
        self.lengths = torch.zeros(len(origins), dtype=torch.float64)

    @property
    def likelihood(self) -> list[float]:
        """Mean log-likelihood of a text's tokens, of those among which there was a choice."""
        return (self.log_likelihood / self.lengths.clamp_min(1)).tolist()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores of the next tokens [B, vocabulary] after ids [B, S]: 0 for the drawn one, -inf for the others."""
        log_probs = scores.double().log_softmax(-1)
        up_to = (log_probs / self._temperature).softmax(-1).cumsum(-1)
        random = torch.from_numpy(self._random[:, input_ids.shape[1] - self._skip]).to(up_to)
        chosen = (up_to <= (random * up_to[:, -1] * _WITHIN)[:, None]).sum(-1, keepdim=True)
        gained = log_probs.gather(1, chosen)[:, 0].cpu()
        self.log_likelihood += gained
        self.lengths += gained < 0
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)
