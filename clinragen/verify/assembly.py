"""A head and the cues beside it -> claims: what is stated of a variable, with which numbers, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from clinragen.catalog import Variable, variables
from clinragen.verify import quantities, units
from clinragen.verify.amounts import WrittenAmount
from clinragen.verify.claims import SeriesClaim
from clinragen.verify.cue_phrases import Head
from clinragen.verify.figures import Written
from clinragen.verify.masked import Cue
from clinragen.verify.quantities import Figure, WrittenNumber
from clinragen.verify.statements import (
    Arrival,
    Beyond,
    ChangeBy,
    ChangeSize,
    Count,
    Course,
    Crossing,
    Decade,
    Departure,
    Extreme,
    Frequency,
    Hour,
    Mean,
    Moment,
    Point,
    Resolved,
    Scope,
    Severity,
    Side,
    Spell,
    Stable,
    State,
    Statement,
    Total,
    Trend,
    TrendWord,
    Value,
    Way,
    Within,
)
from clinragen.verify.times import HourWindow

#: Kinds of cue without which words about a variable state nothing.
STATING = frozenset(("state", "trend", "number", "change", "how"))
_ABOUT = re.compile(r"\b(?:about|around)\b", re.I)
#: A term names its side: worsening hypotension is a fall.
_WORSE: dict[str, tuple[TrendWord, TrendWord]] = {
    "worsening": ("rising", "falling"),
    "improving": ("falling", "rising"),
}
#: Before a name these are adjectives: "increased creatinine" is high, "creatinine increased" rises.
_ADJECTIVAL: dict[str, Side] = {"increased": "high", "decreased": "low", "increases": "high", "decreases": "low"}
#: With an amount these are verbs: "reduced by 40 %".
_MOVING: dict[str, TrendWord] = {
    "raised": "rising", "elevated": "rising", "reduced": "falling", "lower": "falling", "higher": "rising"
}  # fmt: skip
#: Words that stand after the number that they are about: "90 or more", "109 on average".
_AFTER = re.compile(
    r"or (?:more|less|higher|lower|above|below|greater)|on average|averaged?|at its|was (?:high|low)est", re.I
)
#: Units of a total of the day.
_DAILY = ("/d", "/day", "/24h")
_PRESSURES = frozenset(("systolic_bp", "mean_bp"))
_EXTREMES = ("highest", "lowest")
_WHOLE_STAY = (0.0, float("inf"))
_TOTALS: dict[str, Literal["is", "above", "below"]] = {
    "total_is": "is", "total_above": "above", "total_below": "below"
}  # fmt: skip


@dataclass(frozen=True)
class _Qualifiers:
    """What the cues say of a statement besides: how often, how severe, when."""

    frequency: Frequency | None = None
    severity: Literal["mild", "marked"] | None = None
    window: HourWindow | None = None
    moment: Moment | None = None
    hour: Hour | None = None


@dataclass(frozen=True)
class _Stance:
    """On which side the variable is, what it does, and whether that is denied."""

    side: Side | None = None
    trend: TrendWord | Literal["stable"] | None = None
    negated: bool = False

    @property
    def way(self) -> Way:
        return Way(None if self.trend == "stable" else self.trend, self.side)


@dataclass
class _Figures:
    """The numbers of a statement: those it has, the one that a change starts from, and the amount of a change."""

    stated: list[Figure] = field(default_factory=list)
    start: Point | None = None
    size: ChangeSize | None = None
    or_end: Point | None = None


def claims(text: str, head: Cue, before: list[Cue], after: list[Cue], *, whole: bool) -> Iterator[SeriesClaim]:
    """The claims about a head.

    Args:
        before, after: cues on either side of it.
        whole: the words belong to the head itself, not to a later part of its sentence.
    """
    of: Head = head.value
    if not of.variables or not (whole or any(cue.kind in STATING for cue in after)):
        return
    cues = [*before, *after]
    start = min([head.start if whole else 10**9, *(cue.start for cue in cues)])
    end = max([head.end if whole else 0, *(cue.end for cue in cues)])
    qualifiers = _qualifiers(cues)
    for reading, mine_before, mine_after in _unpaired(of, before, after):
        stance = _stance(text, reading, mine_before, mine_after, whole=whole)
        numbers, stance, qualified = _numbered(text, reading, mine_before, mine_after, stance, qualifiers)
        if of.bound is not None and not numbers.stated:
            numbers.stated.append(Figure(of.bound[1], of.bound[1], f"{of.bound[0]}_event"))
        scope, statements = _statements(stance, qualified, numbers)
        if statements:
            each = stance.side == "normal" or stance.trend == "stable"
            yield SeriesClaim(start, end, reading.variables, tuple(statements), scope, stance.negated, each)


def _unpaired(of: Head, before: list[Cue], after: list[Cue]) -> Iterator[tuple[Head, list[Cue], list[Cue]]]:
    """A statement with pairs, split up: 120/80 is a systolic and a diastolic pressure, 9/15 a score and its maximum.

    Any other number with a stroke ("pain 7/10", a date) is left out.
    """
    cues = [*before, *after]
    if not any(cue.kind == "number" and cue.value.second for cue in cues):
        yield of, before, after
    elif _PRESSURES & set(of.variables):
        if of.sides or any(cue.kind == "state" for cue in cues):  # "hypotensive to 85/40": low, and these values
            yield of, _figures(before, lambda written: None), _figures(after, lambda written: None)
        for place, key in enumerate(("systolic_bp", "diastolic_bp")):
            mine = [
                [cue for cue in _figures(side, partial(_pressure, place=place)) if cue.kind != "state"]
                for side in (before, after)
            ]
            yield Head((key,)), mine[0], mine[1]
    else:
        score = partial(_score, variable=variables()[of.variables[0]])
        yield of, _figures(before, score), _figures(after, score)


def _figures(cues: list[Cue], pick: Callable[[Written], Written | None]) -> list[Cue]:
    """Cues with other figures for those that stand, and without those that have none."""
    picked = [cue._replace(value=pick(cue.value)) if cue.kind == "number" else cue for cue in cues]
    return [cue for cue in picked if cue.value is not None]


def _pressure(written: Written, place: int) -> Written | None:
    pairs = zip(written.parts, written.second, strict=bool(written.second))
    paired = bool(written.second) and all(_pressures(part.number, second) for part, second in pairs)
    return written.component(place) if paired else None


def _score(written: Written, variable: Variable) -> Written | None:
    if not written.second:
        return written
    whole = variable.unit == "score" and all(second in ("", f"{variable.plausible[1]:g}") for second in written.second)
    return written.component(0) if whole else None


def _pressures(systolic: str, diastolic: str) -> bool:
    if not (systolic.isdecimal() and diastolic.isdecimal()) or int(systolic) <= int(diastolic):
        return False
    keys = ("systolic_bp", "diastolic_bp")
    bounds = [variables()[key].plausible for key in keys]
    return all(low <= int(n) <= high for n, (low, high) in zip((systolic, diastolic), bounds, strict=True))


def _qualifiers(cues: list[Cue]) -> _Qualifiers:
    """Times, frequency and severity: the first of each, but the frequency that says most."""

    def first(kind: str):
        return next((cue.value for cue in cues if cue.kind == kind), None)

    often: list[Frequency] = [cue.value for cue in cues if cue.kind == "often"]
    frequency = max(often, key=_precise, default=None)
    total = HourWindow(*_WHOLE_STAY) if any(cue.kind == "total" for cue in cues) else None
    return _Qualifiers(frequency, first("severity"), first("window") or total, first("moment"), first("hour"))


def _precise(frequency: Frequency) -> int:
    """How much a frequency says: of "stayed above 90 at all times", the second."""
    return 2 if isinstance(frequency, Count) else 1 if frequency == "always" else 0


def _stance(text: str, of: Head, before: list[Cue], after: list[Cue], *, whole: bool) -> _Stance:
    states: list[Side] = []
    trends: list[TrendWord | Literal["stable"]] = []
    numbered = any(cue.kind == "number" for cue in after)
    amounts = any(cue.kind in ("number", "change") for cue in after)
    for cue in (*before, *after):
        word: str = text[cue.start : cue.end].lower()
        if cue.kind == "trend" and cue in before and word in _ADJECTIVAL:
            states.append(_ADJECTIVAL[word])
        elif cue.kind == "state" and word in _MOVING and any(c.kind == "change" for c in after):
            trends.append(_MOVING[word])
        elif cue.kind == "state":
            states.append(cue.value)
        elif cue.kind == "trend":
            partly = cue.value == "resolved" and amounts and "norm" not in word  # "recovered to 12" of 15
            trends.append("improving" if partly else cue.value)
        elif cue.kind == "change" and cue.value[0]:
            trends.append(cue.value[0])
    if len(states) > 1 and states[-1] == "normal":
        states = ["normal"]  # "low-normal"
    side: Side | None = states[0] if states else None
    negated = any(cue.kind == "denied" for cue in (*before, *after))
    if side is None and of.sides and (whole or (trends and not numbered)):
        side = of.sides[0] if len(of.sides) == 1 else "normal"
        if of.absent and len(of.sides) == 1:
            negated = not negated
    order = ("resolved", "rising", "falling", "improving", "worsening", "stable")
    trend = min(trends, key=order.index, default=None)
    if trend in _WORSE and len(of.sides) == 1:
        trend = _WORSE[trend][of.sides[0] == "low"]
    if trend is None:
        written = [cue.value for cue in (*before, *after) if cue.kind == "number" and cue.value.trend]
        variable = variables()[of.variables[0]]
        trend = next((each.trend for each in written if _canonical(each, variable, about=False)), None)
    return _Stance(side, trend, negated)


def _numbered(
    text: str, of: Head, before: list[Cue], after: list[Cue], stance: _Stance, qualifiers: _Qualifiers
) -> tuple[_Figures, _Stance, _Qualifiers]:
    """Numbers, with the words that say what they are; figures may also tell the trend ("down from"), or a day."""
    variable = variables()[of.variables[0]]
    hows = [cue for cue in (*before, *after) if cue.kind == "how"]
    if of.how:
        hows.append(Cue("how", -1, -1, of.how))
    cues = [cue for cue in (*before, *after) if cue.kind == "number"]
    moving = stance.trend is not None and stance.trend != "stable"
    numbers = _Figures()
    for place, cue in enumerate(cues):
        written: Written = cue.value
        about = any(c.kind == "about" and 0 <= cue.start - c.end <= 12 for c in (*before, *after))
        parts = _canonical(written, variable, about=about or _ABOUT.search(text[cue.start : cue.end]) is not None)
        if not parts:
            continue
        if of.mirrored:
            parts = [Figure(-part.high, -part.low) if part.low > 0 else part for part in parts]
        how = _how(text, hows, cues, place)
        if written.form == "start":
            numbers.start = _point(parts[0])
            continue
        if written.form == "one":
            if units.plain(written.parts[0].unit or "").endswith(_DAILY):
                qualifiers = replace(qualifiers, window=HourWindow(*_WHOLE_STAY, 24.0))
            one = _bounded(parts[0], how, decade=bool(written.parts[0].decade) and stance.trend is None)
            numbers.stated.append(_total(one, written, variable, qualifiers))
            continue
        backward = parts[0].low > parts[1].low  # a range is written from low to high; "1.4 to 1.2" is a change
        if written.form in ("sequence", "from", "up", "down") or (moving and written.form == "range") or backward:
            numbers.start = _point(parts[0])
            numbers.stated += parts[1:]
            if written.trend and how in _EXTREMES:  # "down to 3.1 (baseline 1.0)" is a fall, and wrong
                stance = replace(stance, trend="rising" if how == "highest" else "falling")
        else:
            form = "decades" if written.parts[1].decade else "within"
            numbers.stated.append(Figure(parts[0].low, parts[1].high, form))
        # "from 38 up to 278" may give the extremes; "from 38 down to 278" is a fall, and wrong
        if stance.trend is None and written.form in ("up", "down") and (backward or written.form == "down"):
            stance = replace(stance, trend="rising" if written.form == "up" else "falling")
    timed = qualifiers.moment is not None or (stance.trend is None and qualifiers.hour is not None)
    if not cues and timed and hows and hows[0].value in _EXTREMES:  # "lowest at hour 12"
        numbers.stated.append(Figure(float("-inf"), float("inf"), hows[0].value))
    _sized(numbers, [*after, *before], variable)
    return numbers, stance, qualifiers


def _canonical(written: Written, variable: Variable, *, about: bool) -> list[Figure]:
    """The parts of a figure in the canonical unit; none where one is in a unit that the variable does not have."""
    parts = [quantities.figure(part, variable, about=about) for part in written.parts]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return []
    if len(known) == 3 and written.form != "sequence":
        return [known[0], Figure(known[1].low, known[2].high)]
    return known


def _how(text: str, hows: Sequence[Cue], numbers: Sequence[Cue], place: int) -> str | None:
    """What the words before a number say it is, or those after it: "90 or more", "109 on average"."""
    cue = numbers[place]
    previous = numbers[place - 1].end if place else -2
    following = numbers[place + 1].start if place + 1 < len(numbers) else len(text)
    ends = [number.end for number in numbers]
    after = [how for how in hows if _AFTER.match(text, how.start) and any(0 <= how.start - end <= 2 for end in ends)]
    mine = [how for how in hows if previous < how.end <= cue.start and how not in after]
    trailing = [how for how in after if cue.end <= how.start < following]
    last = [how for how in hows if how.start >= cue.end and place == len(numbers) - 1 and how.value in _EXTREMES]
    return (mine or trailing or last or [Cue("how", 0, 0, None)])[-1].value


def _bounded(number: Figure, how: str | None, *, decade: bool) -> Figure:
    """A number as the words before it say: of a bound the middle, since rounding widens no bound."""
    middle = (number.low + number.high) / 2
    match how:
        case "above" | "above_event" | "rising_event" | "below" | "below_event" | "falling_event":
            return Figure(middle, middle, how)
        case "at_least":
            return Figure(number.low, number.low, "above")
        case "at_most":
            return Figure(number.high, number.high, "below")
        case "highest" | "lowest" | "mean":
            return number._replace(how=how)
    return number._replace(how="decade" if decade and how is None else "at")


def _total(number: Figure, written: Written, variable: Variable, qualifiers: _Qualifiers) -> Figure:
    """A volume over hours is their sum: "1200 mL over 24 h", not "10 mL/h over 24 h"."""
    hourly = units.plain(written.parts[0].unit or "").endswith("/h")
    if variable.bin != "sum" or qualifiers.window is None or hourly:
        return number
    if number.how == "at":
        return number._replace(how="total_is")
    for way in ("above", "below"):
        if number.how in (way, f"{way}_event", {"above": "rising_event", "below": "falling_event"}[way]):
            return number._replace(how=f"total_{way}")
    return number


def _sized(numbers: _Figures, cues: Sequence[Cue], variable: Variable) -> None:
    """The amount of change: the last one stated."""
    for cue in cues:
        if cue.kind != "change":
            continue
        stated = cue.value[1]
        if isinstance(stated, WrittenAmount):
            numbers.size, numbers.or_end = _amount(stated, variable)
        else:
            numbers.size, numbers.or_end = stated, None


def _amount(stated: WrittenAmount, variable: Variable) -> tuple[ChangeSize | None, Point | None]:
    """The amount in the canonical unit, and the end that "rose 18" may also mean."""
    bounds = quantities.amount(stated.number, stated.unit, variable, about=stated.how == "about")
    if bounds is None:
        return None, None
    low, high = stated.bounds(*bounds)
    end = quantities.figure(WrittenNumber(stated.number), variable) if stated.bare else None
    return ChangeSize(low, high, "amount"), _point(end) if end else None


def _point(number: Figure) -> Point:
    return Point(number.low, number.high, number.how if number.how in _EXTREMES else None)


def _statements(stance: _Stance, qualifiers: _Qualifiers, numbers: _Figures) -> tuple[Scope, list[Statement]]:
    """The statements that the parts make together, and what they are about."""
    window = qualifiers.window
    span = (window.start, window.end) if window else None
    hours = window.hours if window else None
    totals: list[Statement] = [
        Total(_TOTALS[number.how], number.low, number.high, span or _WHOLE_STAY, hours)
        for number in numbers.stated
        if number.how in _TOTALS
    ]
    rest = [number for number in numbers.stated if number.how not in _TOTALS]
    if numbers.start is not None and not (rest or stance.trend or numbers.size):  # "from 3.2" moves nowhere
        rest = [Figure(numbers.start.low, numbers.start.high)] if stance.side is not None else []
        numbers = replace(numbers, start=None)
    moves = stance.trend is not None or numbers.start is not None or numbers.size is not None
    if moves:  # a change takes the whole window; "at hour 9" is where it ends
        moment = qualifiers.moment if stance.trend is None and numbers.start is None else None
        made = _moving(stance, qualifiers, replace(numbers, stated=rest))
        return Scope(span, moment), [*totals, *made]
    extreme = any(number.how in _EXTREMES for number in rest)
    scope = Scope(span, qualifiers.moment, None if extreme else qualifiers.hour)
    return scope, [*totals, *_still(stance, qualifiers, rest)]


def _still(stance: _Stance, qualifiers: _Qualifiers, numbers: list[Figure]) -> Iterator[Statement]:
    """Where the variable lies. A number shares the side with its own measurements: "high at 3.2" is a high 3.2."""
    side = stance.side
    joint = None if side == "normal" else side
    carried = False
    for number in numbers:
        made = _numeral(number, qualifiers, joint, once=side is not None or stance.negated)
        yield made
        if isinstance(made, Within | Decade) and joint:  # "raised at 2.0 to 2.6": most of them are
            yield State(joint, "mostly")
        elif isinstance(made, Value) and joint and isinstance(qualifiers.frequency, str):
            yield State(joint, qualifiers.frequency)  # "persistently high at 14.8": often high, once 14.8
        carried = carried or isinstance(made, Value | Beyond | Crossing | Within | Decade)
    if side is not None and (side == "normal" or not carried):
        yield State(side, qualifiers.frequency)
    if qualifiers.severity is not None and side in ("high", "low", "abnormal"):
        yield Severity(qualifiers.severity, side)


def _numeral(number: Figure, qualifiers: _Qualifiers, side: Side | None, *, once: bool) -> Statement:
    """A number of a variable that is not said to move."""
    often, low, high = qualifiers.frequency, number.low, number.high
    hours = qualifiers.window.hours if qualifiers.window else None
    match number.how:
        case "highest" | "lowest":
            return Extreme(number.how, low, high, qualifiers.hour)
        case "mean":
            return Mean(low, high, hours)
        case "above" | "below" if hours is not None and often is None:
            return Spell(low, number.how, hours)
        case "above" | "below":
            return Beyond(low, number.how, side, often, once=once)
        case "above_event" | "below_event":
            return Beyond(low, "above" if number.how == "above_event" else "below", side, often, once=True)
        case "rising_event" | "falling_event":
            return Crossing(low, "above" if number.how == "rising_event" else "below", side, often)
        case "within":
            return Within(low, high, often)
        case "decade" | "decades":
            return Decade(low, high, number.how == "decades", often)
    return Value(low, high, side, None if side is not None and isinstance(often, str) else often)


def _moving(stance: _Stance, qualifiers: _Qualifiers, numbers: _Figures) -> Iterator[Statement]:
    """What the variable does."""
    if stance.trend == "stable":
        yield from _stable(stance, qualifiers, numbers)
        return
    ends = [number for number in numbers.stated if number.how in ("at", "decade", *_EXTREMES)]
    others = [number for number in numbers.stated if number not in ends]
    points = tuple(_point(number) for number in ends)
    if numbers.start is not None:
        points = (numbers.start, *points)
    # "climbed to above 5" happened once; "fell to 3.1, above 2" is so throughout
    once = not points or stance.side is not None or stance.negated
    beside = [_numeral(number, qualifiers, None, once=once) for number in others]
    yield from beside
    if stance.side is not None and stance.trend != "resolved":
        yield State(stance.side, qualifiers.frequency)
    if stance.trend == "resolved":
        yield Resolved(stance.side)
    if len(points) > 1:
        yield Course(points, stance.way, numbers.size, qualifiers.hour)
    elif numbers.start is not None:
        yield Departure(numbers.start, stance.way, numbers.size)
    elif points:
        yield Arrival(points[0], stance.way, numbers.size, qualifiers.hour)
    elif numbers.size is not None:
        yield ChangeBy(numbers.size, stance.way, numbers.or_end, qualifiers.hour)
    elif stance.trend != "resolved":
        yield Trend(stance.way, tuple(one for one in beside if isinstance(one, Beyond) and one.frequency is None))


def _stable(stance: _Stance, qualifiers: _Qualifiers, numbers: _Figures) -> Iterator[Statement]:
    """Stable, at the stated values, on the stated side for most of the time."""
    yield Stable()
    for number in numbers.stated:
        yield _numeral(number, qualifiers, None, once=stance.side is not None or stance.negated)
    if numbers.start is not None:
        yield Value(numbers.start.low, numbers.start.high)
    if stance.side is not None:
        yield State(stance.side, "persistently")
