"""Units as people write them: one spelling for each, and the conversion into a variable's canonical unit.

The catalogue holds conversions that depend on the substance (mg/dL to mmol/L); this module holds spellings, and
conversions for any substance: prefixes, litres and decilitres, pressures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinragen.catalog import Variable, per_catalogue, variables

_MICRO = r"[µμu]"  # the micro sign, the Greek letter, and u
_BASE = (
    rf"(?:(?:{_MICRO}|micro|milli|nano|m|n|p|k)?(?:g(?:m|rams?)?\b|mol(?:es)?\b|IU\b|U\b|Eq\b|L\b|lit(?:er|re)s?\b)"
    r"|mcg|cc|units?)"
)
_PER = r"\s?(?:/|per)\s?(?:\d{1,3}\s?)?"
#: Units in text, the longer first. Letters that may begin a word need a boundary.
PATTERN = "|".join(
    (
        r"mm\s?(?:\[?Hg\]?)|(?-i:[mµμu]M)\b|torr\b|[ck]Pa\b|cm\s?(?:of\s)?H2O",
        r"(?:bpm|beats|breaths|insp)(?:\s?(?:/|per)\s?min(?:ute)?)?\b|(?:/\s?|per )min(?:ute)?\b",
        r"(?:ng|ug|mg|mcg)/m?L (?:FEU|DDU)\b",
        rf"(?:cells\s?)?[x×*]?\s?10\s?(?:\^|\*{{1,2}}|e)?\s?[39³⁹]\s?/\s?(?:{_MICRO}|mc|mm|cm)?(?:[lL]|³|\^?3)",
        rf"(?:[KkG]|thousand|cells)\s?(?:/|per)\s?(?:(?:{_MICRO}|mc)?[lL]\b|[cm]m(?:³|\^?3\b)|cmm\b|mm\b)|thousand\b|[Kk]\b",
        rf"/\s?(?:(?:{_MICRO}|mc)[lL]\b|[cm]m(?:³|\^?3\b)|cmm\b)",
        rf"{_BASE}(?:{_PER}(?:(?:kg|min(?:ute)?|h(?:r|our)?|d(?:ay|L)?|m?L|{_MICRO}L|mmol|g|m2|dose)\b)){{1,3}}",
        r"g\s?%|mg\s?%|%|percent\b|(?:°|deg(?:rees)?\s?)\s?[CF]\b|degrees\b(?:\s(?:celsius|fahrenheit))?",
        r"celsius|fahrenheit|°|[CF]\b|fL\b|pg\b|sec(?:onds)?\b|s\b|points?\b",
        rf"{_BASE}\b",
    )
)

_SPELT = {
    "f": "degf", "c": "degc", "fahrenheit": "degf", "celsius": "degc", "degfahrenheit": "degf", "degcelsius": "degc",
    "torr": "mmhg", "percent": "%", "sec": "s", "seconds": "s", "mg%": "mg/dl", "g%": "g/dl",
    "point": "points", "unit": "units",
    **dict.fromkeys(("bpm", "beats", "breaths", "insp", "beats/min", "breaths/min", "insp/min", "bpm/min"), "/min"),
}  # fmt: skip
_PREFIX = {"": 1.0, "k": 1e3, "d": 1e-1, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_CONCENTRATION = re.compile(r"([kmunp]?)(g|mol|eq|iu|u)/([dmun]?)l")
#: Unit -> what it measures, and its size in a common unit.
_SIZES = {
    "mmhg": ("pressure", 1.0), "kpa": ("pressure", 7.50062), "cmh2o": ("pressure", 0.73556),
    "ml": ("volume", 1.0), "l": ("volume", 1000.0), "dl": ("volume", 100.0),
    "k/ul": ("count", 1.0), "/ul": ("count", 0.001),
}  # fmt: skip


def plain(unit: str) -> str:
    """One spelling of a unit.

    >>> plain("µmol/L"), plain("x10^9/L"), plain("mm Hg"), plain("gm/dl"), plain("cells/mm3")
    ('umol/l', 'k/ul', 'mmhg', 'g/dl', '/ul')
    """
    if re.fullmatch(r"[mµμu]M", unit):  # moles a litre, not metres
        unit = f"{unit[0]}mol/L"
    text = re.sub(r"\s", "", unit.lower().replace("µ", "u").replace("μ", "u"))
    text = text.replace("°", "deg").replace("degrees", "deg").replace("mm[hg]", "mmhg").replace("ofh2o", "h2o")
    text = re.sub(r"per(?!cent)", "/", text)
    text = (
        text.replace("micro", "u")
        .replace("milli", "m")
        .replace("nano", "n")
        .replace("mcg", "ug")
        .replace("moles", "mol")
    )
    text = re.sub(r"grams?|gm", "g", text)
    text = re.sub(r"lit(?:er|re)s?", "l", text)
    text = re.sub(r"/minute|/min\b", "/min", text)
    text = re.sub(r"/(?:hour|hr|h)\b", "/h", text)
    text = re.sub(r"^units?/", "u/", re.sub(r"^cc\b", "ml", text))
    text = re.sub(r"/mc", "/u", text)
    if re.fullmatch(
        r"(?:cells)?[x×*]?10(?:\^|\*{1,2}|e)?[39³⁹]/.*|(?:k|g|thousand)/(?:ul|mm|[cm]m(?:³|\^?3)|cmm|l)|k|thousand",
        text,
    ):
        return "g/l" if text == "g/l" else "k" if text in ("k", "thousand") else "k/ul"
    if re.fullmatch(r"(?:cells)?/(?:ul|[cm]m(?:³|\^?3)|cmm|mm)", text):
        return "/ul"
    return _SPELT.get(text, text)


def conversion(unit: str, spec: Variable) -> tuple[float, float] | None:
    """Scale and offset from a written unit to the canonical one; None where the variable is not measured in it.

    >>> from clinragen.catalog import variable
    >>> conversion("g/L", variable("hemoglobin")), conversion("mmHg", variable("creatinine"))
    ((0.1, 0), None)
    """
    return _table(spec.key).get(plain(unit)) or _converted(plain(unit), spec)


@per_catalogue
def _table(key: str) -> dict[str, tuple[float, float]]:
    """The units that the catalogue knows for a variable, in their one spelling."""
    spec = variables()[key]
    table = {plain(name): pair for name, pair in spec.accepts.items()}
    table[plain(spec.unit)] = (1.0, 0.0)
    if spec.unit in ("score", "units"):
        table |= dict.fromkeys(("points", "units"), (1.0, 0.0))
    if spec.unit == "K/uL":  # "G/L" is written for 10^9 cells a litre; grams of cells are not counted
        table |= {"k": (1.0, 0.0), "g/l": (1.0, 0.0)}
    elif spec.plausible[1] >= 1000:
        table["k"] = (1000.0, 0.0)  # "a D-dimer of 3.5K"
    if spec.bin == "sum":  # a total of the hour
        table |= {f"{name}/{per}": pair for name, pair in table.items() for per in ("h", "d", "day", "24h")}
    if plain(spec.unit) == "degc":
        table["deg"] = (1.0, 0.0)
    return table


def _converted(unit: str, spec: Variable) -> tuple[float, float] | None:
    """By way of a unit that the catalogue knows and that measures the same (mass or moles per volume, pressure)."""
    size = _size(unit)
    if size is None:
        return None
    for name, (scale, offset) in _table(spec.key).items():
        other = _size(name)
        if other is not None and other[0] == size[0] and not offset:
            return scale * size[1] / other[1], 0.0
    return None


def _size(unit: str) -> tuple[str, float] | None:
    if unit in _SIZES:
        return _SIZES[unit]
    match = _CONCENTRATION.fullmatch(unit)
    if match is None:
        return None
    kind = "iu" if match[2] == "u" else match[2]
    return kind, _PREFIX[match[1]] / _PREFIX[match[3]]


def guesses(spec: Variable) -> Iterator[tuple[float, float]]:
    """Conversions to try on a number without a unit that is not plausible in the canonical one."""
    yield from spec.accepts.values()
    if spec.unit == "K/uL":
        yield 0.001, 0.0
