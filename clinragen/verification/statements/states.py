"""Statements about level: high, low, normal, abnormal by the reference range; mild or marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements
from clinragen.chart.reference_range import width
from clinragen.verification.statements.frequency import Frequency, enough, said

Side = Literal["high", "low", "normal", "abnormal"]

#: Share of the measurements that may lie outside while a variable still counts as normal, or as within a range:
#: clinicians call potassium normal in a stay with one value of 5.2 among twenty.
STRAY = 0.1
#: Distance beyond the bound, in widths of the range: least for "markedly", most for "mildly". They overlap, since what
#: one clinician calls mild another calls marked.
MARKED, MILD = 0.2, 1.5


def on_side(side: Side | None, variable: Variable, values: np.ndarray) -> np.ndarray:
    """Which values lie on that side of the reference range; all if no side is given. bool [n].

    "Normal" is decided after rounding to the usual decimals: 1.204 is printed as 1.20, which is not above 1.2. "High"
    and "low" are decided by the value itself.
    """
    if side is None:
        return np.ones(len(values), dtype=bool)
    read = variable.written if side == "normal" else float
    sides = np.array([variable.direction(read(float(value))) for value in values])
    return {"high": sides > 0, "low": sides < 0, "normal": sides == 0, "abnormal": sides != 0}[side]


@dataclass(frozen=True)
class State:
    """The variable is high, low, normal or abnormal.

    For high, low and abnormal one measurement is enough; normal needs nine in ten.
    """

    side: Side
    frequency: Frequency | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether enough measurements lie on the side."""
        agree = on_side(self.side, variable, seen.values)
        if self.frequency is not None:
            return enough(agree, self.frequency)
        return bool(agree.mean() >= 1.0 - STRAY) if self.side == "normal" else bool(agree.any())

    def __str__(self) -> str:
        return f"{self.side}{said(self.frequency)}"


@dataclass(frozen=True)
class Severity:
    """How far beyond the reference range the worst value on a side lies.

    Some ranges are narrow for the values that occur (lactate 0.5 to 2.0, where ten times the bound is common), so on
    the upper side the unit is half the bound where that is wider than the range.
    """

    degree: Literal["mild", "marked"]
    side: Literal["high", "low", "abnormal"]
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether the distance is small, or large, enough for the word."""
        beyond = 0.0
        if self.side != "low" and variable.high is not None:
            above = float(seen.values.max() - variable.high)
            beyond = max(beyond, above / max(width(variable), 0.5 * abs(variable.high)))
        if self.side != "high" and variable.low is not None:
            beyond = max(beyond, float(variable.low - seen.values.min()) / width(variable))
        return beyond <= MILD if self.degree == "mild" else beyond >= MARKED

    def __str__(self) -> str:
        return f"{self.degree}ly {self.side}" if self.degree == "mild" else f"markedly {self.side}"
