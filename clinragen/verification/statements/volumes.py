"""Volumes over hours: urine output is charted by the hour, and stated as a sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements
from clinragen.verification.statements.base import number, span

#: Tolerance factor of a stated total: outputs are summed between charted hours.
TOTAL = 1.05


@dataclass(frozen=True)
class Total:
    """The sum over some hours is this number, or above or below it: "1200 mL over 24 h", "in the first 6 hours".

    Attributes:
        compare: the number itself, or a bound on the sum (then ``low`` equals ``high``).
        window: hours from intime; a negative start counts back from the last measurement.
        hours: length of a stretch, which may lie anywhere.
    """

    compare: Literal["is", "above", "below"]
    low: float
    high: float
    window: tuple[float, float] = (0.0, float("inf"))
    hours: float | None = None
    of_all: ClassVar[bool] = True

    def holds(self, variable: Variable, seen: Measurements) -> bool:
        """Whether one of the sums that the words may mean matches the number."""
        totals = self._sums(seen)
        if self.compare == "above":
            return bool((totals > self.low).any())
        if self.compare == "below":
            return bool((totals < self.high).any())
        return bool(((totals >= self.low / TOTAL) & (totals <= self.high * TOTAL)).any())

    def _sums(self, seen: Measurements) -> np.ndarray:
        """The sums that the words may mean. float [n], possibly empty."""
        hours = seen.hours
        sums = np.concatenate([[0.0], np.cumsum(seen.values)])
        start, end = self.window
        if self.hours is not None:
            begins, stops = np.arange(len(hours)), np.searchsorted(hours, hours + self.hours - 1e-6)
            if self.compare != "above":  # a stretch that is cut off by the end of the record has too small a sum
                whole = (hours + self.hours <= hours[-1] + 1.0) | (hours == hours[0])
                begins, stops = begins[whole], stops[whole]
        elif start < 0:
            begins = np.searchsorted(hours, [hours[-1] + start + 1.0, hours[-1] + start])
            stops = np.array([len(hours)] * 2)
        else:  # the first 6 hours are those that begin at 0 to 5; people also count the one that begins at 6
            begins = np.searchsorted(hours, [start, start])
            stops = np.array([np.searchsorted(hours, end), np.searchsorted(hours, end, side="right")])
        return sums[stops] - sums[begins]

    def __str__(self) -> str:
        stated = number(self.low) if self.compare != "is" else span(self.low, self.high)
        return f"total {self.compare} {stated}{f' over {self.hours:g} h' if self.hours else ''}"
