"""Simple ways to set frequencies, beside the optimum. All pay by formula, so that every type accepts and is honest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clinragen.contracts.optimum import best_frequencies, virtual_costs
from clinragen.contracts.problem import Problem

_STEPS = 20  # steps of the greedy rule from 0 to the largest frequency


def myopic(problem: Problem) -> np.ndarray:
    """Each type's best frequency as if its cost were known: what cheaper types then receive more is ignored."""
    best = [problem.curve.best_frequency(cost / problem.worth) for cost in problem.costs.tolist()]
    return np.clip(best, 0.0, problem.largest_frequency)


def one_item(problem: Problem) -> np.ndarray:
    """The best single item, which all accept whose cost is at most a limit; the others have frequency 0."""
    candidates = []
    for first, cost in enumerate(problem.costs.tolist()):
        accepting = problem.shares[first:].sum()
        frequency = min(problem.curve.best_frequency(cost / problem.worth), problem.largest_frequency)
        gain = accepting * (problem.worth * float(problem.curve.log_gain(frequency)) - cost * frequency)
        candidates.append((gain, first, frequency))
    _, first, frequency = max(candidates)
    return np.where(np.arange(len(problem.costs)) >= first, frequency, 0.0)


def random_monotone(problem: Problem, rng: np.random.Generator) -> np.ndarray:
    """Uniform frequencies, sorted."""
    return np.sort(rng.uniform(0.0, problem.largest_frequency, len(problem.costs)))


def greedy(problem: Problem) -> np.ndarray:
    """From 0, raise by one step the type whose step gains most, until none gains; a step is 5 % of the largest.

    A type is raised at most to the frequency of the next cheaper one, so it never raises two together.
    """
    step = problem.largest_frequency / _STEPS
    levels = problem.curve.log_gain(step * np.arange(_STEPS + 1))
    gains = problem.worth * problem.shares[:, None] * np.diff(levels)
    gains -= virtual_costs(problem.costs, problem.shares)[:, None] * step  # [types, steps]
    counts = np.zeros(len(problem.costs), int)
    while True:
        free = counts < np.append(counts[1:], _STEPS)
        offers = np.where(free, gains[np.arange(len(counts)), np.minimum(counts, _STEPS - 1)], -np.inf)
        best = int(offers.argmax())
        if offers[best] <= 0:
            return counts * step
        counts[best] += 1


#: by name, all rules that need no training; the generator is for those that draw
RULES: dict[str, Callable[[Problem, np.random.Generator], np.ndarray]] = {
    "exact": lambda problem, rng: best_frequencies(problem),
    "one item": lambda problem, rng: one_item(problem),
    "myopic": lambda problem, rng: myopic(problem),
    "greedy": lambda problem, rng: greedy(problem),
    "random monotone": random_monotone,
}
