"""Conversion of units, in the spellings of raw tables, to the canonical unit of a variable."""

from __future__ import annotations

from clinragen.catalog import Variable, per_catalogue, variables

_ALIASES = {
    "°f": "degf", "?f": "degf", "f": "degf", "deg.f": "degf", "°c": "degc", "?c": "degc", "c": "degc", "deg.c": "degc",
    "iu/l": "u/l", "units/l": "u/l", "mmhg": "mmhg", "torr": "torr", "gm/dl": "g/dl", "g/dl": "g/dl",
    "in": "inch", "inches": "inch", "lbs": "lb", "lbs.": "lb", "pounds": "lb", "cc": "ml", "sec": "s", "seconds": "s",
    "sec.": "s", "k/mcl": "k/ul", "10^3/ul": "k/ul", "x10^3/ul": "k/ul", "mcg/dl": "ug/dl", "uu/ml": "uiu/ml",
    "mcu/ml": "uiu/ml", "mls": "ml",
    "miu/l": "uiu/ml", "mciu/ml": "uiu/ml", "ng/mlfeu": "ng/mlfeu", "mcg/mlfeu": "ug/mlfeu", "cmh20": "cmh2o",
}  # fmt: skip


def normalise(unit: str) -> str:
    """One spelling for each unit.

    >>> normalise("Deg. F"), normalise("µmol/L"), normalise("IU/L")
    ('degf', 'umol/l', 'u/l')
    """
    plain = unit.casefold().replace(" ", "").replace("μ", "u").replace("µ", "u")
    return _ALIASES.get(plain, plain)


def conversion(variable: Variable, unit: str | None) -> tuple[float, float] | None:
    """(scale, offset) with ``canonical = value * scale + offset``; None if the unit is unknown for this variable.

    >>> from clinragen.catalog import variable
    >>> conversion(variable("weight"), "lbs")
    (0.453592, 0)
    """
    if unit is None or not unit.strip():
        return None
    spelling = normalise(unit)
    if spelling == normalise(variable.unit):
        return 1.0, 0.0
    return next((pair for name, pair in variable.accepts.items() if normalise(name) == spelling), None)


@per_catalogue
def _spellings() -> frozenset[str]:
    return frozenset(
        normalise(unit) for variable in variables().values() for unit in (variable.unit, *variable.accepts)
    )


def is_spelling(unit: str) -> bool:
    """Whether a text spells the unit of any variable.

    >>> is_spelling("ng/mL"), is_spelling("can be used")
    (True, False)
    """
    return normalise(unit) in _spellings()


def foreign(variable: Variable, unit: str) -> bool:
    """Whether a unit is known only for other variables: its values must not be read in the usual unit.

    >>> from clinragen.catalog import variable
    >>> foreign(variable("weight"), "mmHg"), foreign(variable("weight"), "N/A")
    (True, False)
    """
    return conversion(variable, unit) is None and normalise(unit) in _spellings()
