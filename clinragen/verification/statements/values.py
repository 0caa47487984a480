"""Statements with numbers: a value, a range, a decade, a bound, an extreme, a mean.

Every number is a range from ``low`` to ``high``, whose width comes from rounding or "about".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements
from clinragen.chart.reference_range import width
from clinragen.verification.statements.base import Hour, number, span
from clinragen.verification.statements.frequency import MOSTLY, Frequency, enough, said
from clinragen.verification.statements.states import STRAY, Side, on_side

#: With fewer measurements than this, one in a decade is enough: one of five is about a quarter.
MANY = 8
#: Least share of the measurements for "in the 80s".
DECADE = 0.25
#: Tolerance of a mean, in widths of the reference range: people average by eye.
MEAN = 0.05

BoundSide = Literal["above", "below"]


@dataclass(frozen=True)
class Value:
    """A measurement is this number, and lies on the stated side, if any: "elevated at 3.2"."""

    low: float
    high: float
    side: Side | None = None
    frequency: Frequency | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether the number occurs, as often as stated."""
        agree = (seen.values >= self.low) & (seen.values <= self.high)
        agree &= on_side(self.side, variable, seen.values)
        return bool(agree.any()) if self.frequency is None else enough(agree, self.frequency)

    def __str__(self) -> str:
        return f"is {span(self.low, self.high)}{f' ({self.side})' if self.side else ''}{said(self.frequency)}"


@dataclass(frozen=True)
class Within:
    """Nine in ten measurements lie between two numbers: "between 12 and 18", "ranged from 12 to 18"."""

    low: float
    high: float
    frequency: Frequency | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether enough of them do."""
        agree = _between(self.low, self.high, seen.values)
        return bool(agree.mean() >= 1.0 - STRAY) if self.frequency is None else enough(agree, self.frequency)

    def __str__(self) -> str:
        return f"within {number(self.low)} to {number(self.high)}{said(self.frequency)}"


@dataclass(frozen=True)
class Decade:
    """Measurements lie in a decade or a part of one ("in the low 80s"), or in one decade to another (``several``).

    "In the 80s" says where the variable often was: a quarter of the measurements, or one of few. "In the 80s to 90s"
    says where it was most of the time.
    """

    low: float
    high: float
    several: bool = False
    frequency: Frequency | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether enough of them do."""
        agree = _between(self.low, self.high, seen.values)
        if self.frequency is not None:
            return enough(agree, self.frequency)
        if self.several:
            return bool(agree.mean() >= MOSTLY)
        return bool(agree.any()) if len(agree) < MANY else bool(agree.mean() >= DECADE)

    def __str__(self) -> str:
        name = "decades" if self.several else "decade"
        return f"in the {name} {number(self.low)} to {number(self.high)}{said(self.frequency)}"


