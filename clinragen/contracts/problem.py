"""A contract problem: types of holders, what freshness is worth to the provider, and the largest frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinragen.contracts.curve import FreshnessCurve


@dataclass(frozen=True)
class Problem:
    """What the provider knows: the types, but not the type of a holder.

    Attributes:
        costs: cost of one update per unit of time for each type, the highest first, [types].
        shares: share of holders of each type; positive, with sum 1, [types].
        worth: alpha * beta, in units of money.
        curve: from frequency to freshness.
        largest_frequency: most updates per unit of time.
    """

    costs: np.ndarray
    shares: np.ndarray
    worth: float
    curve: FreshnessCurve
    largest_frequency: float

    def value(self, frequencies: np.ndarray, rewards: np.ndarray) -> float:
        """The provider's sum Q_k (beta S_k - R_k) if each type takes its item, per unit of time and holder."""
        return float(self.shares @ (self.worth * self.curve.log_gain(frequencies) - rewards))
