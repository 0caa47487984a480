"""A menu in exact numbers: as it is written, read, and rounded without breaking what it promises.

Frequencies, rewards and costs are decimal fractions, so that participation and honesty are decided by exact arithmetic
(``clinragen.contracts.promises``). A file holds them as text: ``"4.25"`` is read as 17/4, never as the nearest float.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from clinragen import config
from clinragen.artifacts import read_json
from clinragen.errors import UserError

KIND = "contract menu"
_NUMBERS = ("cost", "frequency", "reward")


@dataclass(frozen=True)
class Item:
    """What is offered to one type of holder.

    Attributes:
        name: of the type.
        cost: of one update per unit of time.
        frequency: updates per unit of time.
        reward: money per unit of time.
        share: of all holders; None if the file does not say it.
    """

    name: str
    cost: Fraction
    frequency: Fraction
    reward: Fraction
    share: Fraction | None = None

    def utility(self, cost: Fraction) -> Fraction:
        """What a holder of a cost has of the item, per unit of time."""
        return self.reward - self.frequency * cost


@dataclass(frozen=True)
class Menu:
    """Items in the order of their types, the highest cost first."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: -item.cost)))

    def as_json(self) -> dict[str, Any]:
        """The menu as a file holds it."""
        rows = [
            {
                "type": item.name,
                **{name: as_decimal(getattr(item, name)) for name in _NUMBERS},
                **({"share": as_decimal(item.share)} if item.share is not None else {}),
            }
            for item in self.items
        ]
        return {"kind": KIND, "items": rows}


def exact(value: float | int | str) -> Fraction:
    """The decimal fraction that a number is written as.

    >>> exact(0.1), exact("1e-3")
    (Fraction(1, 10), Fraction(1, 1000))
    """
    return Fraction(Decimal(value if isinstance(value, str) else repr(value)))


def as_decimal(fraction: Fraction) -> str:
    """A decimal fraction in digits.

    >>> as_decimal(Fraction(17, 4)), as_decimal(Fraction(3))
    ('4.25', '3')

    Raises:
        ValueError: the number has no finite decimals.
    """
    digits = decimals_of(fraction)
    scaled = fraction * 10**digits
    sign, text = "-" * (scaled < 0), str(abs(scaled.numerator)).rjust(digits + 1, "0")
    return sign + (f"{text[:-digits]}.{text[-digits:]}" if digits else text)


def decimals_of(fraction: Fraction) -> int:
    """How many decimals a decimal fraction has.

    Raises:
        ValueError: infinitely many.
    """
    remainder, counts = fraction.denominator, {2: 0, 5: 0}
    for prime in counts:
        while remainder % prime == 0:
            remainder //= prime
            counts[prime] += 1
    if remainder != 1:
        raise ValueError(f"{fraction} has no finite decimals")
    return max(counts.values())


def rounded_menu(
    types: Sequence[tuple[str, float, float]], frequencies: Iterable[float], decimals: tuple[int, int], largest: float
) -> Menu:
    """A menu with rounded frequencies, and rewards that are rounded in the holder's favour.

    Rewards follow from the rounded frequencies by formula, each step rounded up, so no type prefers a costlier one's
    item. With too few decimals, a step rounded up can be more than the costlier type's cost of it, who would then take
    the cheaper one's item; so rewards have as many decimals as are needed, at most those of the exact product.

    Args:
        types: (name, cost, share), the highest cost first.
        frequencies: not decreasing, one for each type.
        decimals: of frequencies, and at least of rewards.
        largest: the frequency that none may exceed.
    """
    costs = [exact(cost) for _, cost, _ in types]
    unit, digits = 10 ** decimals[0], decimals[1]
    cost_digits = max(decimals_of(cost) for cost in costs)
    limit = math.floor(exact(largest) * unit)
    steps = [min(round(frequency * unit), limit) for frequency in frequencies]
    whole_costs = [int(cost * 10**cost_digits) for cost in costs]
    most = decimals[0] + cost_digits  # of the exact product of a frequency and a cost
    while (rewards := _rounded_up(whole_costs, steps, digits, most)) is None and digits < most:
        digits += 1
    assert rewards is not None, "rewards in full decimals need no rounding"
    return Menu(
        tuple(
            Item(name, cost, Fraction(step, unit), Fraction(reward, 10**digits), exact(share))
            for (name, _, share), cost, step, reward in zip(types, costs, steps, rewards, strict=True)
        )
    )


def _rounded_up(costs: Sequence[int], frequencies: Sequence[int], digits: int, most: int) -> list[int] | None:
    """Rewards by formula, each step rounded up; None where a step is then too large for the costlier type.

    Args:
        costs: in whole numbers, the highest first.
        frequencies: in whole numbers; their products with costs have ``most`` decimals.
        digits: decimals of the rewards.
        most: decimals of the products.
    """
    scale, unit = 10**digits, 10**most
    reward, earlier, rewards = 0, 0, []
    for position, (cost, frequency) in enumerate(zip(costs, frequencies, strict=True)):
        rise, earlier = (frequency - earlier) * scale, frequency
        step = -(-cost * rise // unit)
        if position and step * unit > costs[position - 1] * rise:
            return None
        reward += step
        rewards.append(reward)
    return rewards


def read_menu(path: Path) -> Menu:
    """A menu from a JSON or YAML file, written by `clinragen contract solve` or by hand.

    Raises:
        UserError: missing or malformed, with the item and what was expected.
    """
    content = config.load_yaml(path) if path.suffix in (".yaml", ".yml") else read_json(path, "a menu of contracts")
    rows = content.get("items")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: expected 'items:' with one or more of {{type, cost, frequency, reward}}")
    items = [_item(row, f"{path}: items[{position}]", position) for position, row in enumerate(rows)]
    names = [item.name for item in items]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}: two items are for type '{twice}': expected one for each")
    return Menu(tuple(items))


def _item(row: Any, where: str, position: int) -> Item:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a mapping with type, cost, frequency and reward")
    if lacking := [name for name in _NUMBERS if name not in row]:
        raise UserError(f"{where}: {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing")
    if unknown := [str(name) for name in row if name not in ("type", "share", *_NUMBERS)]:
        raise UserError(f"{where}: unknown key '{unknown[0]}'; expected type, share, {', '.join(_NUMBERS)}")
    cost, frequency, reward = (number(row[name], f"{where}: {name}") for name in _NUMBERS)
    share = number(row["share"], f"{where}: share") if "share" in row else None
    for name, value in (("cost", cost), ("frequency", frequency), ("share", share or Fraction(0))):
        if value < 0:
            raise UserError(f"{where}: {name} {row[name]}: expected 0 or more")
    return Item(str(row.get("type", f"type {position + 1}")), cost, frequency, reward, share)


def number(value: Any, where: str) -> Fraction:
    """A decimal fraction from what a user gave; ``where`` names it in the error."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        decimal = Decimal(value if isinstance(value, str) else repr(value))
        if not decimal.is_finite() or abs(decimal.adjusted()) > 50:  # 1e999999 would fill the memory
            raise ValueError
        return Fraction(decimal)
    except (ValueError, InvalidOperation):
        raise UserError(f"{where} {str(value)[:40]}: expected a decimal number, such as 4.25") from None


def in_floats(menu: Menu) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and rewards, [types] each."""
    return (
        np.array([float(item.frequency) for item in menu.items]),
        np.array([float(item.reward) for item in menu.items]),
    )
