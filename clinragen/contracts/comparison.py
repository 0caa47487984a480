"""Ways to write a menu, compared by how far they stay below the optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clinragen.contracts.optimum import optimum, payments
from clinragen.contracts.problem import Problem
from clinragen.contracts.rules import RULES

_TIES = 1e-9  # differences of utility below this part of the worth are taken as equal


@dataclass(frozen=True)
class Outcome:
    """What becomes of one menu when every holder takes what is best for it.

    Attributes:
        value: what the provider receives, per unit of time and holder.
        regret: how far below the optimum, as a part of it.
        refusing: types whose own item loses (IR broken).
        tempted: types to which another's item gives more than their own (IC broken).
    """

    value: float
    regret: float
    refusing: int
    tempted: int


@dataclass(frozen=True)
class Row:
    """One way to write menus.

    Attributes:
        name: of the way.
        configured: its outcome for the configured problem.
        random: its outcomes for random problems.
    """

    name: str
    configured: Outcome
    random: tuple[Outcome, ...]

    @property
    def regrets(self) -> np.ndarray:
        """For the random problems, [problems]."""
        return np.array([one.regret for one in self.random])

    @property
    def broken(self) -> tuple[float, float]:
        """Part of the random problems in which its menu breaks IR, and in which it breaks IC."""
        return (
            float(np.mean([one.refusing > 0 for one in self.random])),
            float(np.mean([one.tempted > 0 for one in self.random])),
        )

    def as_json(self) -> dict[str, float | str]:
        """The row in numbers; regrets as parts of the optimum."""
        return {
            "name": self.name,
            "value": self.configured.value,
            "regret": self.configured.regret,
            "mean_regret": float(self.regrets.mean()),
            "p95_regret": float(np.quantile(self.regrets, 0.95)),
            "broken_ir": self.broken[0],
            "broken_ic": self.broken[1],
        }


#: from problems to (frequencies, rewards) of each
Writer = Callable[[Sequence[Problem]], list[tuple[np.ndarray, np.ndarray]]]


def outcome(problem: Problem, frequencies: np.ndarray, rewards: np.ndarray) -> Outcome:
    """Offer a menu: each type takes the item that gives it most, its own among equals, or refuses if all lose.

    Args:
        problem: whose types choose.
        frequencies: of the items, [types].
        rewards: of the items, [types].
    """
    utilities = rewards[None, :] - problem.costs[:, None] * frequencies[None, :]  # [types, items]
    mine = np.diag(utilities)
    close = _TIES * problem.worth
    best = np.where(utilities.max(1) > mine + close, utilities.argmax(1), np.arange(len(mine)))
    accepts = utilities[np.arange(len(mine)), best] >= -close
    value = problem.value(np.where(accepts, frequencies[best], 0.0), np.where(accepts, rewards[best], 0.0))
    limit = optimum(problem)
    return Outcome(
        value=value,
        regret=(limit - value) / limit,
        refusing=int((mine < -close).sum()),
        tempted=int((utilities.max(1) > mine + close).sum()),
    )


def row(name: str, problem: Problem, problems: Sequence[Problem], write: Writer) -> Row:
    """Try a way on the configured problem and on random ones."""
    every = (problem, *problems)
    outcomes = [outcome(one, *menu) for one, menu in zip(every, write(every), strict=True)]
    return Row(name, outcomes[0], tuple(outcomes[1:]))


def rules(rng: np.random.Generator) -> dict[str, Writer]:
    """The rules that need no training, by name."""

    def writer(name: str) -> Writer:
        def write(problems: Sequence[Problem]) -> list[tuple[np.ndarray, np.ndarray]]:
            menus = ((one.costs, RULES[name](one, rng)) for one in problems)
            return [(frequencies, payments(costs, frequencies)) for costs, frequencies in menus]

        return write

    return {name: writer(name) for name in RULES}
