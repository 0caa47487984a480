"""Checks of the measurements: variables that seem to be charted in two units, and drift between splits."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import polars as pl

from clinragen.catalog import Variable, variables
from mimic_prep.audit.check import Check, Field, plural
from mimic_prep.audit.cohort_tables import CohortTables

_STEP = 0.02  # width of a bin on the logarithmic scale: 2 %
_MIN_VALUES = 200
_MIN_GAP = 0.6  # modes closer than a factor of 1.8 cannot be distinguished
MIN_SHARE = 0.003  # least share of values in the second mode
_POWERS = (10.0, 100.0, 1000.0)  # shifted decimal points, and metric prefixes

MIN_DISTANCE = 0.1  # Kolmogorov-Smirnov distance that is reported
MIN_DIFFERENCE = 0.05  # difference in the share of stays with a measurement
SIGNIFICANT = 0.01  # significance level over all comparisons (Bonferroni)


class SecondMode(TypedDict):
    """A variable with a second mode where another unit would put it."""

    variable: str
    unit: str
    suspect: str
    median: float
    mode: float
    values: int
    share: float
    flagged: bool


class Drift(TypedDict):
    """A variable in one split beside the training split: means of stays, their distance, shares of stays measured."""

    variable: str
    split: str
    train_mean: float | None
    mean: float | None
    unit: str
    distance: float
    train_share: float
    share: float
    flagged: bool


def units(series: pl.LazyFrame) -> Check:
    """Variables with a second mode at the position of another unit, and a trough between the two."""
    positive = series.filter(pl.col("value") > 0)
    index = (pl.col("value").cast(pl.Float64).log() / _STEP).round().cast(pl.Int32).alias("place")
    counted = positive.group_by("variable", index).agg(pl.len().alias("values")).collect(engine="streaming")
    unit_rows: list[SecondMode] = []
    for key, variable in variables().items():
        mine = counted.filter(pl.col("variable") == key).sort("place")
        indices, counts = mine["place"].to_numpy() * _STEP, mine["values"].to_numpy()
        if counts.sum() >= _MIN_VALUES:
            unit_rows += _second_modes(variable, indices, counts)
    names = list(dict.fromkeys(row["variable"] for row in unit_rows))
    says = "No variable has a second mode where another unit of its would put it."
    if unit_rows:
        says = (
            f"{plural(len(names), 'variable')} may hold values in another unit: {', '.join(names)}. Look at the "
            "units of its rows in the raw table."
        )
    columns = (
        Field("variable", "Variable"), Field("unit", "Unit"), Field("suspect", "Suspected"),
        Field("median", "Median", "number"), Field("mode", "Second mode near", "number"),
        Field("values", "Values there", "count"), Field("share", "share", "share"),
    )  # fmt: skip
    asks = "A second mode at the place where another unit, or a slipped decimal point, would put the values."
    return Check("units", "Units are not mixed", asks, "warning" if unit_rows else "pass", says, columns, unit_rows)


def _second_modes(variable: Variable, places: np.ndarray, counts: np.ndarray) -> list[SecondMode]:
    """``places`` are sorted logarithms of values with their counts."""
    total = int(counts.sum())
    middle = float(places[np.searchsorted(np.cumsum(counts), total / 2)])
    median = float(np.exp(middle))
    candidates = {f"in {unit}": (median - offset) / scale for unit, (scale, offset) in variable.accepts.items()}
    for power in _POWERS:
        candidates |= {f"times {power:g}": median * power, f"divided by {power:g}": median / power}
    low, high = variable.plausible
    rows: list[SecondMode] = []
    for suspect, value in candidates.items():
        if not max(low, 0) < value <= high or abs(gap := float(np.log(value)) - middle) < _MIN_GAP:
            continue
        width = min(abs(gap) / 6, 0.4)

        def near(centre: float, width: float = width) -> int:
            return int(counts[np.abs(places - centre) <= width].sum())

        # a long tail falls steadily: a mode is higher than both the trough before it and what follows
        there = near(middle + gap)
        trough = min(near(middle + gap / 3), near(middle + gap / 2), near(middle + 2 * gap / 3))
        if there >= max(5, MIN_SHARE * total) and there > 3 * max(trough, 1) and there > near(middle + 4 * gap / 3):
            rows.append(
                {
                    "variable": variable.label, "unit": variable.unit, "suspect": suspect, "median": median,
                    "mode": value, "values": there, "share": there / total, "flagged": True,
                }
            )  # fmt: skip
    return rows


def drift(tables: CohortTables) -> Check:
    """Means per stay and measurement frequency of each variable, in the training split and the others."""
    means = (
        tables.series.group_by("stay_id", "variable")
        .agg(pl.col("value").cast(pl.Float64).mean())
        .collect(engine="streaming")
    )
    owned = means.join(tables.stays.select("stay_id", "split"), on="stay_id")
    sizes = dict(tables.stays["split"].value_counts().iter_rows())
    others = [name for name in ("validation", "test") if name in sizes] if "train" in sizes else []
    groups = owned.sort("stay_id").partition_by("variable", "split", as_dict=True)
    empty = owned.clear()
    drift_rows: list[Drift] = []
    tests = 2 * len(variables()) * max(len(others), 1)
    for key, variable in variables().items():
        for split in others:
            base, other = (groups.get((key, name), empty)["value"].to_numpy() for name in ("train", split))
            if not len(base) and not len(other):
                continue
            shares = len(base) / sizes["train"], len(other) / sizes[split]
            distance, chance = _distance(base, other) if len(base) and len(other) else (0.0, 1.0)
            missing = _share_chance(len(base), sizes["train"], len(other), sizes[split])
            moved = distance >= MIN_DISTANCE and chance * tests < SIGNIFICANT
            rarer = abs(shares[0] - shares[1]) >= MIN_DIFFERENCE and missing * tests < SIGNIFICANT
            drift_rows.append(
                {
                    "variable": variable.label, "split": split, "train_mean": _mean(base), "mean": _mean(other),
                    "unit": variable.unit, "distance": distance, "train_share": shares[0], "share": shares[1],
                    "flagged": moved or rarer,
                }
            )  # fmt: skip
    flagged = [row for row in drift_rows if row["flagged"]]
    drift_rows.sort(key=lambda row: (not row["flagged"], -row["distance"], row["variable"], row["split"]))
    says = "No variable differs between splits by more than chance."
    if not others:
        says = "There is no training split with another beside it: nothing to compare."
    if flagged:
        count = len({row["variable"] for row in flagged})
        says = f"{plural(count, 'variable')} with more difference between splits than chance makes."
    columns = (
        Field("variable", "Variable"), Field("split", "Split"), Field("train_mean", "Mean in training", "number"),
        Field("mean", "Mean here", "number"), Field("unit", "Unit"), Field("distance", "KS distance", "number"),
        Field("train_share", "measured, training", "share"), Field("share", "measured, here", "share"),
    )  # fmt: skip
    asks = (
        "Distribution of the stays' means (Kolmogorov-Smirnov) and share of stays measured, each split against "
        f"training; flagged at p < {SIGNIFICANT:g} over all comparisons and a difference of at least {MIN_DISTANCE:g} "
        f"or {MIN_DIFFERENCE:.0%}."
    )
    return Check("drift", "Splits are alike", asks, "warning" if flagged else "pass", says, columns, drift_rows)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _distance(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov distance and a bound of its p-value (Massart 1990)."""
    first, second = np.sort(first), np.sort(second)
    points = np.concatenate([first, second])
    below = [np.searchsorted(part, points, side="right") / len(part) for part in (first, second)]
    distance = float(np.abs(below[0] - below[1]).max())
    effective = len(first) * len(second) / (len(first) + len(second))
    return distance, min(1.0, 2 * float(np.exp(-2 * effective * distance**2)))


def _share_chance(first: int, of_first: int, second: int, of_second: int) -> float:
    """Bound of the p-value of a difference between shares (Hoeffding), valid for small samples."""
    difference = abs(first / of_first - second / of_second)
    effective = of_first * of_second / (of_first + of_second)
    return min(1.0, 2 * float(np.exp(-2 * effective * difference**2)))
