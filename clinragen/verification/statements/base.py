"""The protocol of a statement, which has a check, and the scope of a claim: its hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements

Moment = Literal["first", "later", "last"]

#: Tolerance of a stated hour, since measurements are binned by the hour. "Around hour 12" is less exact.
EXACTLY, ROUGHLY = 1.0, 3.0
#: "On admission" covers this many hours after the first measurement, "at the end" as many before the last: admission
#: bloods take some hours to be drawn and reported.
MOMENT = 4.0


class Statement(Protocol):
    """A statement about one variable."""

    #: The check needs all measurements of the variable, not only those in the scope of its claim.
    of_all: ClassVar[bool]

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether it is true of these measurements (at least one); None if they cannot decide."""
        ...


@dataclass(frozen=True)
class Hour:
    """A stated hour from intime, and its tolerance."""

    at: float
    slack: float = EXACTLY

    def near(self, hours: np.ndarray) -> np.ndarray:
        """Which hours are the stated one."""
        return np.abs(hours - self.at) <= self.slack

    def __str__(self) -> str:
        return f"hour {self.at:g}" if self.slack == EXACTLY else f"about hour {self.at:g}"


@dataclass(frozen=True)
class Scope:
    """The measurements that a claim is about.

    Attributes:
        window: hours from intime, both ends included; a negative start counts back from the last measurement.
        moment: the first measurements, those after the first, or the last ones.
        hour: only measurements of this hour.
    """

    window: tuple[float, float] | None = None
    moment: Moment | None = None
    hour: Hour | None = None

    def of(self, all_measured: Measurements) -> Measurements:
        """The measurements within the scope; there may be none."""
        hours = all_measured.hours
        inside = np.ones(len(hours), dtype=bool)
        if self.window is not None:
            start, end = self.window
            start = hours[-1] + start if start < 0 else start
            inside &= (hours >= start - EXACTLY / 2) & (hours <= end + EXACTLY / 2)
        if self.moment == "first":
            inside &= hours <= hours[0] + MOMENT
        elif self.moment == "last":
            inside &= hours >= hours[-1] - MOMENT
        elif self.moment == "later":
            inside &= hours > hours[0]
        if self.hour is not None:
            inside &= self.hour.near(hours)
        return Measurements(hours[inside], all_measured.values[inside])

    def __str__(self) -> str:
        parts = []
        if self.window is not None and self.window != (0.0, float("inf")):
            start, end = self.window
            if start < 0:
                parts.append(f"last {-start:g} h")
            elif end == float("inf"):
                parts.append(f"from hour {start:g}")
            else:
                parts.append(f"hours {start:g} to {end:g}")
        parts += [{"first": "at first", "later": "later", "last": "at last"}[self.moment]] if self.moment else []
        return ", ".join([*parts, *([str(self.hour)] if self.hour else [])])


def number(value: float) -> str:
    """A bound as printed in readings: six digits, no trailing zeros.

    >>> number(3.150000001), number(float("inf"))
    ('3.15', 'any')
    """
    return "any" if abs(value) == float("inf") else f"{value:.4g}" if abs(value) < 1000 else f"{value:.6g}"


def span(low: float, high: float) -> str:
    """The range of a number as printed in readings: its middle."""
    if abs(low) == float("inf") or abs(high) == float("inf"):
        return "any"
    return number((low + high) / 2)
