"""A head and the cues beside it -> claims: what is stated of a variable, with which numbers, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from clinragen.catalog import Variable, variables
from clinragen.verify import figures, units
from clinragen.verify.claims import Change, Number, SeriesClaim
from clinragen.verify.figures import Written
from clinragen.verify.lexicon import Head
from clinragen.verify.masked import Cue
from clinragen.verify.times import Amount, Window

#: Kinds of cue without which words about a variable state nothing.
STATING = frozenset(("state", "trend", "number", "change", "how"))
_ABOUT = re.compile(r"\b(?:about|around)\b", re.I)
_WORSE = {"worsening": ("rising", "falling"), "improving": ("falling", "rising")}
_ADJECTIVAL = {"increased": "high", "decreased": "low", "increases": "high", "decreases": "low"}
_MOVING = {"raised": "rising", "elevated": "rising", "reduced": "falling", "lower": "falling", "higher": "rising"}
_AFTER = re.compile(
    r"or (?:more|less|higher|lower|above|below|greater)|on average|averaged?|at its|was (?:high|low)est", re.I
)
_DAILY = ("/d", "/day", "/24h")
_TOTALS = {
    "at": "total",
    **dict.fromkeys(("above", "above_event", "rising_event"), "above_total"),
    **dict.fromkeys(("below", "below_event", "falling_event"), "below_total"),
}
_EXTREMES = ("highest", "lowest")
_PRESSURES = frozenset(("systolic_bp", "mean_bp"))
_WAYS = {"up": "rising", "down": "falling"}


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
    claim = _qualified(SeriesClaim(start, end, of.variables), cues)
    for reading, mine_before, mine_after in _unpaired(of, before, after):
        stated = _stated(
            text, replace(claim, variables=reading.variables), reading, mine_before, mine_after, whole=whole
        )
        stated = _numbered(text, stated, reading, mine_before, mine_after)
        if of.bound is not None and not stated.numbers:
            stated = replace(stated, numbers=(Number(of.bound[1], of.bound[1], of.bound[0] + "_event"),))
        if any((stated.direction, stated.trend, stated.numbers, stated.change)):
            yield stated


def _unpaired(of: Head, before: list[Cue], after: list[Cue]) -> Iterator[tuple[Head, list[Cue], list[Cue]]]:
    """A statement with pairs, split up: 120/80 is a systolic and a diastolic pressure, 9/15 a score and its maximum.

    Any other number with a stroke ("pain 7/10", a date) is left out.
    """
    cues = [*before, *after]
    if not any(cue.kind == "number" and cue.value.second for cue in cues):
        yield of, before, after
    elif _PRESSURES & set(of.variables):
        if of.directions or any(cue.kind == "state" for cue in cues):  # "hypotensive to 85/40": low, and these values
            yield of, _figures(before, lambda written: None), _figures(after, lambda written: None)
        for place, key in enumerate(("systolic_bp", "diastolic_bp")):
            sides = [
                [cue for cue in _figures(side, partial(_pressure, place=place)) if cue.kind != "state"]
                for side in (before, after)
            ]
            yield Head((key,)), sides[0], sides[1]
    else:
        score = partial(_score, spec=variables()[of.variables[0]])
        yield of, _figures(before, score), _figures(after, score)


def _figures(cues: list[Cue], pick: Callable[[Written], Written | None]) -> list[Cue]:
    """Cues with other figures for those that stand, and without those that have none."""
    made = []
    for cue in cues:
        value = pick(cue.value) if cue.kind == "number" else cue.value
        if value is not None:
            made.append(cue._replace(value=value))
    return made


def _pressure(written: Written, place: int) -> Written | None:
    pairs = zip(written.parts, written.second, strict=bool(written.second))
    paired = bool(written.second) and all(_pressures(part[0], second) for part, second in pairs)
    return written.component(place) if paired else None


def _score(written: Written, spec: Variable) -> Written | None:
    if not written.second:
        return written
    whole = spec.unit == "score" and all(second in ("", f"{spec.plausible[1]:g}") for second in written.second)
    return written.component(0) if whole else None


def _pressures(systolic: str, diastolic: str) -> bool:
    if not (systolic.isdecimal() and diastolic.isdecimal()) or int(systolic) <= int(diastolic):
        return False
    keys = ("systolic_bp", "diastolic_bp")
    bounds = [variables()[key].plausible for key in keys]
    return all(low <= int(n) <= high for n, (low, high) in zip((systolic, diastolic), bounds, strict=True))


def _qualified(claim: SeriesClaim, cues: list[Cue]) -> SeriesClaim:
    """Times, quantifiers and severity."""
    often = [cue.value for cue in cues if cue.kind == "often"]
    counted = [value for value in often if not isinstance(value, str)]
    whole = Window(0.0, float("inf")) if any(cue.kind == "total" for cue in cues) else None
    window = next((cue.value for cue in cues if cue.kind == "window"), whole)
    return replace(
        claim,
        often=(counted or often or [None])[0],
        severity=next((cue.value for cue in cues if cue.kind == "severity"), None),
        window=(window.start, window.end) if window else None,
        length=window.length if window else None,
        moment=next((cue.value for cue in cues if cue.kind == "moment"), None),
        hour=next((cue.value for cue in cues if cue.kind == "hour"), None),
    )


def _stated(
    text: str, claim: SeriesClaim, of: Head, before: list[Cue], after: list[Cue], *, whole: bool
) -> SeriesClaim:
    """Direction, trend and negation."""
    states, trends = [], []
    numbered = any(cue.kind == "number" for cue in after)
    for cue in (*before, *after):
        word = text[cue.start : cue.end].lower()
        if cue.kind == "trend" and cue in before and word in _ADJECTIVAL:
            states.append(_ADJECTIVAL[word])
        elif cue.kind == "state" and word in _MOVING and any(c.kind == "change" for c in after):
            trends.append(_MOVING[word])  # "reduced by 40 %"
        elif cue.kind == "state":
            states.append(cue.value)
        elif cue.kind == "trend" and cue.value == "resolved" and numbered and "norm" not in word:
            trends.append("improving")  # "recovered to 12" of 15
        elif cue.kind == "trend":
            trends.append(cue.value)
        elif cue.kind == "change" and cue.value[0]:
            trends.append(cue.value[0])
    if len(states) > 1 and states[-1] == "normal":
        states = ["normal"]  # "low-normal"
    direction = states[0] if states else None
    negated = any(cue.kind == "denied" for cue in (*before, *after))
    if direction is None and of.directions and (whole or (trends and not numbered)):
        direction = of.directions[0] if len(of.directions) == 1 else "normal"
        if of.absent and len(of.directions) == 1:
            negated = not negated
    order = ("resolved", "rising", "falling", "improving", "worsening", "stable")
    trend = min(trends, key=order.index, default=None)
    if trend in _WORSE and len(of.directions) == 1:
        trend = _WORSE[trend][of.directions[0] == "low"]
    if trend is None:
        figures_of = [cue.value for cue in (*before, *after) if cue.kind == "number" and cue.value.trend]
        spec = variables()[of.variables[0]]
        trend = next((written.trend for written in figures_of if _made(written, spec, about=False)), None)
    return replace(claim, direction=direction, trend=trend, negated=negated)


def _numbered(text: str, claim: SeriesClaim, of: Head, before: list[Cue], after: list[Cue]) -> SeriesClaim:
    """Numbers, with the words that say what they are."""
    spec = variables()[of.variables[0]]
    hows = [cue for cue in (*before, *after) if cue.kind == "how"]
    if of.how:
        hows.append(Cue("how", -1, -1, of.how))
    numbers: list[Number] = []
    first: Number | None = None
    stated = [cue for cue in (*before, *after) if cue.kind == "number"]
    moving = claim.trend is not None and claim.trend != "stable"
    for place, cue in enumerate(stated):
        written: Written = cue.value
        about = any(c.kind == "about" and 0 <= cue.start - c.end <= 12 for c in (*before, *after))
        made = _made(written, spec, about=about or _ABOUT.search(text[cue.start : cue.end]) is not None)
        if not made:
            continue
        if of.mirrored:
            made = [Number(-n.high, -n.low, n.how) if n.low > 0 else n for n in made]
        how = _how(text, hows, stated, place)
        if written.form == "start":
            first = made[0]
            continue
        if written.form == "one":
            if units.plain(written.parts[0][1] or "").endswith(_DAILY):
                claim = replace(claim, window=(0.0, float("inf")), length=24.0)
            one = _bounded(made[0], how, claim, decade=bool(written.parts[0][2]))
            numbers.append(_total(one, written, claim, spec))
            continue
        backward = made[0].low > made[1].low  # a range is written from low to high; "1.4 to 1.2" is a change
        if written.form in ("sequence", "from", "up", "down") or (moving and written.form == "range") or backward:
            first, numbers = made[0], [*numbers, *made[1:]]
            if written.trend and how in _EXTREMES:  # "down to 3.1 (baseline 1.0)" is a fall, and wrong
                claim = replace(claim, trend="rising" if how == "highest" else "falling")
        else:
            form = "ranged" if written.extremes else "decades" if written.parts[1][2] else "within"
            numbers.append(Number(made[0].low, made[1].high, form))
        # "from 38 up to 278" may give the extremes; "from 38 down to 278" is a fall, and wrong
        if claim.trend is None and written.form in _WAYS and (backward or written.form == "down"):
            claim = replace(claim, trend=_WAYS[written.form])
    timed = claim.moment is not None or (claim.trend is None and claim.hour is not None)
    if not stated and timed and hows and hows[0].value in _EXTREMES:  # "lowest at hour 12"
        numbers.append(Number(float("-inf"), float("inf"), hows[0].value))
    return replace(claim, numbers=tuple(numbers), first=first, change=_change([*after, *before], spec))


def _made(written: Written, spec: Variable, *, about: bool) -> list[Number]:
    """The parts of a figure in the canonical unit; none where one is in a unit that the variable does not have."""
    made = [figures.number(part, "at", spec, about=about) for part in written.parts]
    known = [number for number in made if number is not None]
    if len(known) < len(made):
        return []
    if len(known) == 3 and written.form != "sequence":
        return [known[0], Number(known[1].low, known[2].high, "at")]
    return known


def _how(text: str, hows: Sequence[Cue], stated: Sequence[Cue], place: int) -> str | None:
    """What the words before a number say it is, or those after it: "90 or more", "109 on average"."""
    cue = stated[place]
    previous = stated[place - 1].end if place else -2
    following = stated[place + 1].start if place + 1 < len(stated) else len(text)
    ends = [number.end for number in stated]
    after = [how for how in hows if _AFTER.match(text, how.start) and any(0 <= how.start - end <= 2 for end in ends)]
    mine = [how for how in hows if previous < how.end <= cue.start and how not in after]
    trailing = [how for how in after if cue.end <= how.start < following]
    last = [how for how in hows if how.start >= cue.end and place == len(stated) - 1 and how.value in _EXTREMES]
    return (mine or trailing or last or [Cue("how", 0, 0, None)])[-1].value


def _bounded(number: Number, how: str | None, claim: SeriesClaim, *, decade: bool) -> Number:
    middle = (number.low + number.high) / 2
    if how in ("above", "above_event", "rising_event", "below", "below_event", "falling_event"):
        return Number(middle, middle, how)
    if how == "at_least":
        return Number(number.low, number.low, "above")
    if how == "at_most":
        return Number(number.high, number.high, "below")
    if how in ("highest", "lowest", "mean"):
        return number._replace(how=how)
    if decade and how is None and claim.trend is None:
        return number._replace(how="decade")
    return number._replace(how="at")


def _total(number: Number, written: Written, claim: SeriesClaim, spec: Variable) -> Number:
    """A volume over hours is their sum: "1200 mL over 24 h", not "10 mL/h over 24 h"."""
    how = _TOTALS.get(number.how)
    hourly = units.plain(written.parts[0][1] or "").endswith("/h")
    return number if spec.bin != "sum" or claim.window is None or hourly or how is None else number._replace(how=how)


def _change(cues: Sequence[Cue], spec: Variable) -> Change | None:
    """The amount of change: the last one stated."""
    made = None
    for cue in cues:
        if cue.kind == "change":
            stated = cue.value[1]
            made = _amount(stated, spec) if isinstance(stated, Amount) else stated
    return made


def _amount(stated: Amount, spec: Variable) -> Change | None:
    found = figures.amount(stated.written, stated.unit, spec, about=stated.about)
    if found is None:
        return None
    low, high = found
    if stated.more or stated.less:
        middle = (low + high) / 2
        low, high = (middle, float("inf")) if stated.more else (0.0, middle)
    end = figures.number((stated.written, None, ""), "at", spec) if stated.bare else None
    return Change(low, high, "amount", end)
