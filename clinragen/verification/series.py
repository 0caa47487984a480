"""Check series claims against the measurements of a stay. A claim is supported only if each of its statements holds."""

from __future__ import annotations

from clinragen.catalog import Variable, variables
from clinragen.chart.measurements import Measurements, SeriesChart
from clinragen.verification.claims import SeriesClaim, Verdict


def check(claim: SeriesClaim, chart: SeriesChart) -> Verdict:
    """The verdict of one claim.

    A term may stand for several variables: hypotension holds if the systolic or the mean pressure is low, "normal
    liver enzymes" must hold for each that was measured.
    """
    answers = [holds(claim, variables()[key], chart[key]) for key in claim.variables if key in chart]
    decided = [answer for answer in answers if answer is not None]
    if not decided:
        return Verdict.NOT_IN_CHART
    true = all(decided) if claim.of_each else any(decided)
    return Verdict.SUPPORTED if true != claim.negated else Verdict.CONTRADICTED


def holds(claim: SeriesClaim, variable: Variable, all_measured: Measurements) -> bool | None:
    """Whether the claim without its negation holds for one variable; None if the measurements cannot decide.

    One false statement makes the claim false, even if others cannot be decided.
    """
    seen = claim.scope.of(all_measured)
    if not len(seen.values):
        return None
    answers = [one.holds(variable, all_measured if one.of_all else seen) for one in claim.statements]
    if False in answers:
        return False
    return None if None in answers else True


def telling(claim: SeriesClaim, chart: SeriesChart, most: int = 4) -> list[tuple[str, float, float]]:
    """The measurements that decide a claim: first, lowest, highest and last within its scope.

    Returns:
        (variable, hour, value), by variable and hour.
    """
    rows: list[tuple[str, float, float]] = []
    for key in claim.variables:
        if key not in chart:
            continue
        seen = claim.scope.of(chart[key])
        if not len(seen.values):
            seen = chart[key]
        places = dict.fromkeys((0, int(seen.values.argmin()), int(seen.values.argmax()), len(seen.values) - 1))
        rows += [(key, float(seen.hours[i]), float(seen.values[i])) for i in sorted(places)[:most]]
    return rows
