"""Statements about change: rising, falling, improving, resolved, stable; from one value to another, by an amount.

A rise and a fall are decided by the sign of the same quantity, so a change and its opposite are never both supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from clinragen.catalog import Variable
from clinragen.chart.measurements import Measurements
from clinragen.chart.reference_range import width
from clinragen.verification.statements.base import Hour, number, span
from clinragen.verification.statements.states import Side
from clinragen.verification.statements.values import MANY, Beyond, extreme

#: Changes below these fractions of the reference range's width are no trend, and still count as "stable".
TREND, STABLE = 0.05, 0.3
#: Above the range, a tenth of the level may be more than that: a creatinine of 5.0 to 5.4 is stable.
STABLE_LEVEL = 0.1

TrendWord = Literal["rising", "falling", "improving", "worsening", "resolved"]


@dataclass(frozen=True)
class Way:
    """Direction of a change: up or down, or towards or away from the reference range (better or worse).

    Without a trend, either direction. ``side``: better and worse refer to this side of the range ("high, improving").
    """

    trend: TrendWord | None = None
    side: Side | None = None

    @property
    def sign(self) -> int:
        """1 if the course must grow, -1 if it must shrink, 0 for either."""
        return {"rising": 1, "worsening": 1, "falling": -1, "improving": -1, "resolved": -1, None: 0}[self.trend]

    @property
    def ranged(self) -> bool:
        """Whether the course is the distance to the reference range."""
        return self.trend in ("improving", "worsening", "resolved")

    def course(self, variable: Variable, values: np.ndarray) -> np.ndarray:
        """The quantity that changes: the values, or their distance outside the reference range. float [n]."""
        if not self.ranged:
            return values
        above = np.maximum(0.0, values - variable.high) if variable.high is not None else np.zeros(len(values))
        below = np.maximum(0.0, variable.low - values) if variable.low is not None else np.zeros(len(values))
        sides = [part for part, other in ((above, "low"), (below, "high")) if self.side != other]
        return np.round(np.maximum.reduce(sides), variable.decimals + 3)

    def agrees(self, difference: float) -> bool:
        """Whether a difference of the course has this direction."""
        return bool(difference * self.sign > 0) if self.sign else True

    def __str__(self) -> str:
        return self.trend or "changing"


@dataclass(frozen=True)
class Point:
    """A value at which a change starts, passes or ends; it may be stated to be the highest or the lowest."""

    low: float
    high: float
    extreme: Literal["highest", "lowest"] | None = None

    def meets(self, values: np.ndarray) -> np.ndarray:
        """Which values match. bool [n]."""
        return (values >= self.low) & (values <= self.high)

    def places(self, seen: Measurements, hour: Hour | None = None) -> np.ndarray:
        """Indices of the matching measurements, at the stated hour; empty if the extreme is another value."""
        at = self.meets(seen.values)
        if self.extreme is not None:
            at &= seen.values == extreme(self.extreme, seen.values)
        if hour is not None:
            at &= hour.near(seen.hours)
        return np.flatnonzero(at)

    def __str__(self) -> str:
        return f"{span(self.low, self.high)}{f' ({self.extreme})' if self.extreme else ''}"


@dataclass(frozen=True)
class ChangeSize:
    """Size of a change: a part of the start (0.5: by half), a factor (2: doubled), or an amount in the variable's unit.

    A percentage is a part; for a variable that is itself in percent, it may mean points.
    """

    low: float
    high: float
    kind: Literal["part", "percent", "factor", "amount"]

    def met(self, variable: Variable, start: float, end: float) -> bool:
        """Whether the change between two values has this size."""
        difference = abs(end - start)
        if self.kind == "amount":
            return self.low <= difference <= self.high
        if self.kind == "percent" and variable.unit == "%" and 100 * self.low <= difference <= 100 * self.high:
            return True
        if start == 0 or end == 0:
            return False  # no part or multiple of zero
        if self.kind == "factor":
            return self.low <= max(start, end) / min(start, end) <= self.high
        return self.low <= difference / abs(start) <= self.high

    def __str__(self) -> str:
        if self.kind == "amount":
            return f"at least {number(self.low)}" if self.high == float("inf") else span(max(self.low, 0.0), self.high)
        if self.kind == "factor":
            return f"a factor {number(self.low)} to {number(self.high)}"
        return f"{number(100 * self.low)} to {number(100 * self.high)} %"


@dataclass(frozen=True)
class Trend:
    """A trend alone: "creatinine rising". ``past``: bounds that it passed, "climbed to above 5"."""

    way: Way
    past: tuple[Beyond, ...] = ()
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the drift has that direction, or a bound was passed by such a change.

        A rise or fall must be at least a twentieth of the reference range: less is within measurement error.
        """
        if len(seen.values) < 2:
            return None
        course = self.way.course(variable, seen.values)
        if self.past:
            reached = np.logical_and.reduce([bound.meets(seen.values) for bound in self.past])
            if any(approach(course, int(index)) == self.way.sign for index in np.flatnonzero(reached)):
                return True
        least = 1e-9 if self.way.ranged else TREND * width(variable) - 1e-9
        return self.way.sign * drift(course) >= least

    def __str__(self) -> str:
        past = " and ".join(f"{bound.way} {number(bound.bound)}" for bound in self.past)
        return f"{self.way}{f' to {past}' if past else ''}"


