"""Numbers in text, and what they mean for a variable: pairs, ranges, changes, rounding, "about", "in the 80s"."""

from __future__ import annotations

import re
from typing import NamedTuple

from clinragen.catalog import Variable
from clinragen.chart.reference_range import tolerance
from clinragen.verify import units
from clinragen.verify.masked import Masked

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: Number words -> digits.
NUMERALS = {word: str(number) for number, word in enumerate(_SMALL)} | {
    word: str(10 * number) for number, word in enumerate(_TENS, start=2)
}

# Digits are bounded: no value has more, and a row of a thousand digits is none.
_PLAIN_NUM = (
    r"(?:\d{1,3}(?:,\d{3}){1,3}(?!\d)(?:\.\d{1,4}(?!\d))?"  # 1,200
    r"|\d{1,3}(?: \d{3}){1,2}(?=\s?(?:/|[µμ]L|[x×]\s?10))"  # 24 000/µL
    r"|\d{1,4},\d{1,2}(?![\d,])"  # 3,1: a decimal comma
    r"|\.\d{1,4}(?!\d)|\d{1,9}(?!\d|,\d)(?:\.\d{1,6}(?!\d))?)"  # .6, 3.1; for a point between thousands see `_decimal`
)
_NUM = (
    rf"(?<![\w.,\0])[-−]?{_PLAIN_NUM}(?!\.\d|\+(?:\s|$))"
    rf"(?:(?=(?:{units.PATTERN})(?![A-Za-z]))|(?!\w{{0,9}}[A-Za-z]{{3}}))"
)
_GAP = r"[\s\0]{0,40}"


def UNIT(group: str) -> str:
    """Pattern of an optional unit, as a named group."""
    return rf"(?:\s?(?P<{group}>{units.PATTERN}))?"


def _value(name: str) -> str:
    """Pattern of a value: a number or a pair such as 120/80 (``name2``), "s" of a decade (``names``), and a unit."""
    pair = rf"(?:\s?/\s?(?P<{name}2>\d{{1,3}}(?:\.\d{{1,2}})?(?![\d/]|\.\d))(?:'?s\b)?)?"
    return rf"(?P<{name}>{_NUM})(?P<{name}s>'?s\b)?{pair}{UNIT(name + 'u')}"


_ARROW = r"\s?(?:-{1,2}>|→|=>|⟶|>)\s?"
_SEQUENCE = re.compile(rf"{_value('a')}(?:{_ARROW}[-−]?\d[\d.,/]{{0,12}}{UNIT('zu')})+", re.I)
_STEP = re.compile(rf"(?P<n>[-−]?{_PLAIN_NUM})(?:/(?P<n2>\d{{1,3}}))?{UNIT('u')}", re.I)
#: Numbers that are no values: the terms of a score's sum, clock times, dates, "2nd", "x 2", "stage 3", "2 doses".
_OTHER = (
    re.compile(
        r"[±]\s?\d{1,4}(?:\.\d{1,3})?|\b(?:\d{1,3}\s?(?:-|–|to)\s?)?\d{2,3}\s?%\s(?=(?:oxygen|O2)\b(?!\s(?:sat|req)))",
        re.I,
    ),
    re.compile(r"(?<![\w.])\d{1,2}(?:\s?\+\s?\d{1,2}){1,3}(?:\s?=\s?(?=\d)|(?![\w.]))"),
    re.compile(
        r"(?<![\w.])(?:at\s)?\d{1,2}:\d{2}(?::\d{2})?(?:\s?(?:am|pm|hrs?|h)\b)?|\b\d{1,2}\s?(?:a\.?m|p\.?m)\b", re.I
    ),
    re.compile(
        r"(?<![\w.])\d{4}-\d{1,2}-\d{1,2}\b|\bon\s\d{1,2}/\d{1,2}\b(?!\s?(?:/|mm))|\b\d{1,3}(?:st|nd|rd|th)\b", re.I
    ),
    re.compile(
        r"[x×]\s?\d{1,2}\b(?!\s?[\^*/]|9/|³|⁹|\.\d)|\b(?:stage|grade|class|type|phase|step|bed|room)\s\d\b", re.I
    ),
    re.compile(
        r"(?<![\w.,])\d{1,3}\s(?=(?:dos(?:es?)|bolus(?:es)?|amps?|ampoules?|ampules?|tablets?|bags?|bottles?|vials?|packs?|"
        r"pressors?|vasopressors?|drips?|agents?|drugs?|rounds?|sets?|sessions?|shocks?|liters?|litres?)\b)",
        re.I,
    ),
)
#: Dates and rows such as "7.18/32/62/14" are no pairs.
_ROW = re.compile(r"(?<![\w.])\d{1,4}(?:\.\d{1,3})?(?:\s?/\s?\d{1,4}(?:\.\d{1,3})?){2,}(?![\w])")
_OUT_OF = re.compile(
    rf"(?P<a>{_NUM})\s?\(?(?:out of|of a possible|of)\s(?P<b>\d{{1,3}})\b(?!\s?(?:%|percent))\)?", re.I
)
_SPELT = rf"(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_SMALL[1:10])}))?|{'|'.join(_SMALL)}"
#: "a GCS of nine": a number word is a value after such a word, and before a unit or the end of what is said.
_WORD = re.compile(
    rf"(?:(?<!out )\b(?:of|at|to|from|was|is|than|above|below|exactly)\s)(?P<w>(?:{_SPELT})\b)"
    rf"(?=\s?(?:[.,;:)/]|$|to\b|out of\b|on\b|{units.PATTERN}))",
    re.I,
)

