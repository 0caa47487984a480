"""Numbers and units in text, and what they mean for a variable: rounding, conversion, "about", "in the 80s"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from clinragen.catalog import Variable
from clinragen.verify.claims import Number

NUMERALS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
_MICRO = r"[µμu]"  # the micro sign, the Greek letter, and u
_UNITS = "|".join(
    (
        r"mm\s?Hg|kPa|cm\s?H2O|bpm|beats(?:/| per )min(?:ute)?|breaths(?:/| per )min(?:ute)?|/\s?min(?:ute)?\b",
        r"per minute|%|percent\b|(?:°|deg(?:rees)?\s?)\s?[CF]\b|degrees\b(?:\s(?:celsius|fahrenheit))?",
        rf"celsius|fahrenheit|°|[CF]\b|(?:{_MICRO}|micro|m|n|k)?mol(?:es)?/[lL]|mEq/[lL]|m?g/d[lL]",
        rf"{_MICRO}g/d[lL]|ng/mL FEU|ug/mL FEU",
        rf"(?:[mnp]|{_MICRO})?g/m?[lL]\b|mcg/[lL]|(?:{_MICRO}|m)?I?U/m?[lL]|units?/[lL]",
        rf"[KkG]/(?:{_MICRO}|mc)?[lL]\b|[x×*]\s?10\s?[\^*]?\s?[39³⁹]\s?/\s?(?:{_MICRO}|mc)?[lL]",
        rf"10\^[39]/(?:{_MICRO}|mc)?[lL]|thousand(?:/{_MICRO}[lL])?|/\s?(?:{_MICRO}|mc)[lL]|[Kk]\b",
        r"m[lL]/h(?:r|our)?|m[lL]\b(?: per hour)?|cc\b|fL|pg\b|sec(?:onds)?\b|s\b|units?\b|points?\b",
    )
)
_PLAIN_NUM = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_NUM = rf"(?<![\w.,\0])[-−]?{_PLAIN_NUM}(?![\w]*[A-Za-z]{{3}})"


def UNIT(group: str) -> str:
    """Pattern of an optional unit, as a named group."""
    return rf"(?:\s?(?P<{group}>{_UNITS}))?"


_A = rf"(?P<a>{_NUM})(?P<as>['’]?s\b)?"
_B = rf"(?P<b>[-−]?{_PLAIN_NUM})(?P<bs>['’]?s\b)?"
_SEQUENCE = re.compile(rf"{_NUM}(?:\s*(?:->|→|=>|⟶|-->|>)\s*\d[\d.,]*)+", re.I)
_PAIR = re.compile(r"(?<![\w./])(?P<a>\d{2,3})\s?/\s?(?P<b>\d{2,3})(?![\w/])")
_SPREAD = (
    r"ranging from|ranged from|ranges from|ranging between|ranged between|varying from|varied between|"
    r"fluctuat\w+ between"
)
_RANGE = re.compile(
    rf"(?P<pre>\b(?:between|from|{_SPREAD})\s+)?(?:about |around )?(?:low |mid |high )?(?:(?:the|its)\s+)?"
    rf"{_A}{UNIT('u')}\s*(?P<by>-|–|—|\bto\b|\bup to\b|\bdown to\b|\band\b|\bor\b)\s*"
    rf"(?:about |around |the )?{_B}(?:\s?[-–]\s?(?P<c>\d[\d.]*))?{UNIT('v')}",
    re.I,
)
_ONE = re.compile(rf"(?:\b(?:low|mid|high|upper)[- ])?{_A}{UNIT('u')}", re.I)

#: (number, unit or None, decade: "s" where it reads "80s").
Part = tuple[str, str | None, bool]


class Written(NamedTuple):
    """Figures as they stand: ``form`` is one, range, from (a change of value), up, down, sequence or pair.

    A change may end in a range, which is a third part. ``extremes``: "ranging from", the ends are the extremes.
    """

    form: str
    parts: tuple[Part, ...]
    extremes: bool = False


def find(text: str, take: Callable[[int, int, str | None, object], str]) -> str:
    """Hand every number to ``take``, which masks it, and return the masked text. Times must be masked before."""
    for match in list(_SEQUENCE.finditer(text)):
        numbers = re.findall(r"\d[\d,]*(?:\.\d+)?", match[0])
        text = take(match.start(), match.end(), "number", Written("sequence", tuple((n, None, False) for n in numbers)))
    for match in list(_PAIR.finditer(text)):
        text = take(match.start(), match.end(), "number", Written("pair", tuple((match[k], None, False) for k in "ab")))
    for match in list(_RANGE.finditer(text)):
        written = _range(match)
        if written is not None:
            text = take(match.start(), match.end(), "number", written)
    for match in list(_ONE.finditer(text)):
        start = match.start() if match["as"] else match.start("a")
        text = take(start, match.end(), "number", Written("one", ((match["a"], match["u"], bool(match["as"])),)))
    return text


def number(part: Part, how: str, spec: Variable, *, about: bool = False) -> Number:
    """A written number in the canonical unit of a variable, with what rounding or "about" leaves open."""
    written, unit, decade = part
    plain = written.replace(",", "").replace("−", "-")
    value = float(plain)
    step = 10.0 if decade else 10.0 ** -len(plain.partition(".")[2])
    scale, offset = _conversion(unit, spec, value)
    value, step = value * scale + offset, step * abs(scale)
    if decade:
        below = 0.5 * 10.0**-spec.decimals
        return Number(value - below, value + step - below, how)
    slack = max(step, 10.0**-spec.decimals) / 2
    if about:
        slack = max(slack, tolerance(value, spec))
    slack += 1e-4 * max(1.0, abs(value))
    return Number(value - slack, value + slack, how)


def tolerance(value: float, spec: Variable) -> float:
    """By how much a value said with "about" may be off: a tenth of it, at most a quarter of the reference range.

    Far outside the range, a tenth of the distance to it where that is more: "about 4,000" is said of large values.
    """
    beyond = max((spec.low or value) - value, value - (spec.high or value), 0.0)
    return min(0.1 * abs(value), max(0.25 * width(spec), 0.1 * beyond))


def width(spec: Variable) -> float:
    """The width of the reference range, or its bound where it has only one."""
    if spec.low is not None and spec.high is not None and spec.high > spec.low:
        return spec.high - spec.low
    return abs(spec.high if spec.high is not None else spec.low or 1.0) or 1.0


def _range(match: re.Match[str]) -> Written | None:
    pre, by = (match["pre"] or "").lower(), match["by"].lower()
    spread = pre.startswith(("rang", "vary", "varied", "fluct"))
    if by in ("and", "or") and not (pre.startswith("between") or spread or match["as"]):
        return None  # two values, not a range
    unit = match["v"] or match["u"]
    parts: list[Part] = [(match["a"], match["u"] or unit, bool(match["as"])), (match["b"], unit, bool(match["bs"]))]
    if match["c"]:
        parts.append((match["c"], unit, False))
    form = by.partition(" ")[0] if by in ("down to", "up to") else "from" if pre.startswith("from") else "range"
    return Written(form, tuple(parts), spread)


def _conversion(unit: str | None, spec: Variable, value: float) -> tuple[float, float]:
    """Scale and offset to the canonical unit; without a telling unit, what makes the value plausible."""
    plain = _plain(unit) if unit else ""
    accepted = {_plain(name): pair for name, pair in spec.accepts.items()}
    if plain in accepted:
        return accepted[plain]
    thousands = [(0.001, 0.0)] if spec.unit == "K/uL" else []
    if plain in ("/ul", "/mcl") and thousands:
        return thousands[0]
    low, high = spec.plausible
    if not low <= value <= high:
        for scale, offset in (*accepted.values(), *thousands):
            if low <= value * scale + offset <= high:
                return scale, offset
    return (100.0, 0.0) if spec.unit == "%" and "fraction" in accepted and value <= 1.0 else (1.0, 0.0)


_SPELT = {
    "f": "degf", "c": "degc", "fahrenheit": "degf", "celsius": "degc", "degfahrenheit": "degf", "degcelsius": "degc",
}  # fmt: skip


def _plain(unit: str) -> str:
    plain = unit.lower().replace("µ", "u").replace("μ", "u").replace("micromol", "umol").replace("mcg", "ug")
    plain = re.sub(r"\s", "", plain.replace("°", "deg").replace("degrees", "deg"))
    return _SPELT.get(plain, plain)
