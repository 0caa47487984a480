"""The settings of ``configs/contract``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from omegaconf import MISSING

from clinragen import config
from clinragen.contracts.curve import FreshnessCurve
from clinragen.contracts.problem import Problem
from clinragen.errors import UserError

GROUP, DEFAULT = "contract", "default"
_SUM_ERROR = 1e-6  # so that thirds can be written with six digits
_MOST_DECIMALS = 12


@dataclass
class HolderType:
    """One type of holder.

    Attributes:
        cost: of one update per unit of time, in units of money.
        share: of all holders.
        name: for tables; the number of the type if empty.
    """

    cost: float = MISSING
    share: float = MISSING
    name: str = ""


@dataclass
class Age:
    """How old data are: see ``clinragen.contracts.curve``. Times are in the unit of time of the frequencies."""

    largest: float = MISSING
    delay: float = 0.0
    updates: Literal["periodic", "random"] = "periodic"


@dataclass
class Decimals:
    """How many decimals a menu is written with; rewards have more where fewer would break what the menu promises."""

    frequency: int = 4
    reward: int = 2


@dataclass
class ContractSettings:
    """A contract problem.

    Attributes:
        types: of holders, in any order; equal costs receive equal items.
        alpha: satisfaction for each unit of log(G + 1).
        beta: money for each unit of satisfaction.
        largest_frequency: most updates per unit of time.
    """

    types: list[HolderType] = MISSING
    alpha: float = MISSING
    beta: float = MISSING
    largest_frequency: float = MISSING
    age: Age = field(default_factory=Age)
    decimals: Decimals = field(default_factory=Decimals)

    def ordered(self) -> list[HolderType]:
        """The types with their names, the highest cost first."""
        named = [
            HolderType(one.cost, one.share, one.name or f"type {number}") for number, one in enumerate(self.types, 1)
        ]
        return sorted(named, key=lambda one: -one.cost)

    def problem(self) -> Problem:
        """The problem in numbers; shares are scaled to sum to 1 exactly."""
        types = self.ordered()
        shares = np.array([one.share for one in types])
        return Problem(
            costs=np.array([one.cost for one in types]),
            shares=shares / shares.sum(),
            worth=self.alpha * self.beta,
            curve=FreshnessCurve(self.age.largest, self.age.delay, self.age.updates),
            largest_frequency=self.largest_frequency,
        )


def load(name: str = DEFAULT, settings: Sequence[str] = ()) -> ContractSettings:
    """Settings by shipped name or path, with overrides such as ``beta=200``.

    Raises:
        UserError: an unknown key, a missing or impossible number, types without a sum of 1 or with one name twice.
    """
    loaded = config.load(GROUP, name, ContractSettings, list(settings))
    positive = {
        "alpha": loaded.alpha, "beta": loaded.beta, "largest_frequency": loaded.largest_frequency,
        "age.largest": loaded.age.largest,
    }  # fmt: skip
    for key, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}: {key}={value}: expected a number above 0")
    if not (math.isfinite(loaded.age.delay) and loaded.age.delay >= 0):
        raise UserError(f"{name}: age.delay={loaded.age.delay}: expected 0 or more")
    for key in ("frequency", "reward"):
        digits = getattr(loaded.decimals, key)
        if not 0 <= digits <= _MOST_DECIMALS:
            raise UserError(f"{name}: decimals.{key}={digits}: expected a whole number from 0 to {_MOST_DECIMALS}")
    _check_types(name, loaded.types)
    return loaded


def _check_types(name: str, types: Sequence[HolderType]) -> None:
    if not types:
        raise UserError(f"{name}: types is empty: expected one or more, such as {{cost: 2.5, share: 1.0}}")
    first: dict[str, int] = {}
    for number, one in enumerate(types):
        where = f"{name}: types[{number}]" + f" ({one.name})" * bool(one.name)
        if not (math.isfinite(one.cost) and one.cost >= 0):
            raise UserError(f"{where}: cost {one.cost}: expected 0 or more, the cost of one update per unit of time")
        if not (math.isfinite(one.share) and one.share > 0):
            raise UserError(f"{where}: share {one.share}: expected a number above 0; leave out a type without holders")
        if one.name in first:
            raise UserError(f"{where}: types[{first[one.name]}] has the same name: a name stands for one type")
        if one.name:
            first[one.name] = number
    total = sum(one.share for one in types)
    if abs(total - 1) > _SUM_ERROR:
        raise UserError(f"{name}: the shares of types sum to {total:.6g}, expected 1: divide each by {total:.6g}")
