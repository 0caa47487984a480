"""Series claims against the measurements of a stay. A claim is supported only when each of its parts holds.

Nothing that is supported stays so with its direction flipped: a rise and a fall, high and low, are decided by the sign
of one and the same figure.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clinragen.catalog import Variable, variables
from clinragen.chart.measurements import Measurements as Measured
from clinragen.chart.measurements import SeriesChart as Chart
from clinragen.chart.reference_range import width
from clinragen.verify.claims import Change, Number, Often, SeriesClaim, Verdict
from clinragen.verify.times import EXACTLY

#: Part of the measurements that must agree for "persistently", "mostly" and "always", and the count for "repeatedly".
PERSISTENT, MOSTLY, ALWAYS, REPEATED = 0.7, 0.5, 0.95, 2
#: Part of the measurements that may stray while a variable still counts as normal, or as lying within a range.
STRAY = 0.1
#: Changes below these parts of the reference range are no trend, and no departure from "stable".
TREND, STABLE = 0.05, 0.3
#: Hours that "on admission" and "at the end" reach beyond the first and the last measurement.
MOMENT = 4.0
#: From so many measurements on, a trend compares the first and last third, not two single values.
MANY = 8
#: A stated total may be off by this factor: inputs and outputs are added up from charted to charted hour.
TOTAL = 1.05
#: Beyond the bound, in widths of the range: at least for "markedly", at most for "mildly".
MARKED, MILD = 0.2, 1.5


def check(claim: SeriesClaim, stay: Chart) -> Verdict:
    """The verdict of one claim; of several variables that a word may mean, the kindest ("normal": the strictest)."""
    found = [holds(claim, variables()[key], stay[key]) for key in claim.variables if key in stay]
    known = [verdict for verdict in found if verdict is not None]
    if not known:
        return Verdict.NOT_IN_CHART
    strict = claim.direction == "normal" or (claim.trend == "stable" and len(known) > 1)
    true = all(known) if strict else any(known)
    return Verdict.SUPPORTED if true != claim.negated else Verdict.CONTRADICTED


def holds(claim: SeriesClaim, spec: Variable, measured: Measured) -> bool | None:
    """Whether the claim without its negation holds of one variable; None where nothing was measured to tell."""
    seen = _within(claim, measured)
    if not len(seen.values):
        return None
    totals = [number for number in claim.numbers if number.how.endswith("total")]
    if totals:
        if not all(_total(number, claim, measured) for number in totals):
            return False
        claim = replace(claim, numbers=tuple(number for number in claim.numbers if number not in totals))
        if not (claim.numbers or claim.trend or claim.direction):
            return True
    if claim.trend is not None or claim.first is not None or claim.change is not None:
        return _moves(claim, spec, seen)
    sides = _sides(claim, spec, seen.values)
    extreme = [number for number in claim.numbers if number.how in ("highest", "lowest")]
    if claim.hour is not None and not extreme:
        near = _near(claim, seen.hours)
        if not near.any():
            return None
        seen, sides = Measured(seen.hours[near], seen.values[near]), sides[near]
    agree = _state(claim, sides)
    verdicts = [_extreme(claim, number, seen) for number in extreme]
    if extreme and claim.direction in ("high", "low"):
        verdicts.append(bool(_state(claim, sides).any()))
    rest = [number for number in claim.numbers if number not in extreme]
    for number in rest:
        if number.how == "mean":
            verdicts.append(_mean(number, spec, seen, claim.length))
        elif claim.length is not None and claim.often is None and number.how in ("above", "below"):
            verdicts.append(_stretch(_meets(number, spec, seen), seen.hours, claim.length))
        else:
            apart = claim.direction == "normal" or number.how in ("within", "ranged", "decade", "decades")
            verdicts.append(_often(claim, (True if apart else agree) & _meets(number, spec, seen), number, spec))
            if apart and claim.direction not in (None, "normal"):  # "raised at 2.0 to 2.6": most of them are
                verdicts.append(bool(agree.mean() >= MOSTLY))
    if (not claim.numbers or claim.direction == "normal") and claim.direction is not None:
        verdicts.append(_often(claim, agree, None, spec))
    return all(verdicts) and _severe(claim, spec, seen)


def _within(claim: SeriesClaim, measured: Measured) -> Measured:
    """The measurements that the claim is about."""
    hours, keep = measured.hours, np.ones(len(measured.hours), dtype=bool)
    if claim.window is not None:
        start, end = claim.window
        start = hours[-1] + start if start < 0 else start
        keep &= (hours >= start - EXACTLY / 2) & (hours <= end + EXACTLY / 2)
    if claim.moment is not None and claim.trend is None and claim.first is None:
        later = hours > hours[0]
        keep &= {"first": hours <= hours[0] + MOMENT, "last": hours >= hours[-1] - MOMENT, "later": later}[claim.moment]
    return Measured(hours[keep], measured.values[keep])


def _sides(claim: SeriesClaim, spec: Variable, values: np.ndarray) -> np.ndarray:
    """-1, 0 or 1 for each value: below, within or above the range. "Normal" is what would be written as normal."""
    exact = spec.decimals if claim.direction == "normal" else spec.decimals + 3
    return np.array([spec.direction(round(float(value), exact)) for value in values])


def _state(claim: SeriesClaim, sides: np.ndarray) -> np.ndarray:
    wanted = {"high": sides > 0, "low": sides < 0, "normal": sides == 0, "abnormal": sides != 0}
    return wanted[claim.direction] if claim.direction is not None else np.ones(len(sides), dtype=bool)


def _meets(number: Number, spec: Variable, seen: Measured) -> np.ndarray:
    """Where a measurement is what the number says."""
    values = seen.values
    if number.how == "rising_event":  # it crossed the bound, or rose further above it
        return (values > number.low) & (values > np.minimum.accumulate(values) if len(values) > 1 else True)
    if number.how == "falling_event":
        return (values < number.high) & (values < np.maximum.accumulate(values) if len(values) > 1 else True)
    if number.how.startswith("above"):
        return values > number.low - (1e-6 if number.how == "above" and number.low != number.high else 0)
    if number.how.startswith("below"):
        return values < number.high
    slack = 0.5 * 10.0**-spec.decimals  # a value between two digits may be rounded either way
    if number.how in ("within", "ranged", "decade", "decades"):
        return (values >= number.low - slack) & (values <= number.high + slack)
    return (values >= number.low) & (values <= number.high)


def _often(claim: SeriesClaim, agree: np.ndarray, number: Number | None, spec: Variable) -> bool:
    """Whether enough of the measurements agree for how often the claim says they do."""
    count, share = int(agree.sum()), float(agree.mean())
    often = claim.often
    if isinstance(often, Often):
        return bool(often.low <= (count if often.kind == "count" else share) <= often.high)
    if often == "always":
        return share >= (1.0 if number is not None and number.how in ("above", "below") else ALWAYS)
    if often == "mostly":
        return share >= MOSTLY
    if often == "persistently":
        return share >= (1.0 - STRAY if number is not None and number.how in ("above", "below") else PERSISTENT)
    if often == "repeatedly":
        return count >= REPEATED
    if often == "sometimes":
        return count >= 1
    if number is None:
        return share >= 1.0 - STRAY if claim.direction == "normal" else count >= 1
    if number.how in ("within", "ranged"):
        return share >= 1.0 - STRAY
    if number.how in ("decade", "decades"):
        few = number.how == "decade" and len(agree) < MANY  # one of five is as much as a quarter
        return count >= 1 if few else share >= (0.25 if number.how == "decade" else MOSTLY)
    if number.how in ("above", "below") and claim.direction is None and not claim.negated and _usual(number, spec):
        return share >= 1.0 - STRAY  # "MAP above 65": a state, not something that happened once
    return count >= 1


def _stretch(agree: np.ndarray, hours: np.ndarray, length: float) -> bool:
    """Whether the measurements agree over some stretch of so many hours: "below 65 for 3 hours"."""
    ends = np.searchsorted(hours, hours + length - 1e-6)
    fits = (hours + length <= hours[-1] + 1.0) | (hours == hours[0])
    return any(fits[i] and agree[i:end].mean() >= 1.0 - STRAY for i, end in enumerate(ends))


def _usual(number: Number, spec: Variable) -> bool:
    """Whether values of the reference range meet the bound."""
    inside = [bound for bound in (spec.low, spec.high) if bound is not None]
    return any(bound > number.low if number.how == "above" else bound < number.high for bound in inside)


def _extreme(claim: SeriesClaim, number: Number, seen: Measured) -> bool:
    values, hours = seen.values, seen.hours
    best = values.max() if number.how == "highest" else values.min()
    if not number.low <= best <= number.high:
        return False
    at = hours[values == best]
    return bool(_near(claim, at).any())


def _near(claim: SeriesClaim, hours: np.ndarray) -> np.ndarray:
    """Which hours are the stated one; all, where none is stated."""
    if claim.hour is None:
        return np.ones(len(hours), dtype=bool)
    return np.abs(hours - claim.hour[0]) <= claim.hour[1]


def _mean(number: Number, spec: Variable, seen: Measured, length: float | None) -> bool:
    """Whether mean or median, of all or of some stretch of the stated length, is what the number says."""
    slack = 0.05 * width(spec)
    ends = np.searchsorted(seen.hours, seen.hours + (length or np.inf) - 1e-6)
    parts = [seen.values, *(seen.values[i:end] for i, end in enumerate(ends) if length is not None)]
    middles = [middle for part in parts for middle in (part.mean(), np.median(part))]
    return any(number.low - slack <= middle <= number.high + slack for middle in middles)


def _total(number: Number, claim: SeriesClaim, measured: Measured) -> bool:
    """Whether the sum over the hours, or over some stretch of the stated length, is what the number says.

    The first 6 hours are those that begin at 0 to 5; people also count the one that begins at 6.
    """
    hours = measured.hours
    sums = np.concatenate([[0.0], np.cumsum(measured.values)])
    start, end = claim.window or (0.0, float("inf"))
    if claim.length is not None:
        begins, stops = np.arange(len(hours)), np.searchsorted(hours, hours + claim.length - 1e-6)
        if number.how != "above_total":  # not of a stretch that the record cuts short
            begins, stops = (
                side[(hours + claim.length <= hours[-1] + 1.0) | (hours == hours[0])] for side in (begins, stops)
            )
    elif start < 0:
        begins = np.searchsorted(hours, [hours[-1] + start + 1.0, hours[-1] + start])
        stops = np.array([len(hours)] * 2)
    else:
        begins = np.searchsorted(hours, [start, start])
        stops = np.array([np.searchsorted(hours, end), np.searchsorted(hours, end, side="right")])
    totals = sums[stops] - sums[begins]
    if number.how == "above_total":
        return bool((totals > number.low).any())
    if number.how == "below_total":
        return bool((totals < number.high).any())
    return bool(((totals >= number.low / TOTAL) & (totals <= number.high * TOTAL)).any())


def _severe(claim: SeriesClaim, spec: Variable, seen: Measured) -> bool:
    if claim.severity is None or claim.direction not in ("high", "low", "abnormal"):
        return True
    beyond = 0.0
    if claim.direction != "low" and spec.high is not None:
        beyond = max(beyond, float(seen.values.max() - spec.high) / max(width(spec), 0.5 * abs(spec.high)))
    if claim.direction != "high" and spec.low is not None:
        beyond = max(beyond, float(spec.low - seen.values.min()) / width(spec))
    return beyond <= MILD if claim.severity == "mild" else beyond >= MARKED


def _moves(claim: SeriesClaim, spec: Variable, seen: Measured) -> bool | None:
    """Whether the change holds, from the stated or first value to the stated or last one."""
    values = seen.values
    if len(values) < 2:
        return None
    if claim.trend == "stable":
        return _stable(claim, spec, seen)
    course = values
    if claim.trend in ("improving", "worsening", "resolved"):
        course = np.array([_outside(value, spec, claim) for value in values])
    ends = [number for number in claim.numbers if number.how in ("at", "highest", "lowest", "decade")]
    ordered = [claim.first, *ends] if claim.first is not None else ends
    sign = {"rising": 1, "worsening": 1, "falling": -1, "improving": -1, "resolved": -1, None: 0}[claim.trend]
    others = [number for number in claim.numbers if number not in ends]
    if any(not _often(claim, _meets(number, spec, seen), number, spec) for number in others if number.how != "mean"):
        return False
    if claim.direction is not None and claim.trend != "resolved":
        sides = _sides(claim, spec, values)
        agree = _state(claim, sides)
        if not (agree.mean() >= 1.0 - STRAY if claim.direction == "normal" else agree.any()):
            return False
    if claim.trend == "resolved" and (course[-1] != 0 or course.max() == 0):
        return False
    if len(ordered) >= 2:
        return _passes(ordered, course, seen, sign, spec, claim)
    if ordered and claim.first is None:
        return _arrives(ordered[0], course, seen, sign, spec, claim)
    if ordered:
        begins = np.flatnonzero(_meets(ordered[0], spec, seen))
        if not len(begins):
            return False
        ends_at = range(begins[0] + 1, len(values)) if claim.change else [len(values) - 1]
        return any(
            _signed(course[end] - course[begins[0]], sign)
            and _amounts(claim, spec, float(values[begins[0]]), float(values[end]))
            for end in ends_at
        )
    if claim.trend == "resolved":
        return True
    if claim.change is not None:
        return _changes(claim, claim.change, spec, seen, sign)
    bounded = [number for number in others if number.how in ("above", "below") and claim.often is None]
    if sign and bounded:  # "climbed to above 5": once, by a rise
        reached = np.logical_and.reduce([_meets(number, spec, seen) for number in bounded])
        if any(_approach(course, int(place)) == sign for place in np.flatnonzero(reached)):
            return True
    step = TREND * width(spec) if claim.trend in ("rising", "falling") else 1e-9
    if sign and sign * _drift(course) < max(step, 0.0) - 1e-9:
        return False
    return not (sign and sign * _drift(course) <= 0)


def _changes(claim: SeriesClaim, change: Change, spec: Variable, seen: Measured, sign: int) -> bool:
    """Whether a change of the stated amount took place: from the first to the last, or the greatest of its sign."""
    values = seen.values
    if change.end is not None and sign and _arrives(change.end, values, seen, sign, spec, claim):
        return True
    spans = [(float(values[0]), float(values[-1])), *(_swing(values, way) for way in ([sign] if sign else [1, -1]))]
    return any(_signed(end - start, sign) and _amounts(claim, spec, start, end) for start, end in spans)


def _stable(claim: SeriesClaim, spec: Variable, seen: Measured) -> bool:
    values = seen.values
    low, high = np.quantile(values, [0.1, 0.9]) if len(values) >= MANY else (values.min(), values.max())
    level = float(np.median(values))
    slack = STABLE * width(spec)
    if spec.high is not None and level > spec.high:
        slack = max(slack, 0.1 * level)
    calm = bool(high - low <= 2 * slack and abs(_drift(values)) <= slack)
    numbers = [
        _often(claim, _meets(number, spec, seen), number, spec) for number in claim.numbers if number.how != "mean"
    ]
    sides = _sides(claim, spec, values)
    agree = _state(claim, sides)
    return calm and all(numbers) and (claim.direction is None or bool(agree.mean() >= PERSISTENT))


def _drift(course: np.ndarray) -> float:
    """The change over the measurements: last minus first, or of many the means of the last and first third."""
    if len(course) < MANY:
        return float(course[-1] - course[0])
    third = len(course) // 3
    return float(course[-third:].mean() - course[:third].mean())


def _outside(value: float, spec: Variable, claim: SeriesClaim) -> float:
    """How far a value lies outside the reference range, on the side that the claim is about if it names one."""
    above = max(0.0, value - spec.high) if spec.high is not None and claim.direction != "low" else 0.0
    below = max(0.0, spec.low - value) if spec.low is not None and claim.direction != "high" else 0.0
    return round(max(above, below), spec.decimals + 3)


def _passes(
    ordered: list[Number], course: np.ndarray, seen: Measured, sign: int, spec: Variable, claim: SeriesClaim
) -> bool | None:
    """Whether the stated values occur in this order, and the last lies to the stated side of the first."""
    at, start = -1, -1
    for place, number in enumerate(ordered):
        later = [i for i in np.flatnonzero(_meets(number, spec, seen)) if i > at]
        if not later:
            break
        at = int(later[-1] if place == len(ordered) - 1 and place else later[0])
        start = at if place == 0 else start
    else:
        if not _near(claim, seen.hours)[at]:
            return False
        if any(not _extreme(claim, number, seen) for number in ordered if number.how in ("highest", "lowest")):
            return False
        if claim.trend in ("improving", "worsening") and course[at] == course[start] == 0:
            return None  # from normal to normal: for better or worse cannot be said
        return _signed(course[at] - course[start], sign) and _amounts(claim, spec, seen.values[start], seen.values[at])
    if claim.trend is None and len(ordered) == 2:  # "from 38 up to 278": the extremes, in whatever order
        first, last = sorted(ordered)
        return first.low <= seen.values.min() <= first.high and last.low <= seen.values.max() <= last.high
    return False


def _arrives(end: Number, course: np.ndarray, seen: Measured, sign: int, spec: Variable, claim: SeriesClaim) -> bool:
    """Whether a stated value is reached by a change of the stated sign."""
    if end.how in ("highest", "lowest") and not _extreme(claim, end, seen):
        return False
    values = seen.values
    if end.how in ("highest", "lowest"):
        places = np.flatnonzero(values == (values.max() if end.how == "highest" else values.min()))
    else:
        places = np.flatnonzero(_meets(end, spec, seen))
    places = places[_near(claim, seen.hours)[places]]
    return any(_approach(course, int(place)) == sign for place in places)


def _approach(course: np.ndarray, place: int) -> int:
    """Whether a value was reached by a rise (1) or a fall (-1): 0 for the first value and where neither shows.

    It ends a fall when nothing since the last peak before it was lower, a rise when nothing since the last trough was
    higher; otherwise the greater of the two differences decides.
    """
    before, value = course[:place], course[place]
    if not len(before):
        return 0
    peak, trough = place - 1 - int(before[::-1].argmax()), place - 1 - int(before[::-1].argmin())
    fell = value < before[peak] and bool((course[peak:place] >= value).all())
    rose = value > before[trough] and bool((course[trough:place] <= value).all())
    if fell != rose:
        return 1 if rose else -1
    return int(np.sign((value - before.min()) - (before.max() - value)))


def _signed(difference: float, sign: int) -> bool:
    return bool(difference * sign > 0 if sign else True)


def _swing(values: np.ndarray, sign: int) -> tuple[float, float]:
    """The greatest change of a sign: from where to where."""
    if sign >= 0:
        lowest = np.minimum.accumulate(values)
        at = int(np.argmax(values - lowest))
        return float(lowest[at]), float(values[at])
    highest = np.maximum.accumulate(values)
    at = int(np.argmax(highest - values))
    return float(highest[at]), float(values[at])


def _amounts(claim: SeriesClaim, spec: Variable, start: float, end: float) -> bool:
    """Whether a change is as great as stated."""
    if claim.change is None:
        return True
    low, high, kind, _ = claim.change
    if kind == "amount":
        return low <= abs(end - start) <= high
    if kind == "percent" and spec.unit == "%" and 100 * low <= abs(end - start) <= 100 * high:
        return True
    if start == 0 or end == 0:
        return False
    if kind == "factor":
        return low <= max(start, end) / min(start, end) <= high
    return low <= abs(end - start) / abs(start) <= high


def telling(claim: SeriesClaim, stay: Chart, most: int = 4) -> list[tuple[str, float, float]]:
    """The measurements that a claim stands or falls with: first, lowest, highest and last within its hours.

    Returns:
        (variable, hour, value), by variable and hour.
    """
    rows: list[tuple[str, float, float]] = []
    for key in claim.variables:
        if key not in stay:
            continue
        seen = _within(claim, stay[key])
        if not len(seen.values):
            seen = stay[key]
        places = dict.fromkeys((0, int(seen.values.argmin()), int(seen.values.argmax()), len(seen.values) - 1))
        rows += [(key, float(seen.hours[i]), float(seen.values[i])) for i in sorted(places)[:most]]
    return rows
