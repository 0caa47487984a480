"""Simulated holders, who take what is best for them: choose, refuse, or report the cost of another type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from clinragen.contracts.menu import Item, Menu


@dataclass(frozen=True)
class Choice:
    """What a holder does.

    Attributes:
        item: what it takes; None if it refuses.
        utility: what it has of it, per unit of time; 0 if it refuses.
    """

    item: Item | None
    utility: Fraction


def choose(menu: Menu, cost: Fraction) -> Choice:
    """The best item for a holder of any cost; among equals that of the highest frequency, and none if all lose."""
    best = max(menu.items, key=lambda item: (item.utility(cost), item.frequency))
    utility = best.utility(cost)
    return Choice(best, utility) if utility >= 0 else Choice(None, Fraction(0))


def honest(menu: Menu, cost: Fraction) -> Item | None:
    """The item of the type that a holder reports honestly: of those with at least its cost, the one with the least.

    None for a holder whose cost is above all types: no item is meant for it.
    """
    return next((item for item in reversed(menu.items) if item.cost >= cost), None)


@dataclass(frozen=True)
class Simulation:
    """Holders who were offered a menu.

    Attributes:
        holders: how many.
        outsiders: those with a cost above all types.
        refused: those who took no item.
        misreported: those who reported another type than theirs.
        paid: those to whom the misreport gave more than honesty; 0 for a menu that keeps its promises.
        largest_gain: the most that a misreport gave beyond honesty; None without misreports.
        mean_loss: what a misreport lost on average; None without misreports.
        frequency: mean updates of a holder per unit of time.
        reward: mean money that a holder is paid per unit of time.
    """

    holders: int
    outsiders: int
    refused: int
    misreported: int
    paid: int
    largest_gain: Fraction | None
    mean_loss: Fraction | None
    frequency: float
    reward: float


def simulate(
    menu: Menu, holders: int, rng: np.random.Generator, *, misreporting: float = 0.5, outside: float = 0.05
) -> Simulation:
    """Offer a menu to random holders.

    Each is of a type, drawn by the shares (uniformly if the menu has none), or an outsider, whose cost is up to twice
    the highest. A part of those of a type misreports: it reports another type, drawn uniformly, and receives the item
    of that type, or refuses if it would lose by it. The others choose what is best for them.

    Args:
        menu: what is offered.
        holders: how many.
        rng: draws costs and reports.
        misreporting: part of the holders of a type that report another.
        outside: part of the holders that are outsiders.
    """
    kinds = _types(menu, holders, rng)
    outsider, liar = rng.random(holders) < outside, rng.random(holders) < misreporting
    shifts = rng.integers(1, max(len(menu.items), 2), holders)
    factors = rng.integers(1, 1001, holders)  # thousandths above the highest cost
    gains: list[Fraction] = []
    choices: list[Item | None] = []
    for holder, kind in enumerate(kinds):
        if outsider[holder]:
            cost = menu.items[0].cost * (1 + Fraction(int(factors[holder]), 1000))
            choices.append(choose(menu, cost).item)
            continue
        item = menu.items[kind]
        if not liar[holder] or len(menu.items) == 1:
            choices.append(choose(menu, item.cost).item)
            continue
        reported = menu.items[(kind + int(shifts[holder])) % len(menu.items)]
        utility = reported.utility(item.cost)
        choices.append(reported if utility >= 0 else None)
        gains.append(max(utility, Fraction(0)) - max(item.utility(item.cost), Fraction(0)))
    return _summary(choices, gains, int(outsider.sum()))


def _types(menu: Menu, holders: int, rng: np.random.Generator) -> list[int]:
    shares = np.array([float(item.share or 0) for item in menu.items])
    if not shares.sum():
        shares = np.ones(len(menu.items))
    return rng.choice(len(menu.items), holders, p=shares / shares.sum()).tolist()


def _summary(items: Sequence[Item | None], gains: Sequence[Fraction], outsiders: int) -> Simulation:
    accepted = [item for item in items if item is not None]
    return Simulation(
        holders=len(items),
        outsiders=outsiders,
        refused=len(items) - len(accepted),
        misreported=len(gains),
        paid=sum(gain > 0 for gain in gains),
        largest_gain=max(gains, default=None),
        mean_loss=-sum(gains, Fraction(0)) / len(gains) if gains else None,
        frequency=float(sum((item.frequency for item in accepted), Fraction(0))) / max(len(items), 1),
        reward=float(sum((item.reward for item in accepted), Fraction(0))) / max(len(items), 1),
    )
