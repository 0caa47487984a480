"""Series claims against the measurements of a stay. A claim is supported only when each of its parts holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clinragen.catalog import Variable, variables
from clinragen.verify.claims import ClaimReader, Number, SeriesClaim, Verdict

#: Part of the measurements outside the range from which "persistently" holds, and the count for "repeatedly".
PERSISTENT = 0.7
REPEATED = 2
#: A stated hour may be off by so much: bins are an hour wide.
HOURS = 1.0
#: Part of the measurements that may stray while a variable still counts as normal or stable.
STRAY = 0.1


@dataclass(frozen=True)
class Measured:
    """One variable of one stay: hours from intime (ascending) and values in the canonical unit."""

    hours: np.ndarray
    values: np.ndarray


#: variable -> its measurements.
Chart = Mapping[str, Measured]


def chart(rows: Mapping[str, list[tuple[float, float]]]) -> dict[str, Measured]:
    """A chart from variable -> [(hour, value)]. Values are taken at six digits: a float32 1.2 is 1.2."""
    made: dict[str, Measured] = {}
    for variable, cells in rows.items():
        ordered = sorted(cells)
        if ordered:
            made[variable] = Measured(
                np.array([c[0] for c in ordered]), np.array([float(f"{c[1]:.6g}") for c in ordered])
            )
    return made


def verify(text: str, stay: Chart, reader: ClaimReader) -> list[tuple[SeriesClaim, Verdict]]:
    """Every series claim of a text with its verdict, in reading order."""
    return [(claim, check(claim, stay)) for claim in reader.series(text)]


def check(claim: SeriesClaim, stay: Chart) -> Verdict:
    """The verdict of one claim; of several variables that a word may mean, the kindest."""
    verdicts = [_check(claim, variables()[key], stay[key]) for key in claim.variables if key in stay]
    if not verdicts:
        return Verdict.NOT_IN_CHART
    return Verdict.SUPPORTED if any(verdicts) else Verdict.CONTRADICTED


def _check(claim: SeriesClaim, spec: Variable, measured: Measured) -> bool:
    sides = np.array([spec.direction(value) for value in measured.values])
    return (
        _state(claim, sides)
        and _change(claim, measured, spec)
        and (claim.number is None or claim.trend is not None or _stated(claim, claim.number, measured, spec))
    )


def _state(claim: SeriesClaim, sides: np.ndarray) -> bool:
    if claim.direction is None:
        return True
    if claim.direction == "normal":
        return bool(np.mean(sides != 0) <= STRAY)
    wanted = sides == (1 if claim.direction == "high" else -1)
    if claim.often == "never":
        return not wanted.any()
    if claim.often == "persistently":
        return bool(wanted.mean() >= PERSISTENT)
    if claim.often == "repeatedly":
        return bool(wanted.sum() >= REPEATED)
    return bool(wanted.any())


def _change(claim: SeriesClaim, measured: Measured, spec: Variable) -> bool:
    """Whether the trend holds, from the stated or first value to the stated or last one."""
    if claim.trend is None and claim.start is None:
        return True
    values = measured.values
    begins = _matches(claim.start, values, spec) if claim.start else np.arange(len(values)) == 0
    ends = _matches(claim.number, values, spec) if claim.number else np.arange(len(values)) == len(values) - 1
    if not begins.any() or not ends.any():
        return False
    first, last = int(np.flatnonzero(begins)[0]), int(np.flatnonzero(ends)[-1])
    if claim.trend == "stable":
        return abs(values[last] - values[first]) <= _width(spec) / 2
    if last <= first:
        return False
    difference = values[last] - values[first]
    if claim.trend is None:  # "from 1.1 to 3.2" alone
        return True
    return bool(difference > 0 if claim.trend == "rising" else difference < 0)


def _stated(claim: SeriesClaim, number: Number, measured: Measured, spec: Variable) -> bool:
    values = measured.values
    if claim.hour is not None:
        near = np.abs(measured.hours - claim.hour) <= HOURS
        if not (near & _matches(number, values, spec)).any():
            return False
    if number.how == "above":
        return bool((values > number.value).any())
    if number.how == "below":
        return bool((values < number.value).any())
    found = _matches(number, values, spec)
    if number.how == "highest":
        return bool(found[int(np.argmax(values))])
    if number.how == "lowest":
        return bool(found[int(np.argmin(values))])
    if claim.direction in ("high", "low"):  # "high lactate of 4.1": that very value must be high
        found &= np.array([spec.direction(value) == (1 if claim.direction == "high" else -1) for value in values])
    return bool(found.any())


def _matches(number: Number, values: np.ndarray, spec: Variable) -> np.ndarray:
    """Where a measurement rounds to the stated number, at its last digit or the catalogue's, whichever is coarser."""
    tolerance = max(number.step, 10.0**-spec.decimals) / 2
    return np.abs(values - number.value) <= tolerance + 1e-4 * np.maximum(1.0, np.abs(values))


def _width(spec: Variable) -> float:
    if spec.low is not None and spec.high is not None and spec.high > spec.low:
        return spec.high - spec.low
    return abs(spec.high if spec.high is not None else spec.low or 1.0) or 1.0
