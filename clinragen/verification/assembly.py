"""Turn a head and the cues beside it into claims: what is stated of a variable, with which numbers, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from clinragen.verification.claims import SeriesClaim
from clinragen.verification.cue_phrases import Head
from clinragen.verification.masked import Cue
from clinragen.verification.pairs import unpaired
from clinragen.verification.quantities import Figure
from clinragen.verification.stance import WHOLE_STAY, Qualifiers, Stance, qualifiers_of, stance_of
from clinragen.verification.stated_numbers import EXTREMES, StatedNumbers, numbers_of, point
from clinragen.verification.statements import (
    Arrival,
    Beyond,
    ChangeBy,
    Course,
    Crossing,
    Decade,
    Departure,
    Extreme,
    Mean,
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
    Value,
    Within,
)

#: Kinds of cue without which words about a variable state nothing.
STATING = frozenset(("state", "trend", "number", "change", "how"))
_TOTALS: dict[str, Literal["is", "above", "below"]] = {
    "total_is": "is", "total_above": "above", "total_below": "below"
}  # fmt: skip


def claims(text: str, head: Cue, before: list[Cue], after: list[Cue], *, whole: bool) -> Iterator[SeriesClaim]:
    """The claims about a head.

    Args:
        text: the sentence.
        head: the variable or term that the claims are about.
        before: cues to the left of the head.
        after: cues to the right of the head.
        whole: the words belong to the head itself, not to a later part of its sentence.
    """
    of: Head = head.value
    if not of.variables or not (whole or any(cue.kind in STATING for cue in after)):
        return
    cues = [*before, *after]
    start = min([head.start if whole else 10**9, *(cue.start for cue in cues)])
    end = max([head.end if whole else 0, *(cue.end for cue in cues)])
    qualifiers = qualifiers_of(cues)
    for reading, mine_before, mine_after in unpaired(of, before, after):
        stance = stance_of(text, reading, mine_before, mine_after, whole=whole)
        numbers, stance, qualified = numbers_of(text, reading, mine_before, mine_after, stance, qualifiers)
        if of.bound is not None and not numbers.stated:
            numbers.stated.append(Figure(of.bound[1], of.bound[1], f"{of.bound[0]}_event"))
        scope, statements = _statements(stance, qualified, numbers)
        if statements:
            each = stance.side == "normal" or stance.trend == "stable"
            yield SeriesClaim(start, end, reading.variables, tuple(statements), scope, stance.negated, each)


def _statements(stance: Stance, qualifiers: Qualifiers, numbers: StatedNumbers) -> tuple[Scope, list[Statement]]:
    """The statements that the parts make together, and what they are about."""
    window = qualifiers.window
    span = (window.start, window.end) if window else None
    hours = window.hours if window else None
    totals: list[Statement] = [
        Total(_TOTALS[number.how], number.low, number.high, span or WHOLE_STAY, hours)
        for number in numbers.stated
        if number.how in _TOTALS
    ]
    figures = [number for number in numbers.stated if number.how not in _TOTALS]
    if numbers.start is not None and not (figures or stance.trend or numbers.size):  # "from 3.2" alone states no change
        figures = [Figure(numbers.start.low, numbers.start.high)] if stance.side is not None else []
        numbers = replace(numbers, start=None)
    moves = stance.trend is not None or numbers.start is not None or numbers.size is not None
    if moves:  # a change is checked in the whole window; "at hour 9" is where it ends
        moment = qualifiers.moment if stance.trend is None and numbers.start is None else None
        changes = _moving(stance, qualifiers, replace(numbers, stated=figures))
        return Scope(span, moment), [*totals, *changes]
    extreme = any(number.how in EXTREMES for number in figures)
    scope = Scope(span, qualifiers.moment, None if extreme else qualifiers.hour)
    return scope, [*totals, *_still(stance, qualifiers, figures)]


def _still(stance: Stance, qualifiers: Qualifiers, numbers: list[Figure]) -> Iterator[Statement]:
    """Statements about where the variable lies. A side applies to the number beside it: "high at 3.2" is a high 3.2."""
    side = stance.side
    joint = None if side == "normal" else side
    carried = False
    for number in numbers:
        statement = _numeral(number, qualifiers, joint, once=side is not None or stance.negated)
        yield statement
        if isinstance(statement, Within | Decade) and joint:  # "raised at 2.0 to 2.6": most of them are
            yield State(joint, "mostly")
        elif isinstance(statement, Value) and joint and isinstance(qualifiers.frequency, str):
            yield State(joint, qualifiers.frequency)  # "persistently high at 14.8": often high, once 14.8
        carried = carried or isinstance(statement, Value | Beyond | Crossing | Within | Decade)
    if side is not None and (side == "normal" or not carried):
        yield State(side, qualifiers.frequency)
    if qualifiers.severity is not None and side in ("high", "low", "abnormal"):
        yield Severity(qualifiers.severity, side)


def _numeral(number: Figure, qualifiers: Qualifiers, side: Side | None, *, once: bool) -> Statement:
    """The statement of a number, for a variable that is not said to change."""
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


def _moving(stance: Stance, qualifiers: Qualifiers, numbers: StatedNumbers) -> Iterator[Statement]:
    """Statements about a change or trend."""
    if stance.trend == "stable":
        yield from _stable(stance, qualifiers, numbers)
        return
    ends = [number for number in numbers.stated if number.how in ("at", "decade", *EXTREMES)]
    others = [number for number in numbers.stated if number not in ends]
    points = tuple(point(number) for number in ends)
    if numbers.start is not None:
        points = (numbers.start, *points)
    # "climbed to above 5" is an event; in "fell to 3.1, above 2" the bound holds throughout
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


def _stable(stance: Stance, qualifiers: Qualifiers, numbers: StatedNumbers) -> Iterator[Statement]:
    """Stable, at the stated values, on the stated side for most of the time."""
    yield Stable()
    for number in numbers.stated:
        yield _numeral(number, qualifiers, None, once=stance.side is not None or stance.negated)
    if numbers.start is not None:
        yield Value(numbers.start.low, numbers.start.high)
    if stance.side is not None:
        yield State(stance.side, "persistently")
