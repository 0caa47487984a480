"""The one network of the policies: three hidden layers."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def network(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """A multilayer perceptron.

    Args:
        inputs: numbers that it reads.
        outputs: numbers that it gives.
        width: of each hidden layer.
    """
    sizes = (inputs, width, width, width)
    hidden = [(nn.Linear(before, after), nn.SiLU()) for before, after in pairwise(sizes)]
    return nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(width, outputs))
