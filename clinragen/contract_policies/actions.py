"""How a policy's numbers become a menu: raw as in arXiv 2407.00978, or in a form that cannot break a promise."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from clinragen.contract_policies.batch import ProblemBatch

Form = Literal["raw", "structured"]
_OVERSHOOT = 1.1  # so that 0 and the largest frequency are reached, not only approached


class Actions(Protocol):
    """A form of action.

    Attributes:
        by_formula: whether rewards follow from frequencies, so that the value has a gradient in the action.
    """

    by_formula: bool

    def width(self, types: int) -> int:
        """Numbers of an action for a number of types."""
        ...

    def menu(self, problems: ProblemBatch, action: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and rewards of an action, [problems, types] each."""
        ...

    def reward(self, problems: ProblemBatch, action: Tensor) -> Tensor:
        """What the provider receives by an action, in units of the worth, [problems]."""
        ...


def to_unit(action: Tensor) -> Tensor:
    """Any number to 0 to 1, both included."""
    return (1 + (_OVERSHOOT * torch.tanh(action)).clamp(-1, 1)) / 2


def isotonic(values: Tensor) -> Tensor:
    """The nearest sequences that do not decrease, [problems, types], by the min-max formula of isotonic regression.

    ``x_k = max_{i <= k} min_{j >= k} mean(values[i..j])``: neighbours that would decrease share their mean, and so does
    the gradient.

    >>> isotonic(torch.tensor([[0.0, 3.0, 1.0]])).tolist()
    [[0.0, 2.0, 2.0]]
    """
    count = values.shape[1]
    sums = torch.cat([torch.zeros_like(values[:, :1]), torch.cumsum(values, 1)], 1)
    first, last = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    means = (sums[:, last + 1] - sums[:, first]) / (last - first + 1).clamp(min=1)
    means = means.masked_fill(last < first, torch.inf)  # [problems, first, last]
    smallest = means.flip(2).cummin(2).values.flip(2)
    return smallest.masked_fill(first > last, -torch.inf).amax(1)


class Structured:
    """An action is a frequency for each type; what decreases is pooled, and rewards follow by formula.

    Every menu keeps IR and IC, so its value is what the provider receives, and it has a gradient in the action.
    """

    by_formula = True

    def width(self, types: int) -> int:
        """A number for each type."""
        return types

    def menu(self, problems: ProblemBatch, action: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and rewards, [problems, types] each."""
        frequencies = isotonic(to_unit(action).masked_fill(problems.padding, 1.0)).clamp(0, 1)
        return frequencies, problems.payments(frequencies)

    def reward(self, problems: ProblemBatch, action: Tensor) -> Tensor:
        """What the provider receives, [problems]."""
        return problems.value(*self.menu(problems, action))


class Raw:
    """An action is a frequency and a reward for each type, free of each other.

    Rewards reach up to the cost of the largest frequency for the costliest type, never exceeded at the optimum.
    Types take what is best for them, whatever was meant for them, so the provider's sum jumps where they change their
    minds: it has no useful gradient in the action.
    """

    by_formula = False

    def width(self, types: int) -> int:
        """Two numbers for each type."""
        return 2 * types

    def menu(self, problems: ProblemBatch, action: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and rewards, [problems, types] each."""
        frequencies, rewards = to_unit(action).chunk(2, dim=1)
        return frequencies, rewards * problems.costs[:, :1]

    def reward(self, problems: ProblemBatch, action: Tensor) -> Tensor:
        """What the provider receives, [problems]."""
        return problems.response(*self.menu(problems, action))


FORMS: dict[Form, Actions] = {"raw": Raw(), "structured": Structured()}
