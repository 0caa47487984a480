"""Random contract problems, for benchmarks and for policies that learn."""

from __future__ import annotations

import numpy as np

from clinragen.contracts.curve import FreshnessCurve
from clinragen.contracts.problem import Problem


def random_problem(rng: np.random.Generator, types: tuple[int, int] = (5, 8), delays: bool = True) -> Problem:
    """A problem whose best frequencies are spread from 0 to the largest; in nine of ten, types share an item.

    Units are arbitrary, so they are drawn, too: worth and largest frequency over one and two powers of ten.

    Args:
        rng: draws everything.
        types: the least and the most types.
        delays: whether half of the problems have data that arrive late.
    """
    count = int(rng.integers(types[0], types[1] + 1))
    largest_frequency = 10 ** rng.uniform(0, 1)
    worth = 10 ** rng.uniform(0, 2)
    cycles = rng.uniform(5, 50)  # largest age in shortest cycles
    curve = FreshnessCurve(
        largest_age=cycles / largest_frequency,
        delay=rng.uniform(0, 0.5) / largest_frequency if delays and rng.random() < 0.5 else 0.0,
        updates="periodic" if rng.random() < 0.5 else "random",
    )
    prices = np.sort(rng.uniform(0.2, 2.0, count))[::-1]  # cost of all updates, of what they are worth at most
    shares = rng.dirichlet(np.full(count, 2.0)) * 0.95 + 0.05 / count
    return Problem(prices * worth / largest_frequency, shares, worth, curve, largest_frequency)
