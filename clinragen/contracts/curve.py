"""What fresh data are worth: from how often a site updates to the age of its data, to satisfaction.

The age of information A(f) of data that are updated f times per unit of time is the mean age of the newest update
(Kaul, Yates & Gruteser 2012): the time from taking to arriving, plus half a cycle if updates come at fixed intervals,
or a whole mean cycle if they come at random (Poisson). The freshness gain is G(A) = A_max / A, and the satisfaction
alpha * log(G + 1) (arXiv 2407.00978). Both are concave in f, so the best frequency for a price is in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: updates at fixed intervals, or at random times
Updates = Literal["periodic", "random"]
#: mean age within a cycle, in cycles
CYCLES: dict[str, float] = {"periodic": 0.5, "random": 1.0}


@dataclass(frozen=True)
class FreshnessCurve:
    """Freshness as a function of the update frequency.

    Attributes:
        largest_age: A_max, the age at which the gain is 1, in units of time; above 0.
        delay: from taking to arriving, in the same units; 0 or more.
        updates: how updates are spread in time.

    >>> curve = FreshnessCurve(largest_age=2.0)
    >>> float(curve.age(1.0)), float(curve.gain(1.0))
    (0.5, 4.0)
    """

    largest_age: float
    delay: float = 0.0
    updates: Updates = "periodic"

    @property
    def rise(self) -> float:
        """p of G(f) + 1 = (1 + p f) / (1 + c f)."""
        return (self.delay + self.largest_age) / CYCLES[self.updates]

    @property
    def drag(self) -> float:
        """c of G(f) + 1 = (1 + p f) / (1 + c f); 0 without delay."""
        return self.delay / CYCLES[self.updates]

    def age(self, frequency: np.ndarray | float) -> np.ndarray:
        """Mean age of the data, in units of time; infinite without updates."""
        with np.errstate(divide="ignore"):
            return self.delay + CYCLES[self.updates] / np.asarray(frequency, float)

    def gain(self, frequency: np.ndarray | float) -> np.ndarray:
        """G(A(f)); 0 without updates."""
        return self.largest_age / self.age(frequency)

    def log_gain(self, frequency: np.ndarray | float) -> np.ndarray:
        """log(G + 1), the satisfaction for alpha = 1."""
        return np.log1p(self.gain(frequency))

    def slope(self, frequency: np.ndarray | float) -> np.ndarray:
        """Derivative of ``log_gain``."""
        f = np.asarray(frequency, float)
        return self.rise / (1 + self.rise * f) - self.drag / (1 + self.drag * f)

    def best_frequency(self, price: float) -> float:
        """The frequency at which ``log_gain(f) - price * f`` is largest; infinite for a price of 0.

        The slope equals the price where p c f^2 + (p + c) f + 1 = (p - c) / price, a quadratic equation; without
        delay f = 1 / price - 1 / p.

        Args:
            price: cost of one update per unit of time, divided by alpha * beta; 0 or more.
        """
        if price <= 0:
            return math.inf
        p, c = self.rise, self.drag
        excess = (p - c) / price - 1
        if excess <= 0:
            return 0.0
        both = p + c
        return 2 * excess / (both + math.sqrt(both * both + 4 * p * c * excess))