_COMPARISON = r"(?:[<>≤≥=]{1,2}|less than|greater than|more than|below|above|under|over|up to)"
_NORMAL = (
    r"(?:(?:lab(?:oratory)?\s)?(?:ref(?:erence)?\b\.?|normal|nl\b|upper limit(?: of normal)?|ULN|LLN)"
    r"(?:\s(?:range|interval|limits?|values?|is|of))*)"
)


def _bounds(name: str) -> str:
    return (
        rf"(?:{_COMPARISON}\s?)?[-−]?{_PLAIN_NUM}{UNIT(name + 'u')}"
        rf"(?:\s?(?:-|–|—|to|and)\s?[-−]?{_PLAIN_NUM}{UNIT(name + 'v')})?"
    )


#: What a laboratory calls normal, beside a value: it is the assay's, no statement about the patient.
_REFERENCES = (
    # after a value and its flag, in brackets: "5.8 (3.5-5.0)", "24.0 (H) [4.0-11.0]", "2.6 (normal range: 3.5-5.0)"
    re.compile(
        rf"(?P<v>{_NUM}{UNIT('u')}(?:\s?[(\[]?(?:H|L|HH|LL|high|low|\*)[)\]]?)?)\s?,?\s?"
        rf"(?P<r>[(\[{{]\s?(?:(?:{_NORMAL}|NR?\b)\s?[:=,]?\s?)?(?:{_COMPARISON}\s?)?[-−]?{_PLAIN_NUM}{UNIT('w')}"
        rf"(?:\s?(?:-|–|—|to)\s?[-−]?{_PLAIN_NUM}{UNIT('x')})?\s?[)\]}}])",
        re.I,
    ),
    # after a flag, or a comma and "normal": "5.8 H 3.5-5.0", "5.6, normal <2"
    re.compile(
        rf"{_NUM}{UNIT('u')}(?:\s?(?:H|L|HH|LL)\s(?P<r>[-−]?{_PLAIN_NUM}\s?[-–]\s?{_PLAIN_NUM}{UNIT('w')})"
        r"|(?:,|\s(?:vs\.?|versus|against|compared (?:with|to)))"
        rf"\s?(?P<s>normal\s?:?\s?(?:{_COMPARISON}\s?{_PLAIN_NUM}|{_PLAIN_NUM}\s?[-–]\s?{_PLAIN_NUM}){UNIT('x')}))",
        re.I,
    ),
    # in brackets anywhere: "elevated (normal < 10 mg/L)"; "(corrected 138)" and "(+2.1)" are no measurements either
    re.compile(
        rf"(?P<r>[(\[]\s?{_NORMAL}\s?[:=,]?\s?(?:{_COMPARISON}\s?{_PLAIN_NUM}|{_PLAIN_NUM}{UNIT('v')}"
        rf"\s?(?:-|–|—|to)\s?{_PLAIN_NUM}){UNIT('w')}\s?[)\]])",
        re.I,
    ),
    re.compile(rf"(?P<r>[(\[]\s?(?:corrected|delta|Δ|[+±])[^()\[\]\d]{{0,20}}{_PLAIN_NUM}{UNIT('w')}\s?[)\]])", re.I),
    # named as such: "reference range 0.6 to 1.2", "ref: 0.1-1.2", "upper limit of normal 40"; or aimed at: "goal >65"
    re.compile(
        r"(?P<r>(?:\b(?:ref(?:erence)?\b\.?(?:\s(?:range|interval|limits?|values?))?|"
        r"normal (?:range|interval|limits?|values?)|upper limit of normal|ULN|goal|target|cut-?off|threshold)|"
        r"\0{2,5}\spercentile)"
        rf"\s?(?:is|of|[:=,])?\s?{_bounds('w')})",
        re.I,
    ),
)
#: Multiples of a bound or a baseline that is not stated: not held against the chart.
_MULTIPLE = re.compile(
    r"(?:(?:[<>≤≥~]\s?|more than |less than |over |about |nearly |almost |at least )?"
    rf"(?:{_NUM}|twice|two|three|four|five|ten)\s?(?:x|×|times|-?fold)?\s?)"
    r"(?:above |over |higher than )?(?:the )?"
    r"(?:(?<=times )normal|(?<=fold )normal|(?<=twice )normal|upper limits?(?: of (?:the )?normal(?: range)?)?|ULN|"
    r"normal (?:limit|value|range)|baseline|cut-?off|\0{2,5} percentile)\b",
    re.I,
)
#: Words before the value that a change starts from.
_OLD = (
    r"(?:(?:a|an|the|its|his|her|their|of|at|about|around|peak|peaks|nadir|baseline|initial|maximum|minimum|high|low|"
    r"admission|previous|prior|value|level)\s){0,4}"
)
_SPREAD = (
    r"ranging from|ranged from|ranges from|ranging between|ranged between|varying from|varied between|"
    r"fluctuat\w{1,4} between"
)
_RANGE = re.compile(
    rf"(?P<pre>\b(?:between|(?:(?:up|down|raised|elevated|reduced|lowered) )?from|{_SPREAD})\s{_OLD})?"
    rf"(?:about |around )?(?:low |mid |high )?(?:(?:the|its)\s)?{_value('a')}"
    r"\s?(?P<by>-|–|—|\bto\b|\bup to\b|\bdown to\b|\band\b|\bor\b)\s?"
    rf"(?:about |around )?(?:the )?(?:low |mid |high )?(?P<b>[-−]?{_PLAIN_NUM})(?:\s?/\s?(?P<b2>\d{{1,3}}(?![\d/])))?"
    rf"(?P<bs>['’]?s\b)?(?:\s?[-–]\s?(?P<c>\d{{1,6}}(?:\.\d{{1,4}})?))?{UNIT('bu')}",
    re.I,
)
_WAS = "was|previously|prior|previous|prev|baseline|before|earlier|formerly|compared (?:with|to)|versus|vs|as against"
_UP = "up|increased|increasing|risen|rising|raised|elevated|rose"
_DOWN = "down|decreased|decreasing|fallen|falling|reduced|fell|dropped"
#: A value with the one before it: "3.1, up from 1.0", "1.5 (was 5.6)", "8.2 from 10.4".
_BEFORE = re.compile(
    rf"{_value('a')}(?:{_GAP}(?:,|\(|\[|which is|which was|-|–){_GAP}){{0,2}}"
    rf"(?:\s?(?:(?P<way>{_UP}|{_DOWN}|improved|worsened|changed)\s)?from\s|\s?(?P<was>{_WAS})[\s:]\s?)"
    rf"(?:(?:of|at|was|a|an|the|his|her|value|level|baseline|admission|previous|prior|about)\s){{0,4}}{_value('b')}",
    re.I,
)
#: Where a change begins, without its end: "up 2.1 from 1.0".
_START = re.compile(rf"\bfrom\s{_OLD}{_value('a')}", re.I)
#: "the low 80s": a part of ten.
_DECADE = re.compile(rf"\b(?P<third>low|lower|mid|middle|high|upper)[- ](?P<a>{_NUM})'?s\b{UNIT('au')}", re.I)
_ONE = re.compile(_value("a"), re.I)

