"""The best menu of a contract problem, exactly and in O(K).

Costs are ordered, highest first. Given frequencies that do not decrease in this order, the cheapest rewards with which
each type accepts and no type gains by taking another's item are R_1 = d_1 f_1, R_k = R_{k-1} + d_k (f_k - f_{k-1})
(Myerson 1981; Mussa & Rosen 1978 for menus of qualities). With them, the provider's sum is a sum of concave functions
of one frequency each, Q_k w log(G(f_k) + 1) - v_k f_k, with the virtual costs v_k; where their maxima decrease,
neighbours share one item (pool adjacent violators, which for such sums is exact also within bounds).
"""

from __future__ import annotations

import numpy as np

from clinragen.contracts.problem import Problem


def virtual_costs(costs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Cost to the provider of one more update of each type: its own, and what all cheaper types then receive more.

    Args:
        costs: the highest first, [types].
        shares: [types].

    >>> virtual_costs(np.array([3.0, 1.0]), np.array([0.5, 0.5])).tolist()
    [2.5, 0.5]
    """
    cheaper = np.concatenate([np.cumsum(shares[::-1])[::-1][1:], [0.0]])  # share of all later types
    steps = costs - np.concatenate([costs[1:], costs[-1:]])
    return shares * costs + steps * cheaper


def pooled(prices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nonincreasing sequence nearest to prices: neighbours that increase are replaced by their weighted mean.

    Args:
        prices: [types].
        weights: positive, [types].

    >>> pooled(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])).tolist()
    [3.0, 1.5, 1.5]
    """
    blocks: list[tuple[float, float, int]] = []  # weighted sum, weight, number of types
    for price, weight in zip(prices.tolist(), weights.tolist(), strict=True):
        total, mass, count = price * weight, weight, 1
        while blocks and blocks[-1][0] * mass < total * blocks[-1][1]:
            earlier = blocks.pop()
            total, mass, count = total + earlier[0], mass + earlier[1], count + earlier[2]
        blocks.append((total, mass, count))
    return np.repeat([total / mass for total, mass, _ in blocks], [count for *_, count in blocks])


def payments(costs: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """The cheapest rewards with which each type accepts its item and prefers it to each other.

    Args:
        costs: the highest first, [types].
        frequencies: not decreasing, [types].
    """
    return np.cumsum(costs * np.diff(frequencies, prepend=0.0))


def best_frequencies(problem: Problem) -> np.ndarray:
    """The frequencies of the best menu, [types]; its rewards are ``payments``."""
    prices = pooled(virtual_costs(problem.costs, problem.shares) / problem.shares, problem.shares)
    best = [problem.curve.best_frequency(price / problem.worth) for price in prices.tolist()]
    return np.clip(best, 0.0, problem.largest_frequency)


def optimum(problem: Problem) -> float:
    """What the provider receives with the best menu."""
    frequencies = best_frequencies(problem)
    return problem.value(frequencies, payments(problem.costs, frequencies))
