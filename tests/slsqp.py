"""The best menu by a general solver that knows no virtual costs: all IR and all pairs of IC are its constraints."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from clinragen.contracts.problem import Problem

_FIRM = 1e-9  # most that a constraint may be missed by, of the worth


def solve_by_slsqp(problem: Problem) -> float | None:
    """What the provider receives with the best menu that SLSQP finds from two starts; None if it does not converge.

    Frequencies are in units of the largest and money in units of the worth, so that steps are of one size.
    """
    count, shares, top = len(problem.costs), problem.shares, problem.largest_frequency
    costs = problem.costs * top / problem.worth
    rows = [[*(-costs[k] * np.eye(count)[k]), *np.eye(count)[k]] for k in range(count)]
    for k in range(count):
        for j in range(count):
            if j != k:
                difference = np.eye(count)[k] - np.eye(count)[j]
                rows.append([*(-costs[k] * difference), *difference])
    promises = np.array(rows)

    def lost(values: np.ndarray) -> float:
        f, rewards = values[:count], values[count:]
        return -float(shares @ (problem.curve.log_gain(np.maximum(f, 0) * top) - rewards))

    def slope(values: np.ndarray) -> np.ndarray:
        return np.concatenate([-shares * problem.curve.slope(np.maximum(values[:count], 0) * top) * top, shares])

    bounds = [(0.0, 1.0)] * count + [(0.0, None)] * count
    constraint = {"type": "ineq", "fun": lambda values: promises @ values, "jac": lambda values: promises}
    best = None
    for start in (0.1, 0.6):
        f = np.linspace(start / 2, start, count)
        first = np.concatenate([f, costs[0] * f])
        fit = minimize(
            lost, first, jac=slope, bounds=bounds, constraints=[constraint], method="SLSQP",
            options={"maxiter": 1000, "ftol": 1e-14},
        )  # fmt: skip
        firm = (promises @ fit.x).min() >= -_FIRM and fit.x.min() >= -_FIRM
        if firm and (best is None or -fit.fun > best):
            best = -float(fit.fun)
    return None if best is None else best * problem.worth