_WAYS = {
    "up": "rising", "raised": "rising", "elevated": "rising", "down": "falling", "reduced": "falling",
    "lowered": "falling",
}  # fmt: skip

#: (number, unit or None, decade: "s" where it reads "80s", or which part of it, else "").
Part = tuple[str, str | None, str]
#: Where the low, mid and high 80s lie, as parts of the decade.
_THIRDS = {"low": (0.0, 0.45), "mid": (0.25, 0.75), "high": (0.5, 1.0)}
_THIRDS |= {"lower": _THIRDS["low"], "middle": _THIRDS["mid"], "upper": _THIRDS["high"]}


class Figure(NamedTuple):
    """A number in the canonical unit of a variable: what it may mean lies from ``low`` to ``high``.

    ``how``: what the words beside it say it is. at (it occurs), highest, lowest, mean, within (all lie there), decade,
    decades, above, below, an event that happened at least once (above_event, below_event, rising_event,
    falling_event), or of a sum over hours (total_is, total_above, total_below).
    """

    low: float
    high: float
    how: str = "at"


class Written(NamedTuple):
    """Figures as they stand: ``form`` is one, start, range, from (a change of value), up, down or sequence.

    A change may end in a range, which is a third part. ``extremes``: "ranging from", the ends are the extremes.
    ``second``: what stands after the stroke of each part of 120/80 or 9/15, "" where there is none.
    ``trend``: of a change whose way is known.
    """

    form: str
    parts: tuple[Part, ...]
    extremes: bool = False
    second: tuple[str, ...] = ()
    trend: str | None = None

    def component(self, place: int) -> Written:
        """Of pairs, what stands before (0) or after (1) the stroke."""
        numbers = [part[0] for part in self.parts] if place == 0 else self.second
        parts = tuple((number, part[1], part[2]) for number, part in zip(numbers, self.parts, strict=True))
        return self._replace(parts=parts, second=())