@dataclass(frozen=True)
class Stable:
    """Neither spread nor drift: most values lie close together, and the last ones near the first ones."""

    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether both are within three tenths of the reference range, or a tenth of a level above it."""
        values = seen.values
        if len(values) < 2:
            return None
        low, high = np.quantile(values, [0.1, 0.9]) if len(values) >= MANY else (values.min(), values.max())
        level = float(np.median(values))
        slack = STABLE * width(variable)
        if variable.high is not None and level > variable.high:
            slack = max(slack, STABLE_LEVEL * level)
        return bool(high - low <= 2 * slack and abs(drift(values)) <= slack)

    def __str__(self) -> str:
        return "stable"


@dataclass(frozen=True)
class Resolved:
    """It was outside the reference range, on the stated side if any, and ends within."""

    side: Side | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the last value lies within the range and another does not."""
        if len(seen.values) < 2:
            return None
        outside = Way("resolved", self.side).course(variable, seen.values)
        return bool(outside[-1] == 0 and outside.max() > 0)

    def __str__(self) -> str:
        return f"resolved{f' ({self.side})' if self.side else ''}"


@dataclass(frozen=True)
class Course:
    """Two or more values in this order: "from 1.1 to 3.2", "5.9 -> 6.3 -> 3.4", "3.2, up from 1.1"."""

    points: tuple[Point, ...]
    way: Way = field(default_factory=Way)
    size: ChangeSize | None = None
    hour: Hour | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the values occur in this order, the last on the stated side of the first and at the stated hour."""
        if len(seen.values) < 2:
            return None
        ends = self._ends(seen)
        if ends is None:
            return self._spread(seen)
        start, end = ends
        course = self.way.course(variable, seen.values)
        if self.way.trend in ("improving", "worsening") and course[end] == course[start] == 0:
            return None  # from normal to normal is neither better nor worse
        if not self.way.agrees(float(course[end] - course[start])):
            return False
        return self.size is None or self.size.met(variable, float(seen.values[start]), float(seen.values[end]))

    def _ends(self, seen: Measurements) -> tuple[int, int] | None:
        """Indices of the earliest start and the latest end, with the other points between; None if there are none."""
        at, start = -1, -1
        for order, point in enumerate(self.points):
            last = order == len(self.points) - 1
            places = point.places(seen, self.hour if last else None)
            places = places[places > at]
            if not len(places):
                return None
            at = int(places[-1] if last else places[0])
            start = at if order == 0 else start
        return start, at

    def _spread(self, seen: Measurements) -> bool:
        """ "Labile glucose, from 38 up to 278" gives the extremes, in whatever order."""
        if self.way.trend is not None or len(self.points) != 2 or any(point.extreme for point in self.points):
            return False
        first, last = sorted(self.points, key=lambda point: (point.low, point.high))
        low, high = float(seen.values.min()), float(seen.values.max())
        return first.low <= low <= first.high and last.low <= high <= last.high

    def __str__(self) -> str:
        steps = " to ".join(map(str, self.points))
        size = f" by {self.size}" if self.size else ""
        return f"{self.way} from {steps}{size}{f', {self.hour}' if self.hour else ''}"


@dataclass(frozen=True)
class Arrival:
    """A change that ends at a value, from any start: "fell to 3.1", "rose by 2 to 3.1"."""

    end: Point
    way: Way
    size: ChangeSize | None = None
    hour: Hour | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the value was reached by a change of this direction and size."""
        values = seen.values
        if len(values) < 2:
            return None
        course = self.way.course(variable, values)
        places = [int(index) for index in self.end.places(seen, self.hour)]
        if self.way.sign:
            places = [index for index in places if approach(course, index) == self.way.sign]
        if self.size is None:
            return bool(places)
        return any(
            self.way.agrees(float(course[index] - course[start]))
            and self.size.met(variable, float(values[start]), float(values[index]))
            for index in places
            for start in range(index)
        )

    def __str__(self) -> str:
        size = f" by {self.size}" if self.size else ""
        return f"{self.way}{size} to {self.end}{f', {self.hour}' if self.hour else ''}"


