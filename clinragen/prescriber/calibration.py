"""From a place in a list to a probability: the odds of a class's rate, times what validation stays tell of the place.

A place in a list is no probability. A class at some place, or not listed, has the odds of its rate times a factor of
that place, chosen such that as many starts are expected among the validation stays as there were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinragen.tasks import Labels

#: First rank of each group of places; rank 0 (not listed) is the group before them.
_GROUPS = (1, 2, 3, 4, 6)
#: Variance of the logarithm of a factor before any stay is seen, which keeps factors of few stays near 1.
_VARIANCE = 1.0
_BISECTIONS = 60


@dataclass(frozen=True)
class RankOdds:
    """Logarithms of the factors of odds of each group of places, [groups]."""

    shifts: np.ndarray

    @classmethod
    def fit(cls, ranks: np.ndarray, rates: np.ndarray, labels: Labels) -> RankOdds:
        """Learn the factors.

        Args:
            ranks: places of the classes for validation stays, from 1, 0 not listed, int [n, classes].
            rates: of the classes, [classes].
            labels: what the stays were started on.
        """
        logits, group = np.broadcast_to(_logit(rates), ranks.shape), _group(ranks)
        shifts = []
        for number in range(len(_GROUPS) + 1):
            use = labels.eligible & (group == number)
            shifts.append(_shift(logits[use], labels.present[use].sum()))
        return cls(np.array(shifts))

    def probabilities(self, ranks: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Probabilities of new starts, [n, classes]."""
        return _sigmoid(_logit(rates) + self.shifts[_group(ranks)])


def _group(ranks: np.ndarray) -> np.ndarray:
    return np.searchsorted(_GROUPS, ranks, side="right")


def _shift(logits: np.ndarray, started: float) -> float:
    """The penalised maximum-likelihood shift, by bisection: the expectation rises with it."""
    low, high = -10.0, 10.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        surplus = _sigmoid(logits + middle).sum() + middle / _VARIANCE - started
        low, high = (low, middle) if surplus > 0 else (middle, high)
    return (low + high) / 2


def _logit(rates: np.ndarray) -> np.ndarray:
    return np.log(rates) - np.log1p(-rates)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