def find(sentence: Masked) -> None:
    """Read every number. Times must have been read before."""
    sentence.read(_WORD, lambda m: ("number", _written("one", [_Found(m["w"])])), "w")
    for pattern in (*_OTHER, _ROW):
        sentence.read(pattern, lambda m: ("aside", None))
    for pattern in _REFERENCES:
        for group in ("r", "s") if "s" in pattern.groupindex else ("r",):
            sentence.read(pattern, lambda m: ("", None), group)
    sentence.read(_MULTIPLE, lambda m: ("aside", None))
    sentence.read(_OUT_OF, lambda m: ("number", Written("one", ((m["a"], None, ""),), second=(m["b"],))))
    sentence.read(_SEQUENCE, _sequence)
    sentence.read(_BEFORE, _before)
    sentence.read(_RANGE, _range)
    sentence.read(_START, lambda m: ("number", _written("start", [_groups(m, "a")])))
    sentence.read(_DECADE, lambda m: ("number", Written("one", ((m["a"], m["au"], m["third"].lower()),))))
    sentence.read(_ONE, lambda m: ("number", _written("one", [_groups(m, "a")])))


def figure(part: Part, variable: Variable, *, about: bool = False) -> Figure | None:
    """A written number in the canonical unit of a variable, with what rounding or "about" leaves open.

    Returns:
        None where its unit is none that the variable is measured in: it is of something else.
    """
    written, unit, decade = part
    text = _decimal(written, unit, variable)
    value = float(text)
    step = (100.0 if value >= 200 and value % 100 == 0 else 10.0) if decade else 10.0 ** -len(text.partition(".")[2])
    scaled = _conversion(unit, variable, value)
    if scaled is None:
        return None
    scale, offset = scaled
    value, step = value * scale + offset, step * abs(scale)
    if decade:
        below = 0.5 * 10.0**-variable.decimals
        begin, end = _THIRDS.get(decade, (0.0, 1.0))
        return Figure(value + begin * step - below, value + end * step - below)
    slack = max(step, 10.0**-variable.decimals) / 2
    if about:
        slack = max(slack, tolerance(value, variable))
    slack += 1e-4 * max(1.0, abs(value))
    return Figure(value - slack, value + slack)


def amount(number: str, unit: str | None, variable: Variable, *, about: bool) -> tuple[float, float] | None:
    """A written difference in the canonical unit, from and to; None where its unit is none of the variable's.

    Both of the values it lies between may have been rounded.
    """
    text = _decimal(number, unit, variable)
    value = float(text)
    if unit and units.plain(unit) not in ("points", "deg"):
        scaled = units.conversion(unit, variable)
    else:  # without a unit a small difference is in the usual one, whatever is plausible of a value
        scaled = _conversion(None, variable, value) if value > variable.plausible[1] else (1.0, 0.0)
    if scaled is None:
        return None
    scale = scaled[0]  # a difference has no offset
    slack = 10.0 ** -len(text.partition(".")[2]) * abs(scale) / 2 + 10.0**-variable.decimals + 1e-6
    if about:
        slack += 0.1 * abs(value * scale)
    return abs(value * scale) - slack, abs(value * scale) + slack


