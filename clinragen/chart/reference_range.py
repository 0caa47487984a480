"""Scale of a variable: the width of its reference range, and the tolerance of a number stated with "about"."""

from __future__ import annotations

from clinragen.catalog import Variable


def width(variable: Variable) -> float:
    """The width of the reference range, or its bound where it has only one; canonical unit."""
    if variable.low is not None and variable.high is not None and variable.high > variable.low:
        return variable.high - variable.low
    return abs(variable.high if variable.high is not None else variable.low or 1.0) or 1.0


def tolerance(value: float, variable: Variable) -> float:
    """Tolerance of a value stated with "about": a tenth of it, at most a quarter of the reference range.

    Far outside the range, a tenth of the distance to it where that is more: large values are rounded more coarsely.
    """
    beyond = max((variable.low or value) - value, value - (variable.high or value), 0.0)
    return min(0.1 * abs(value), max(0.25 * width(variable), 0.1 * beyond))
