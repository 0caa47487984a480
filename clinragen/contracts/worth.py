"""What a site's updates were measured to be worth, as the curve alpha * log(G(A(f)) + 1)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clinragen.contracts.curve import CYCLES, FreshnessCurve, Updates
from clinragen.errors import UserError

_COLUMNS = ("frequency", "worth")
#: the largest age that is fitted, in cycles of the highest and the lowest measured frequency
_BOUNDS = (1e-2, 1e2)
_STARTS = 9


@dataclass(frozen=True)
class FittedWorth:
    """A curve fitted to measurements.

    Attributes:
        alpha: worth for each unit of log(G + 1), in the unit of the measurements (such as AUROC); 0 or more.
        curve: with the largest age that was fitted or given.
        residual: root of the mean square difference, in the unit of the measurements.
        explained: part of the variance of the measurements that the curve explains; None if all are equal.
        measurements: how many.
        at_bound: what ended at a bound of the search (``alpha``, ``age.largest``), so that the data do not settle it.
    """

    alpha: float
    curve: FreshnessCurve
    residual: float
    explained: float | None
    measurements: int
    at_bound: tuple[str, ...]

    def worth(self, frequency: np.ndarray | float) -> np.ndarray:
        """The fitted worth at a frequency."""
        return self.alpha * self.curve.log_gain(frequency)


def fit_curve(
    frequencies: Sequence[float],
    worths: Sequence[float],
    *,
    delay: float = 0.0,
    updates: Updates = "periodic",
    largest_age: float | None = None,
) -> FittedWorth:
    """Fit worth to frequency by least squares within bounds.

    For a largest age, the best alpha is in closed form; the largest age is searched between 1 % of the shortest and 100
    times the longest measured cycle, from several starts.

    Args:
        frequencies: updates per unit of time; 0 or more.
        worths: of each, what the data added (a gain in AUROC, say); may be negative, as measurements are.
        delay: from taking to arriving, in units of time.
        updates: how updates are spread in time.
        largest_age: if it is known; None fits it.

    Raises:
        UserError: too few different frequencies.
    """
    f, worth = np.asarray(frequencies, float), np.asarray(worths, float)
    positive = np.unique(f[f > 0])
    needed = 1 if largest_age is not None else 2
    if len(positive) < needed:
        raise UserError(
            f"{len(positive)} different frequencies above 0 were measured: alpha"
            f"{'' if largest_age is not None else ' and the largest age'} need {needed} or more"
        )
    cycles = (_BOUNDS[0] / positive[-1] * CYCLES[updates], _BOUNDS[1] / positive[0] * CYCLES[updates])
    at_bound: list[str] = []
    if largest_age is None:
        largest_age = _search(f, worth, cycles, delay, updates)
        if min(abs(math.log(largest_age / bound)) for bound in cycles) < 1e-3:
            at_bound.append("age.largest")
    curve = FreshnessCurve(largest_age, delay, updates)
    alpha = _alpha(curve.log_gain(f), worth)
    if alpha == 0:
        at_bound.append("alpha")
    differences = worth - alpha * curve.log_gain(f)
    spread = float(((worth - worth.mean()) ** 2).sum())
    return FittedWorth(
        alpha=alpha,
        curve=curve,
        residual=float(np.sqrt((differences**2).mean())),
        explained=1 - float((differences**2).sum()) / spread if spread > 0 else None,
        measurements=len(f),
        at_bound=tuple(at_bound),
    )


def _alpha(log_gain: np.ndarray, worth: np.ndarray) -> float:
    """The factor of least squares, 0 or more."""
    return max(float(log_gain @ worth / (log_gain @ log_gain)), 0.0)


def _search(f: np.ndarray, worth: np.ndarray, bounds: tuple[float, float], delay: float, updates: Updates) -> float:
    """The largest age of least squares within bounds, with the best alpha for each."""
    from scipy.optimize import least_squares  # of extra train; nothing else here needs it

    def differences(logarithm: np.ndarray) -> np.ndarray:
        log_gain = FreshnessCurve(math.exp(logarithm.item()), delay, updates).log_gain(f)
        return worth - _alpha(log_gain, worth) * log_gain

    low, high = np.log(bounds)
    starts = np.linspace(low, high, _STARTS + 2)[1:-1]
    fits = [
        least_squares(differences, [start], bounds=([low], [high]), xtol=1e-12, ftol=1e-12, gtol=1e-12)
        for start in starts
    ]
    return math.exp(min(fits, key=lambda fit: fit.cost).x.item())


def read_measurements(path: Path) -> tuple[list[float], list[float]]:
    """Frequencies and worths of a CSV file with these columns; others are ignored.

    Raises:
        UserError: missing, without the columns, or a value that is no number, with its line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if lacking := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise UserError(f"{path}: column '{lacking[0]}' is missing; expected a CSV file with frequency,worth")
            rows = [
                [_number(row[name], f"{path} line {reader.line_num}: {name}") for name in _COLUMNS] for row in reader
            ]
    except FileNotFoundError:
        raise UserError(f"{path} not found: expected a CSV file with the columns frequency,worth") from None
    except (IsADirectoryError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error})") from None
    if not rows:
        raise UserError(f"{path} holds no measurement: expected lines of frequency,worth")
    if any(frequency < 0 for frequency, _ in rows):
        raise UserError(f"{path}: a frequency is below 0: expected updates per unit of time")
    return [frequency for frequency, _ in rows], [worth for _, worth in rows]


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    raise UserError(f"{where} '{(text or '')[:40]}': expected a number")