class _Found(NamedTuple):
    """A value as matched: what stands before and after the stroke of a pair, the "s" of a decade, the unit."""

    number: str
    second: str | None = None
    decade: str | None = None
    unit: str | None = None


def _groups(match: re.Match[str], name: str) -> _Found:
    return _Found(match[name], match[f"{name}2"], match[f"{name}s"], match[f"{name}u"])


def _written(form: str, found: list[_Found], *, extremes: bool = False, trend: str | None = None) -> Written:
    """Parts that name no unit take the last one named: "from 1.1 to 3.2 mg/dL"."""
    unit = next((value.unit for value in reversed(found) if value.unit), None)
    parts = tuple((value.number, value.unit or unit, value.decade or "") for value in found)
    second = tuple(value.second or "" for value in found) if any(value.second for value in found) else ()
    return Written(form, parts, extremes, second, trend)


def _sequence(match: re.Match[str]) -> tuple[str, Written]:
    steps = [_Found(m["n"], m["n2"], None, m["u"]) for m in _STEP.finditer(re.sub(r"-{1,2}>|=>|>", "→", match[0]))]
    return "number", _written("sequence", steps)


def _before(match: re.Match[str]) -> tuple[str, Written] | None:
    new, old = _groups(match, "a"), _groups(match, "b")
    way = (match["way"] or "").lower()
    trend = "rising" if re.fullmatch(_UP, way) else "falling" if re.fullmatch(_DOWN, way) else None
    first, last = _plain_float(old.number), _plain_float(new.number)
    if trend is None and first != last:
        trend = "rising" if last > first else "falling"
    return "number", _written("from", [old, new], trend=trend)


def _range(match: re.Match[str]) -> tuple[str, Written] | None:
    pre, by = (match["pre"] or "").lower(), match["by"].lower()
    spread = pre.startswith(("rang", "vary", "varied", "fluct"))
    if by in ("and", "or") and not (pre.startswith("between") or spread or match["as"]):
        return None  # two values, not a range
    parts = [_groups(match, "a"), _groups(match, "b")]
    if match["c"]:
        parts.append(_Found(match["c"], unit=match["bu"]))
    form = by.partition(" ")[0] if by in ("down to", "up to") else "from" if "from" in pre and not spread else "range"
    trend = _WAYS.get(pre.partition(" ")[0])
    return "number", _written(form, parts, extremes=spread, trend=trend)


def _conversion(unit: str | None, spec: Variable, value: float) -> tuple[float, float] | None:
    """Scale and offset to the canonical unit; without a telling unit, what makes the value plausible."""
    if unit and units.plain(unit) not in ("deg", "points", "units"):
        return units.conversion(unit, spec)
    if unit and units.conversion(unit, spec) is None:
        return None
    low, high = spec.plausible
    if not low <= value <= high:
        for scale, offset in units.guesses(spec):
            if low <= value * scale + offset <= high:
                return scale, offset
    return (100.0, 0.0) if spec.unit == "%" and "fraction" in spec.accepts and value <= 1.0 else (1.0, 0.0)


def _decimal(written: str, unit: str | None, spec: Variable) -> str:
    """A written number in digits with a decimal point.

    "1.200" of a variable that is written without decimals has a point between thousands, as much of Europe writes.
    """
    head, _, tail = written.lower().replace("-", " ").replace("−", " -").partition(" ")
    if head in NUMERALS:
        return str(int(NUMERALS[head]) + int(NUMERALS.get(tail, "0")))
    text = written.replace("−", "-")
    if re.fullmatch(r"-?\d+,\d{1,2}", text):
        return text.replace(",", ".")
    usual = unit is None or units.conversion(unit, spec) == (1.0, 0.0)
    if re.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}", text) and spec.decimals == 0 and usual:
        return text.replace(".", "")
    return text.replace(",", "").replace(" ", "")


def _plain_float(written: str) -> float:
    text = written.replace("−", "-").replace(" ", "")
    return float(text.replace(",", "." if re.fullmatch(r"-?\d+,\d{1,2}", text) else ""))
