"""A written number as a range in the canonical unit of a variable, by rounding, "about" or a decade."""

from __future__ import annotations

from typing import NamedTuple

from clinragen.catalog import Variable
from clinragen.chart.reference_range import tolerance
from clinragen.verification import units
from clinragen.verification.numerals import decimal

#: Where the low, mid and high 80s lie, as parts of the decade. They overlap: 84 is both low and mid.
_THIRDS = {"low": (0.0, 0.45), "mid": (0.25, 0.75), "high": (0.5, 1.0)}
_THIRDS |= {"lower": _THIRDS["low"], "middle": _THIRDS["mid"], "upper": _THIRDS["high"]}
#: Units that do not say the scale: degrees (°C or °F), points of a score.
_VAGUE = ("deg", "points", "units")


class WrittenNumber(NamedTuple):
    """A number as written. ``decade``: "s" for "80s", or the part of it ("low"), else ""."""

    number: str
    unit: str | None = None
    decade: str = ""


class Figure(NamedTuple):
    """A number in the canonical unit of a variable, as the range from ``low`` to ``high``.

    ``how``: its role by the words beside it: at (it occurs), highest, lowest, mean, within (all lie there), decade,
    decades, above, below, an event that happened at least once (above_event, below_event, rising_event,
    falling_event), or of a sum over hours (total_is, total_above, total_below).
    """

    low: float
    high: float
    how: str = "at"


def figure(part: WrittenNumber, variable: Variable, *, about: bool = False) -> Figure | None:
    """A written number in the canonical unit of a variable.

    A number means what rounds to it, at its last digit or the catalogue's where that is coarser.

    Returns:
        None if the variable is not measured in its unit: the number is about something else.
    """
    text = _decimal(part.number, part.unit, variable)
    value = float(text)
    scaled = _conversion(part.unit, variable, value)
    if scaled is None:
        return None
    scale, offset = scaled
    if part.decade:  # the 80s; the 200s and the 300s are hundreds
        step = (100.0 if value >= 200 and value % 100 == 0 else 10.0) * abs(scale)
        below = 0.5 * 10.0**-variable.decimals
        begin, end = _THIRDS.get(part.decade, (0.0, 1.0))
        value = value * scale + offset
        return Figure(value + begin * step - below, value + end * step - below)
    slack = max(_last_digit(text) * abs(scale), 10.0**-variable.decimals) / 2
    value = value * scale + offset
    if about:
        slack = max(slack, tolerance(value, variable))
    slack += 1e-4 * max(1.0, abs(value))  # values are kept at six digits
    return Figure(value - slack, value + slack)


def amount(number: str, unit: str | None, variable: Variable, *, about: bool) -> tuple[float, float] | None:
    """A written difference in the canonical unit, as a range; None if its unit is not one of the variable's.

    Both values of the difference may have been rounded.
    """
    text = _decimal(number, unit, variable)
    value = float(text)
    if unit and units.plain(unit) not in ("points", "deg"):
        scaled = units.conversion(unit, variable)
    else:  # without a unit, in the canonical one: the plausible range is for values, not differences
        scaled = _conversion(None, variable, value) if value > variable.plausible[1] else (1.0, 0.0)
    if scaled is None:
        return None
    size = abs(value * scaled[0])  # a difference has no offset
    slack = _last_digit(text) * abs(scaled[0]) / 2 + 10.0**-variable.decimals + 1e-6
    if about:
        slack += 0.1 * size
    return size - slack, size + slack


def _last_digit(text: str) -> float:
    """The size of one step in the last digit."""
    return 10.0 ** -len(text.partition(".")[2])


def _conversion(unit: str | None, variable: Variable, value: float) -> tuple[float, float] | None:
    """Scale and offset to the canonical unit; without an unambiguous unit, those that make the value plausible."""
    if unit and units.plain(unit) not in _VAGUE:
        return units.conversion(unit, variable)
    if unit and units.conversion(unit, variable) is None:
        return None
    low, high = variable.plausible
    if not low <= value <= high:
        for scale, offset in units.guesses(variable):
            if low <= value * scale + offset <= high:
                return scale, offset
    fraction = variable.unit == "%" and "fraction" in variable.accepts and value <= 1.0  # FiO2 of 0.4
    return (100.0, 0.0) if fraction else (1.0, 0.0)


def _decimal(number: str, unit: str | None, variable: Variable) -> str:
    """In digits: "1.200" of a variable that is written without decimals is twelve hundred."""
    usual = unit is None or units.conversion(unit, variable) == (1.0, 0.0)
    return decimal(number, thousands=variable.decimals == 0 and usual)