@dataclass(frozen=True)
class Departure:
    """A change that starts from a value: "rising from 1.1"; with an amount, "up 2.1 from 1.0"."""

    start: Point
    way: Way
    size: ChangeSize | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the last value lies in that direction from it; with an amount, whether any later value does."""
        values = seen.values
        if len(values) < 2:
            return None
        places = np.flatnonzero(self.start.meets(values))
        if not len(places):
            return False
        start = int(places[0])
        course = self.way.course(variable, values)
        if self.size is None:
            return self.way.agrees(float(course[-1] - course[start]))
        return any(
            self.way.agrees(float(course[end] - course[start]))
            and self.size.met(variable, float(values[start]), float(values[end]))
            for end in range(start + 1, len(values))
        )

    def __str__(self) -> str:
        return f"{self.way}{f' by {self.size}' if self.size else ''} from {self.start}"


@dataclass(frozen=True)
class ChangeBy:
    """A change by an amount: "doubled", "fell by half". ``end``: "rose 18" may also mean a rise to 18."""

    size: ChangeSize
    way: Way = field(default_factory=Way)
    end: Point | None = None
    hour: Hour | None = None
    of_all: ClassVar[bool] = False

    def holds(self, variable: Variable, seen: Measurements) -> bool | None:
        """Whether the change from first to last value, or the largest one in that direction, has this size."""
        values = seen.values
        if len(values) < 2:
            return None
        if self.end is not None and self.way.sign and Arrival(self.end, self.way, hour=self.hour).holds(variable, seen):
            return True
        course = self.way.course(variable, values)
        signs = [self.way.sign] if self.way.sign else [1, -1]
        return any(
            self.way.agrees(float(course[end] - course[start]))
            and self.size.met(variable, float(values[start]), float(values[end]))
            for start, end in [(0, len(values) - 1), *(swing(course, sign) for sign in signs)]
        )

    def __str__(self) -> str:
        return f"{self.way} by {self.size}{f' or to {self.end}' if self.end else ''}"


def drift(course: np.ndarray) -> float:
    """The change over the measurements: last minus first; of many, the mean of the last third minus that of the first.

    Single values of a dense series are noise: a heart rate is charted every hour.
    """
    if len(course) < MANY:
        return float(course[-1] - course[0])
    third = len(course) // 3
    return float(course[-third:].mean() - course[:third].mean())


def approach(course: Sequence[float] | np.ndarray, index: int) -> int:
    """Whether a value was reached by a rise (1) or a fall (-1): 0 for the first value, or if neither.

    It ends a fall if no value since the last peak before it was lower, and a rise if none since the last trough was
    higher. Otherwise the larger of the two differences decides.

    >>> approach([4.0, 6.0, 5.0], 2), approach([4.0, 6.0, 5.0], 1), approach([4.0, 6.0], 0)
    (-1, 1, 0)
    """
    course = np.asarray(course)
    before, value = course[:index], course[index]
    if not len(before):
        return 0
    peak, trough = index - 1 - int(before[::-1].argmax()), index - 1 - int(before[::-1].argmin())
    fell = value < before[peak] and bool((course[peak:index] >= value).all())
    rose = value > before[trough] and bool((course[trough:index] <= value).all())
    if fell != rose:
        return 1 if rose else -1
    return int(np.sign((value - before.min()) - (before.max() - value)))


def swing(course: np.ndarray, sign: int) -> tuple[int, int]:
    """The largest rise (1) or fall (-1): indices of its start and end.

    >>> swing(np.array([4.0, 1.0, 3.0, 2.0]), 1), swing(np.array([4.0, 1.0, 3.0, 2.0]), -1)
    ((1, 2), (0, 1))
    """
    past = np.minimum.accumulate(course) if sign > 0 else np.maximum.accumulate(course)
    end = int(np.argmax(sign * (course - past)))
    return int(np.flatnonzero(course[: end + 1] == past[end])[0]), end
