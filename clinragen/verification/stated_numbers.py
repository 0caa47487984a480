"""The numbers beside a head, in its unit, each with its role by the words around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from clinragen.catalog import Variable, variables
from clinragen.verification import quantities, units
from clinragen.verification.amounts import WrittenAmount
from clinragen.verification.cue_phrases import Head
from clinragen.verification.figures import Written, canonical
from clinragen.verification.masked import Cue
from clinragen.verification.quantities import Figure, WrittenNumber
from clinragen.verification.stance import WHOLE_STAY, Qualifiers, Stance
from clinragen.verification.statements import ChangeSize, Point
from clinragen.verification.times import HourWindow

EXTREMES = ("highest", "lowest")
_ABOUT = re.compile(r"\b(?:about|around)\b", re.I)
#: Words that stand after the number that they are about: "90 or more", "109 on average".
_AFTER = re.compile(
    r"or (?:more|less|higher|lower|above|below|greater)|on average|averaged?|at its|was (?:high|low)est", re.I
)
#: Units of a total of the day.
_DAILY = ("/d", "/day", "/24h")


@dataclass
class StatedNumbers:
    """The numbers of a statement: stated values, the start of a change, and the amount of a change."""

    stated: list[Figure] = field(default_factory=list)
    start: Point | None = None
    size: ChangeSize | None = None
    or_end: Point | None = None


def numbers_of(
    text: str, of: Head, before: list[Cue], after: list[Cue], stance: Stance, qualifiers: Qualifiers
) -> tuple[StatedNumbers, Stance, Qualifiers]:
    """Numbers with their roles; figures may also state a trend ("down from") or a day."""
    variable = variables()[of.variables[0]]
    hows = [cue for cue in (*before, *after) if cue.kind == "how"]
    if of.how:
        hows.append(Cue("how", -1, -1, of.how))
    cues = [cue for cue in (*before, *after) if cue.kind == "number"]
    abouts = [cue for cue in (*before, *after) if cue.kind == "about"]
    moving = stance.trend is not None and stance.trend != "stable"
    numbers = StatedNumbers()
    for position, cue in enumerate(cues):
        written: Written = cue.value
        parts = _figures(text, cue, of, variable, abouts)
        if not parts:
            continue
        how = _how(text, hows, cues, position)
        if written.form == "start":
            numbers.start = point(parts[0])
        elif written.form == "one":
            if units.plain(written.parts[0].unit or "").endswith(_DAILY):
                qualifiers = replace(qualifiers, window=HourWindow(*WHOLE_STAY, 24.0))
            one = _bounded(parts[0], how, decade=bool(written.parts[0].decade) and stance.trend is None)
            numbers.stated.append(_total(one, written, variable, qualifiers))
        else:
            stance = _add_pair(numbers, written, parts, how, stance, moving=moving)
    timed = qualifiers.moment is not None or (stance.trend is None and qualifiers.hour is not None)
    if not cues and timed and hows and hows[0].value in EXTREMES:  # "lowest at hour 12"
        numbers.stated.append(Figure(float("-inf"), float("inf"), hows[0].value))
    _sized(numbers, [*after, *before], variable)
    return numbers, stance, qualifiers


def _figures(text: str, cue: Cue, of: Head, variable: Variable, abouts: Sequence[Cue]) -> Sequence[Figure] | None:
    """The numbers of a cue in the canonical unit of the variable; none if their unit is not one of its units."""
    about = any(0 <= cue.start - near.end <= 12 for near in abouts)
    parts = canonical(cue.value, variable, about=about or _ABOUT.search(text[cue.start : cue.end]) is not None)
    if parts and of.mirrored:
        return [Figure(-part.high, -part.low) if part.low > 0 else part for part in parts]
    return parts


def _add_pair(
    numbers: StatedNumbers, written: Written, parts: Sequence[Figure], how: str | None, stance: Stance, *, moving: bool
) -> Stance:
    """Add two numbers or more, a change or a range; gives the stance, to which they may add a trend."""
    backward = parts[0].low > parts[1].low  # a range is written from low to high; "1.4 to 1.2" is a change
    if written.form in ("sequence", "from", "up", "down") or (moving and written.form == "range") or backward:
        numbers.start = point(parts[0])
        numbers.stated += parts[1:]
        if written.trend and how in EXTREMES:  # "down to 3.1 (baseline 1.0)" is a fall, and wrong
            stance = replace(stance, trend="rising" if how == "highest" else "falling")
    else:
        form = "decades" if written.parts[1].decade else "within"
        numbers.stated.append(Figure(parts[0].low, parts[1].high, form))
    # "from 38 up to 278" may give the extremes; "from 38 down to 278" is a fall, and wrong
    if stance.trend is None and written.form in ("up", "down") and (backward or written.form == "down"):
        stance = replace(stance, trend="rising" if written.form == "up" else "falling")
    return stance


def _how(text: str, hows: Sequence[Cue], numbers: Sequence[Cue], position: int) -> str | None:
    """The role of a number by the words before it or after it: "90 or more", "109 on average"."""
    cue = numbers[position]
    previous = numbers[position - 1].end if position else -2
    following = numbers[position + 1].start if position + 1 < len(numbers) else len(text)
    ends = [number.end for number in numbers]
    after = [how for how in hows if _AFTER.match(text, how.start) and any(0 <= how.start - end <= 2 for end in ends)]
    mine = [how for how in hows if previous < how.end <= cue.start and how not in after]
    trailing = [how for how in after if cue.end <= how.start < following]
    last = [how for how in hows if how.start >= cue.end and position == len(numbers) - 1 and how.value in EXTREMES]
    return (mine or trailing or last or [Cue("how", 0, 0, None)])[-1].value


def _bounded(number: Figure, how: str | None, *, decade: bool) -> Figure:
    """A number with its role; a bound is the middle of its range, since rounding does not widen a bound."""
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


def _total(number: Figure, written: Written, variable: Variable, qualifiers: Qualifiers) -> Figure:
    """A volume over hours is a sum: "1200 mL over 24 h", but not "10 mL/h over 24 h"."""
    hourly = units.plain(written.parts[0].unit or "").endswith("/h")
    if variable.bin != "sum" or qualifiers.window is None or hourly:
        return number
    if number.how == "at":
        return number._replace(how="total_is")
    for way in ("above", "below"):
        if number.how in (way, f"{way}_event", {"above": "rising_event", "below": "falling_event"}[way]):
            return number._replace(how=f"total_{way}")
    return number


def _sized(numbers: StatedNumbers, cues: Sequence[Cue], variable: Variable) -> None:
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
    """The amount in the canonical unit, and the end value that "rose 18" may also mean."""
    bounds = quantities.amount(stated.number, stated.unit, variable, about=stated.how == "about")
    if bounds is None:
        return None, None
    low, high = stated.bounds(*bounds)
    end = quantities.figure(WrittenNumber(stated.number), variable) if stated.bare else None
    return ChangeSize(low, high, "amount"), point(end) if end else None


def point(number: Figure) -> Point:
    """A figure as a point of a change; it may be stated to be the highest or lowest value."""
    return Point(number.low, number.high, number.how if number.how in EXTREMES else None)
