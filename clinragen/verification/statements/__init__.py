"""The kinds of statement about a variable, one dataclass each, with the check against measurements.

Each has ``holds(variable, seen)``: whether it is true of the measurements in its scope; None if they cannot decide.
``str`` of each is its reading, in the notation of the examples of ``configs/verify``.
"""

from clinragen.verification.statements.base import EXACTLY, ROUGHLY, Hour, Moment, Scope, Statement
from clinragen.verification.statements.changes import (
    Arrival,
    ChangeBy,
    ChangeSize,
    Course,
    Departure,
    Point,
    Resolved,
    Stable,
    Trend,
    TrendWord,
    Way,
)
from clinragen.verification.statements.frequency import Count, Frequency
from clinragen.verification.statements.states import Severity, Side, State
from clinragen.verification.statements.values import Beyond, Crossing, Decade, Extreme, Mean, Spell, Value, Within
from clinragen.verification.statements.volumes import Total

__all__ = [
    "EXACTLY",
    "ROUGHLY",
    "Arrival",
    "Beyond",
    "ChangeBy",
    "ChangeSize",
    "Count",
    "Course",
    "Crossing",
    "Decade",
    "Departure",
    "Extreme",
    "Frequency",
    "Hour",
    "Mean",
    "Moment",
    "Point",
    "Resolved",
    "Scope",
    "Severity",
    "Side",
    "Spell",
    "Stable",
    "State",
    "Statement",
    "Total",
    "Trend",
    "TrendWord",
    "Value",
    "Way",
    "Within",
]