@dataclass(frozen=True)
class Beyond:
    """Measurements lie above or below a bound.

    It is an event ("exceeded 39", "high, above 5", ``once``), which needs one measurement, or a state, which needs nine
    in ten. "MAP above 65", which holds for values of the reference range, is a state; "potassium above 6" an event.
    """

    bound: float
    way: BoundSide
    side: Side | None = None
    frequency: Frequency | None = None
    once: bool = False
    of_all: ClassVar[bool] = False

    def meets(self, values: np.ndarray) -> np.ndarray:
        """Which values lie beyond the bound. bool [n]."""
        return values > self.bound if self.way == "above" else values < self.bound

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether enough of them do."""
        agree = self.meets(seen.values) & on_side(self.side, variable, seen.values)
        if self.frequency is not None:  # a bound is exact, so that "always above 65" has no exception
            return enough(agree, self.frequency, persistent=1.0 - STRAY, always=1.0)
        if self.once or not self._usual(variable):
            return bool(agree.any())
        return bool(agree.mean() >= 1.0 - STRAY)

    def _usual(self, variable: Variable) -> bool:
        """Whether values of the reference range meet the bound."""
        ends = np.array([end for end in (variable.low, variable.high) if end is not None])
        return bool(self.meets(ends).any())

    def __str__(self) -> str:
        once = "once " if self.once else ""
        return f"{once}{self.way} {number(self.bound)}{f' ({self.side})' if self.side else ''}{said(self.frequency)}"


@dataclass(frozen=True)
class Crossing:
    """A bound was crossed, or the variable moved further beyond it: "rose above 39", "dropped below 90"."""

    bound: float
    way: BoundSide
    side: Side | None = None
    frequency: Frequency | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether a measurement beyond the bound was reached by a rise (above) or a fall (below).

        A single measurement shows no movement, and counts by its value alone.
        """
        values = seen.values
        if self.way == "above":
            agree = (values > self.bound) & ((values > np.minimum.accumulate(values)) | (len(values) == 1))
        else:
            agree = (values < self.bound) & ((values < np.maximum.accumulate(values)) | (len(values) == 1))
        agree &= on_side(self.side, variable, values)
        return bool(agree.any()) if self.frequency is None else enough(agree, self.frequency)

    def __str__(self) -> str:
        moved = "rose above" if self.way == "above" else "fell below"
        return f"{moved} {number(self.bound)}{f' ({self.side})' if self.side else ''}{said(self.frequency)}"


@dataclass(frozen=True)
class Spell:
    """Beyond a bound for some hours on end: "MAP below 65 for 3 hours"."""

    bound: float
    way: BoundSide
    hours: float
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether nine in ten measurements of some stretch of so many hours lie beyond the bound.

        The stretch must fit into the record (to an hour, the width of a bin); where none does, it is the whole record.
        """
        hours = seen.hours
        agree = Beyond(self.bound, self.way).meets(seen.values)
        ends = np.searchsorted(hours, hours + self.hours - 1e-6)
        fits = (hours + self.hours <= hours[-1] + 1.0) | (hours == hours[0])
        return any(bool(fits[i]) and agree[i:end].mean() >= 1.0 - STRAY for i, end in enumerate(ends))

    def __str__(self) -> str:
        return f"{self.way} {number(self.bound)} for {self.hours:g} h"


@dataclass(frozen=True)
class Extreme:
    """The highest or the lowest measurement is this number, at the stated hour if there is one."""

    which: Literal["highest", "lowest"]
    low: float
    high: float
    hour: Hour | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether it is; any of several equal extremes may be at the hour."""
        best = extreme(self.which, seen.values)
        if not self.low <= best <= self.high:
            return False
        return self.hour is None or bool(self.hour.near(seen.hours[seen.values == best]).any())

    def __str__(self) -> str:
        return f"{self.which} {span(self.low, self.high)}{f', {self.hour}' if self.hour else ''}"


@dataclass(frozen=True)
class Mean:
    """The mean or the median is this number: of all measurements, or of some stretch of ``hours`` hours."""

    low: float
    high: float
    hours: float | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether mean or median is, within a twentieth of the reference range."""
        slack = MEAN * width(variable)
        stretches = [seen.values]
        if self.hours is not None:
            ends = np.searchsorted(seen.hours, seen.hours + self.hours - 1e-6)
            stretches += [seen.values[i:end] for i, end in enumerate(ends)]
        middles = [middle for part in stretches for middle in (part.mean(), np.median(part))]
        return any(self.low - slack <= middle <= self.high + slack for middle in middles)

    def __str__(self) -> str:
        return f"mean {span(self.low, self.high)}{f' of {self.hours:g} h' if self.hours else ''}"


def extreme(which: Literal["highest", "lowest"], values: np.ndarray) -> float:
    """The highest or the lowest value."""
    return float(values.max() if which == "highest" else values.min())


def _between(low: float, high: float, values: np.ndarray) -> np.ndarray:
    return (values >= low) & (values <= high)
