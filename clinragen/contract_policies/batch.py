"""Contract problems as tensors, free of units: frequencies in units of the largest, money in units of the worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clinragen.contracts.problem import Problem
from clinragen.errors import UserError

_TIES = 1e-6  # differences of utility below this part of the worth are taken as equal: the precision of the tensors


@dataclass(frozen=True)
class ProblemBatch:
    """Problems with up to a number of types; those with fewer are padded at the end with types without holders.

    Attributes:
        costs: of the largest frequency, the highest first, [problems, types]; padding repeats the last.
        shares: [problems, types]; 0 for padding.
        rise: p of ``FreshnessCurve`` for frequencies in units of the largest, [problems, 1].
        drag: c of it, [problems, 1].
    """

    costs: Tensor
    shares: Tensor
    rise: Tensor
    drag: Tensor

    @classmethod
    def of(cls, problems: Sequence[Problem], types: int) -> ProblemBatch:
        """Problems as tensors.

        Args:
            problems: what is solved.
            types: number of columns.

        Raises:
            UserError: a problem has more types.
        """
        if most := max((len(one.costs) for one in problems if len(one.costs) > types), default=0):
            raise UserError(f"a contract problem has {most} types: these policies were made for at most {types}")
        costs, shares = np.zeros((len(problems), types)), np.zeros((len(problems), types))
        for row, one in enumerate(problems):
            scaled = one.costs * one.largest_frequency / one.worth
            costs[row] = np.pad(scaled, (0, types - len(scaled)), mode="edge")
            shares[row, : len(scaled)] = one.shares
        rise = [[one.curve.rise * one.largest_frequency] for one in problems]
        drag = [[one.curve.drag * one.largest_frequency] for one in problems]
        return cls(*(torch.tensor(np.asarray(part), dtype=torch.float32) for part in (costs, shares, rise, drag)))

    def __len__(self) -> int:
        return len(self.costs)

    @property
    def types(self) -> int:
        """The number of columns."""
        return self.costs.shape[1]

    def __getitem__(self, rows: Tensor) -> ProblemBatch:
        return ProblemBatch(self.costs[rows], self.shares[rows], self.rise[rows], self.drag[rows])

    @property
    def padding(self) -> Tensor:
        """Whether a column is no type, [problems, types]."""
        return self.shares == 0

    def features(self) -> Tensor:
        """What a policy is conditioned on: costs, shares and the curve, [problems, 2 * types + 2]."""
        logs = torch.log(self.costs.clamp(min=1e-3))
        return torch.cat([logs, self.shares * self.types - 1, torch.log(self.rise) - 2, 2 * self.drag], dim=1)

    def log_gain(self, frequencies: Tensor) -> Tensor:
        """log(G + 1) of frequencies in units of the largest, [problems, types]."""
        return torch.log1p(self.rise * frequencies) - torch.log1p(self.drag * frequencies)

    def payments(self, frequencies: Tensor) -> Tensor:
        """The smallest rewards that keep IR and IC for frequencies that do not decrease, [problems, types]."""
        return torch.cumsum(self.costs * torch.diff(frequencies, prepend=torch.zeros_like(self.rise)), dim=1)

    def value(self, frequencies: Tensor, rewards: Tensor) -> Tensor:
        """What the provider receives if every type takes its item, in units of the worth, [problems]."""
        return (self.shares * (self.log_gain(frequencies) - rewards)).sum(1)

    def response(self, frequencies: Tensor, rewards: Tensor) -> Tensor:
        """What the provider receives if every type takes what is best for it, or refuses, [problems].

        Among equals a type takes its own item. Padding offers nothing: its item is refused by all.
        """
        offered = rewards.masked_fill(self.padding, -torch.inf)
        utilities = offered[:, None, :] - self.costs[:, :, None] * frequencies[:, None, :]  # [problems, types, items]
        chosen = (utilities + _TIES * torch.eye(self.types)).argmax(2)
        accepts = utilities.gather(2, chosen[:, :, None])[:, :, 0] >= -_TIES
        chosen_frequencies = torch.where(accepts, frequencies.gather(1, chosen), 0.0)
        chosen_rewards = torch.where(accepts, rewards.gather(1, chosen), 0.0)
        return self.value(chosen_frequencies, chosen_rewards)
