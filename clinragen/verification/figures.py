"""Numbers in text as written: values, pairs, ranges, changes of value, sequences, decades.

``configs/verify/numbers.yaml`` has the numbers that are no values; ``FORMS`` here the forms that values take, each with
examples that a test reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

from clinragen.catalog import Variable
from clinragen.verification import units
from clinragen.verification.cues import patterns
from clinragen.verification.masked import Masked, Reading
from clinragen.verification.numerals import DIGITS, NUMBER, SPELT, decimal
from clinragen.verification.quantities import Figure, WrittenNumber, figure
from clinragen.verification.statements import TrendWord

Shape = Literal["one", "start", "range", "from", "up", "down", "sequence"]


class Written(NamedTuple):
    """Numbers as written.

    A change may end in a range, which is a third part. ``second``: what follows the slash of each part of 120/80
    or 9/15, "" where there is none. ``trend``: of a change whose direction is known.
    """

    form: Shape
    parts: tuple[WrittenNumber, ...]
    second: tuple[str, ...] = ()
    trend: TrendWord | None = None

    def component(self, half: int) -> Written:
        """The numbers of pairs before (0) or after (1) the slash."""
        numbers = [part.number for part in self.parts] if half == 0 else self.second
        parts = tuple(part._replace(number=number) for number, part in zip(numbers, self.parts, strict=True))
        return self._replace(parts=parts, second=())


def unit(group: str) -> str:
    """Pattern of an optional unit, as a named group."""
    return rf"(?: ?(?P<{group}>{units.PATTERN}))?"


def value(name: str) -> str:
    """Pattern of a value: a number or a pair such as 120/80 (``name2``), "s" of a decade (``names``), and a unit."""
    pair = rf"(?: ?/ ?(?P<{name}2>\d{{1,3}}(?:\.\d{{1,2}})?(?![\d/]|\.\d))(?:'?s\b)?)?"
    return rf"(?P<{name}>{NUMBER})(?P<{name}s>'?s\b)?{pair}{unit(name + 'u')}"


_ARROW = r" ?(?:-{1,2}>|→|=>|⟶|>) ?"
_STEP = re.compile(rf"(?P<n>[-−]?{DIGITS})(?:/(?P<n2>\d{{1,3}}))?{unit('u')}", re.I)
#: What may stand between two values: blanks, and text that has been read.
_GAP = r"[ \0]{0,40}"
#: Words before the value that a change starts from.
_OLD = (
    r"(?:(?:a|an|the|its|his|her|their|of|at|about|around|peak|peaks|nadir|baseline|initial|maximum|minimum|high|low|"
    r"admission|previous|prior|value|level) ){0,4}"
)
_SPREAD = (
    r"ranging from|ranged from|ranges from|ranging between|ranged between|varying from|varied between|"
    r"fluctuat\w{1,4} between"
)
_WAS = "was|previously|prior|previous|prev|baseline|before|earlier|formerly|compared (?:with|to)|versus|vs|as against"
_UP = "up|increased|increasing|risen|rising|raised|elevated|rose"
_DOWN = "down|decreased|decreasing|fallen|falling|reduced|fell|dropped"
_WAYS: dict[str, TrendWord] = {
    "up": "rising", "raised": "rising", "elevated": "rising", "down": "falling", "reduced": "falling",
    "lowered": "falling",
}  # fmt: skip


class _Match(NamedTuple):
    """A value as matched: the numbers before and after the slash of a pair, the "s" of a decade, the unit."""

    number: str
    second: str | None = None
    decade: str | None = None
    unit: str | None = None


def _matched(match: re.Match[str], name: str) -> _Match:
    return _Match(match[name], match[f"{name}2"], match[f"{name}s"], match[f"{name}u"])


def _written(form: Shape, values: list[_Match], *, trend: TrendWord | None = None) -> Written:
    """Parts without a unit take the last unit named: "from 1.1 to 3.2 mg/dL"."""
    named = next((each.unit for each in reversed(values) if each.unit), None)
    parts = tuple(WrittenNumber(each.number, each.unit or named, each.decade or "") for each in values)
    second = tuple(each.second or "" for each in values) if any(each.second for each in values) else ()
    return Written(form, parts, second, trend)


def _word(match: re.Match[str]) -> Written:
    return _written("one", [_Match(match["word"])])


def _out_of(match: re.Match[str]) -> Written:
    return Written("one", (WrittenNumber(match["a"]),), second=(match["b"],))


def _sequence(match: re.Match[str]) -> Written:
    steps = _STEP.finditer(re.sub(r"-{1,2}>|=>|>", "→", match[0]))
    return _written("sequence", [_Match(step["n"], step["n2"], None, step["u"]) for step in steps])


def _before(match: re.Match[str]) -> Written:
    new, old = _matched(match, "a"), _matched(match, "b")
    way = (match["way"] or "").lower()
    trend: TrendWord | None = "rising" if re.fullmatch(_UP, way) else "falling" if re.fullmatch(_DOWN, way) else None
    first, last = float(decimal(old.number)), float(decimal(new.number))
    if trend is None and first != last:
        trend = "rising" if last > first else "falling"
    return _written("from", [old, new], trend=trend)


def _range(match: re.Match[str]) -> Written | None:
    pre, by = (match["pre"] or "").lower(), match["by"].lower()
    spread = pre.startswith(("rang", "vary", "varied", "fluct"))
    if by in ("and", "or") and not (pre.startswith("between") or spread or match["as"]):
        return None  # two values, not a range
    values = [_matched(match, "a"), _matched(match, "b")]
    if match["c"]:
        values.append(_Match(match["c"], unit=match["bu"]))
    ways: dict[str, Shape] = {"down to": "down", "up to": "up"}
    form = ways.get(by) or ("from" if "from" in pre and not spread else "range")
    return _written(form, values, trend=_WAYS.get(pre.partition(" ")[0]))


def _start(match: re.Match[str]) -> Written:
    return _written("start", [_matched(match, "a")])


def _decade(match: re.Match[str]) -> Written:
    return Written("one", (WrittenNumber(match["a"], match["au"], match["third"].lower()),))


def _one(match: re.Match[str]) -> Written:
    return _written("one", [_matched(match, "a")])


@dataclass(frozen=True)
class Form:
    """A form that values take in text, and sentences with their expected reading."""

    name: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Written | None]
    reads: str | int = 0
    examples: Mapping[str, str] = field(default_factory=dict)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


#: A number word is a value only after such a word, and before a unit or the end of what is said: "one of the nurses".
SPOKEN = Form(
    "number word",
    _compiled(
        rf"(?:(?<!out )\b(?:of|at|to|from|was|is|than|above|below|exactly) )(?P<word>(?:{SPELT})\b)"
        rf"(?= ?(?:[.,;:)/]|$|to\b|out of\b|on\b|{units.PATTERN}))"
    ),
    _word,
    "word",
    {"A GCS of nine.": "gcs_total: is 9", "Potassium was six at hour 3.": "nothing"},
)
#: In this order, since longer forms contain shorter ones.
FORMS = (
    Form(
        "out of a maximum",
        _compiled(rf"(?P<a>{NUMBER}) ?\(?(?:out of|of a possible|of) (?P<b>\d{{1,3}})\b(?! ?(?:%|percent))\)?"),
        _out_of,
        examples={"GCS of 9 out of 15.": "gcs_total: is 9", "Creatinine 3 of 7.": "nothing"},
    ),
    Form(
        "sequence",
        _compiled(rf"{value('a')}(?:{_ARROW}[-−]?\d[\d.,/]{{0,12}}{unit('zu')})+"),
        _sequence,
        examples={"K 5.9 -> 6.3 -> 3.4.": "potassium: changing from 5.9 to 6.3 to 3.4"},
    ),
    Form(  # the later value is given first, then the earlier one
        "value and the one before it",
        _compiled(
            rf"{value('a')}(?:{_GAP}(?:,|\(|\[|which is|which was|-|–){_GAP}){{0,2}}"
            rf"(?: ?(?:(?P<way>{_UP}|{_DOWN}|improved|worsened|changed) )?from | ?(?P<was>{_WAS})[ :] ?)"
            rf"(?:(?:of|at|was|a|an|the|his|her|value|level|baseline|admission|previous|prior|about) ){{0,4}}"
            rf"{value('b')}"
        ),
        _before,
        examples={
            "Creatinine 3.1 mg/dL, up from 1.0.": "creatinine: rising from 1 to 3.1",
            "Lactate now 1.5 (was 5.6).": "lactate: falling from 5.6 to 1.5",
            "Hgb 8.2 from 10.4.": "hemoglobin: falling from 10.4 to 8.2",
        },
    ),
    Form(  # "from" is a change; "between" and a dash a range, unless a verb says that it moved
        "range or change",
        _compiled(
            rf"(?P<pre>\b(?:between|(?:(?:up|down|raised|elevated|reduced|lowered) )?from|{_SPREAD}) {_OLD})?"
            rf"(?:about |around )?(?:low |mid |high )?(?:(?:the|its) )?{value('a')}"
            r" ?(?P<by>-|–|—|\bto\b|\bup to\b|\bdown to\b|\band\b|\bor\b) ?"
            rf"(?:about |around )?(?:the )?(?:low |mid |high )?(?P<b>[-−]?{DIGITS})(?: ?/ ?(?P<b2>\d{{1,3}}(?![\d/])))?"
            rf"(?P<bs>['’]?s\b)?(?: ?[-–] ?(?P<c>\d{{1,6}}(?:\.\d{{1,4}})?))?{unit('bu')}"
        ),
        _range,
        examples={
            "Hemoglobin between 8.2 and 10.4.": "hemoglobin: within 8.149 to 10.45",
            "Creatinine from 1.0 to 3.1 mg/dL.": "creatinine: changing from 1 to 3.1",
            "BP fell from 120/80 to 85/40.": "systolic_bp: falling from 120 to 85; diastolic_bp: falling from 80 to 40",
            "Glucose 122 and 131 mg/dL.": "glucose: is 122; glucose: is 131",
            "HR 90s-130s.": "heart_rate: in the decades 89.5 to 139.5",
        },
    ),
    Form(  # the start of a change, without its end
        "start",
        _compiled(rf"\bfrom {_OLD}{value('a')}"),
        _start,
        examples={"Creatinine rising from 1.0.": "creatinine: rising from 1"},
    ),
    Form(  # a part of a decade
        "part of a decade",
        _compiled(rf"\b(?P<third>low|lower|mid|middle|high|upper)[- ](?P<a>{NUMBER})'?s\b{unit('au')}"),
        _decade,
        examples={"Heart rate in the low 130s.": "heart_rate: in the decade 129.5 to 134"},
    ),
    Form(
        "value",
        _compiled(value("a")),
        _one,
        examples={
            "Creatinine 3.1 mg/dL.": "creatinine: is 3.1",
            "Heart rate in the 60s.": "heart_rate: in the decade 59.5 to 69.5",
            "Creatinine 274 µmol/L.": "creatinine: is 3.1",
            "Creatinine 3.1 %.": "nothing",
        },
    ),
)


def find(sentence: Masked) -> None:
    """Read every number. Times and amounts must have been read before."""
    _read(sentence, SPOKEN)
    for pattern, cue, group in _no_values():
        sentence.read(pattern, lambda match, cue=cue: (cue, None), group)
    for form in FORMS:
        _read(sentence, form)


def canonical(written: Written, variable: Variable, *, about: bool) -> list[Figure]:
    """The parts of a figure in the canonical unit; none where one is in a unit that the variable does not have."""
    parts = [figure(part, variable, about=about) for part in written.parts]
    converted = [part for part in parts if part is not None]
    if len(converted) < len(parts):
        return []
    if len(converted) == 3 and written.form != "sequence":
        return [converted[0], Figure(converted[1].low, converted[2].high)]
    return converted


def _read(sentence: Masked, form: Form) -> None:
    def meaning(match: re.Match[str]) -> Reading | None:
        written = form.read(match)
        return None if written is None else ("number", written)

    sentence.read(form.pattern, meaning, form.reads)


@cache
def _no_values() -> tuple[tuple[re.Pattern[str], str, str | int], ...]:
    """The patterns of numbers that are no values. An aside may stand between two values, a reference range may not."""
    parts = {"number": DIGITS, "value": NUMBER, "units": units.PATTERN}
    cues = {"asides": "aside", "references": "", "multiples": "aside"}
    return tuple((e.pattern, cues[name], e.reads) for name in cues for e in patterns("numbers", name, **parts))
