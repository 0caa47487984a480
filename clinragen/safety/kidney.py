"""Kidney function from the series: estimated GFR, and whether creatinine is changing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clinragen.chart.measurements import Measurements
from clinragen.safety.cautions import MeasuredValue

ADULT = 18  # years; the equation is for adults
#: A rise of creatinine that is acute kidney injury (KDIGO 2012): mg/dL within hours, or a factor within a week.
_RISE, _WITHIN, _FACTOR, _WEEK = 0.3, 48, 1.5, 168


@dataclass(frozen=True)
class KidneyFunction:
    """The estimated GFR of the last creatinine.

    Attributes:
        egfr: mL/min/1.73 m2.
        creatinine: the last value.
        compared: the earlier value that it has risen or fallen from; itself if steady.
        course: "rising": acute kidney injury, so that the true GFR is lower; "falling": by as much, it is higher.
    """

    egfr: float
    creatinine: MeasuredValue
    compared: MeasuredValue
    course: Literal["steady", "rising", "falling"]


def estimated_gfr(creatinine: float, age: float, sex: Literal["F", "M"]) -> float:
    """The estimated GFR by CKD-EPI 2021, without race (Inker et al., N Engl J Med 2021;385:1737).

    Args:
        creatinine: in serum, mg/dL.
        age: years, of an adult.
        sex: F or M.

    Returns:
        mL/min/1.73 m2.

    >>> round(estimated_gfr(1.0, 50, "M")), round(estimated_gfr(1.0, 50, "F"))
    (92, 69)
    """
    kappa, alpha, factor = (0.7, -0.241, 1.012) if sex == "F" else (0.9, -0.302, 1.0)
    ratio = creatinine / kappa
    return 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.2 * 0.9938**age * factor


def kidney_function(creatinine: Measurements | None, age: float, sex: str | None) -> KidneyFunction | None:
    """Kidney function at the last creatinine; None without one, for children, and if the sex is not known.

    Args:
        creatinine: in the catalogue's unit, mg/dL.
        age: years.
        sex: F, M or None.
    """
    if creatinine is None or age < ADULT or sex not in ("F", "M") or creatinine.values[-1] <= 0:
        return None
    rows = [
        MeasuredValue("creatinine", float(h), float(v))
        for h, v in zip(creatinine.hours, creatinine.values, strict=True)
    ]
    last = rows[-1]
    week = [row for row in rows if last.hour - row.hour <= _WEEK]
    two_days = [row for row in rows if last.hour - row.hour <= _WITHIN]
    lowest_recent, lowest = _lowest(two_days), _lowest(week)
    egfr = estimated_gfr(last.value, age, "F" if sex == "F" else "M")
    if round(last.value - lowest_recent.value, 6) >= _RISE:
        return KidneyFunction(egfr, last, lowest_recent, "rising")
    if last.value >= _FACTOR * lowest.value and last is not lowest:
        return KidneyFunction(egfr, last, lowest, "rising")
    highest = max(two_days, key=lambda row: row.value)
    if round(highest.value - last.value, 6) >= _RISE:
        return KidneyFunction(egfr, last, highest, "falling")
    return KidneyFunction(egfr, last, last, "steady")


def _lowest(rows: list[MeasuredValue]) -> MeasuredValue:
    return min(rows, key=lambda row: row.value)
