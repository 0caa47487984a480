"""What a menu promises, checked exactly: every type accepts its item (IR), and none gains by another's (IC).

For each type the best of all items is compared with its own, so all pairs are covered. The best item of a cost d is the
largest of the lines R - f d. Only lines on the upper envelope can be best, and as the cost falls the best frequency
rises, so one pass over the envelope serves all types: O(K log K) in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from clinragen.contracts.menu import Item, Menu


@dataclass(frozen=True)
class Violation:
    """A type whose item does not keep its promise.

    Attributes:
        promise: ``IR``: the item costs the type more than its reward; ``IC``: another's item gives it more.
        item: of the type.
        other: the item that gives it most; None for IR.
        gain: by how much refusing, or the other item, is better for the type, exactly; above 0.
    """

    promise: Literal["IR", "IC"]
    item: Item
    other: Item | None
    gain: Fraction

    def __str__(self) -> str:
        if self.other is None:
            return (
                f"IR: '{self.item.name}' (cost {float(self.item.cost):g}) loses {float(self.gain):g} with its item and "
                "would refuse"
            )
        return (
            f"IC: '{self.item.name}' (cost {float(self.item.cost):g}) would take the item of '{self.other.name}' and "
            f"gain {float(self.gain):g} more"
        )


def violations(menu: Menu) -> list[Violation]:
    """Every broken promise, the highest cost first; for IC with the item that gives most. Empty if all hold."""
    broken: list[Violation] = []
    for item, best in zip(menu.items, best_items(menu), strict=True):
        utility = item.utility(item.cost)
        if utility < 0:
            broken.append(Violation("IR", item, None, -utility))
        if (gain := best.utility(item.cost) - utility) > 0:
            broken.append(Violation("IC", item, best, gain))
    return broken


def best_items(menu: Menu) -> list[Item]:
    """For each item of a menu, in its order, the item that gives most to a holder of its cost."""
    lines = _whole(menu)
    envelope = _envelope(lines)
    best, position = [], 0
    for item, (cost, _, _) in zip(menu.items, lines, strict=True):
        while position + 1 < len(envelope) and _value(lines, envelope[position + 1], cost) >= _value(
            lines, envelope[position], cost
        ):
            position += 1
        chosen = envelope[position]
        equal = _value(lines, chosen, cost) <= _value(lines, len(best), cost)
        best.append(item if equal else menu.items[chosen])
    return best


def _whole(menu: Menu) -> list[tuple[int, int, int]]:
    """(cost, frequency, reward) of each item in whole numbers, such that reward - frequency * cost is a utility."""
    scales = [math.lcm(*(getattr(item, name).denominator for item in menu.items)) for name in ("cost", "frequency")]
    scale = math.lcm(scales[0] * scales[1], *(item.reward.denominator for item in menu.items))
    spread = scale // (scales[0] * scales[1])
    return [
        (int(item.cost * scales[0]), int(item.frequency * scales[1]) * spread, int(item.reward * scale))
        for item in menu.items
    ]


def _value(lines: Sequence[tuple[int, int, int]], item: int, cost: int) -> int:
    return lines[item][2] - lines[item][1] * cost


def _envelope(lines: Sequence[tuple[int, int, int]]) -> list[int]:
    """Positions of the items on the upper concave hull of (frequency, reward), by rising frequency."""
    hull: list[int] = []
    for item in sorted(range(len(lines)), key=lambda item: (lines[item][1], lines[item][2])):
        frequency, reward = lines[item][1:]
        if hull and lines[hull[-1]][1] == frequency:  # the same frequency, for less
            hull.pop()
        while len(hull) > 1:
            (_, before, first), (_, middle, second) = lines[hull[-2]], lines[hull[-1]]
            if (second - first) * (frequency - middle) > (reward - second) * (middle - before):
                break
            hull.pop()
        hull.append(item)
    return hull
