"""How old information is when a stay is predicted: the ages of its values, the lags of sites, and weights by age.

The age of information (Kaul, Yates & Gruteser 2012) of a variable at time t is D(t) = t - u(t), where u(t) is when the
newest value by then was taken. With values at hours h_1 < ... < h_n and the prediction time T, all from the admission
to the unit,

    age      D(T) = T - h_n
    mean age 1 / (T - h_1) * integral of D(t) from h_1 to T = sum of (h_{i+1} - h_i)^2 / (2 (T - h_1)), h_{n+1} = T

A cohort keeps the hour in which a value was taken, so an age is exact to the hour: at most one too long. Dates are
shifted for each patient in MIMIC, and eICU has only years: ages within a stay are known to the hour everywhere, the age
of a whole stay only in years, from its period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window

#: Columns of :func:`ages`.
AGES = ("stay_id", "variable", "last_hour", "age_hours", "mean_age_hours", "unmeasured_hours")
_BLOCK = 20_000  # stays whose series are in memory at once
_MS_PER_HOUR = 3_600_000
_YEAR = re.compile(r"\b\d{4}\b")


def ages(cohort: Cohort) -> pl.DataFrame:
    """How old the values of each stay are at its prediction time.

    Args:
        cohort: read in blocks of stays, so that memory does not grow with its series.

    Returns:
        A row for each stay and each variable that any stay has, in their order: stay_id, variable, and in hours
        ``last_hour`` (of the newest value, from the admission to the unit), ``age_hours`` (of the newest value at the
        prediction time), ``mean_age_hours`` (its average from the first value on), and ``unmeasured_hours`` (from the
        start of the window to the first value). A variable that was not measured has null ages, and is unmeasured for
        the whole window.
    """
    window = Window.of(cohort)
    measured = pl.concat([_measured(part, window) for part in _blocks(cohort)])
    variables = pl.DataFrame({"variable": measured["variable"].unique().sort()}, schema={"variable": pl.String})
    return (
        _spans(cohort, window)
        .join(variables, how="cross")
        .join(measured, on=("stay_id", "variable"), how="left")
        .with_columns(unmeasured_hours=pl.coalesce("first_hour", "end") - pl.col("begin"))
        .with_columns(pl.col("unmeasured_hours").clip(lower_bound=0))
        .sort("stay_id", "variable")
        .select(AGES)
    )


def _blocks(cohort: Cohort) -> Iterator[Cohort]:
    """The cohort in parts that each read their own rows."""
    if len(cohort.stays) <= _BLOCK:
        yield cohort
        return
    stay_ids = cohort.stays["stay_id"].to_numpy()
    for first in range(0, len(stay_ids), _BLOCK):
        yield cohort.of_stays(stay_ids[first : first + _BLOCK])


def _spans(cohort: Cohort, window: Window) -> pl.DataFrame:
    """stay_id, and the hours at which the window of each stay begins and ends."""
    length = _hours(pl.col("prediction_time") - pl.col("intime"))
    begin = (pl.col("end") - window.hours).clip(lower_bound=0) if window.kind == "last" else pl.lit(0.0)
    return cohort.stays.select("stay_id", end=length).with_columns(begin=begin)


def _hours(duration: pl.Expr) -> pl.Expr:
    """Hours as numbers; rounded, as polars divides by multiplying, which gives 29.999999999999996 for 30 hours."""
    return (duration.dt.total_milliseconds() / _MS_PER_HOUR).round(9)


def _measured(cohort: Cohort, window: Window) -> pl.DataFrame:
    """The ages of the variables that were measured, with ``first_hour``."""
    hour, end = pl.col("hour"), pl.col("end")
    following = hour.shift(-1).over("stay_id", "variable").fill_null(end)
    return (
        cohort.series.lazy()
        .select("stay_id", "variable", hour.cast(pl.Float64))
        .join(_spans(cohort, window).lazy(), on="stay_id")
        .filter(hour <= end)
        .sort("stay_id", "variable", "hour")
        .with_columns(gap=following - hour)
        .group_by("stay_id", "variable")
        .agg(
            first_hour=hour.min(), last_hour=hour.max(), age_hours=end.first() - hour.max(),
            mean_age_hours=(pl.col("gap") ** 2).sum() / (2 * (end.first() - hour.min())),
        )
        .with_columns(pl.col("mean_age_hours").fill_nan(0.0))  # taken at the prediction time
        .collect()
    )  # fmt: skip


def by_variable(cohort: Cohort) -> pl.DataFrame:
    """The ages of :func:`ages` in brief.

    Returns:
        A row for each variable, by name: variable, ``measured`` (share of the stays), over these stays the quartiles
        ``age_25``, ``age_50`` and ``age_75`` of the age of the newest value and the median ``mean_age``, and the median
        ``unmeasured`` before the first value; all in hours.
    """
    age, present = pl.col("age_hours"), pl.col("age_hours").is_not_null()
    quartiles = {f"age_{share:.0f}": age.quantile(share / 100, "linear") for share in (25, 50, 75)}
    return (
        ages(cohort)
        .group_by("variable")
        .agg(
            measured=present.mean(),
            **quartiles,
            mean_age=pl.col("mean_age_hours").median(),
            unmeasured=pl.col("unmeasured_hours").filter(present).median(),
        )
        .sort("variable")
    )


def lags(cohort: Cohort) -> pl.DataFrame:
    """How far behind the sites of a cohort are.

    Returns:
        A row for each hospital, by name (one with null where the source does not say it): hospital, ``stays``,
        ``age_hours`` and ``mean_age_hours`` (medians over what was measured of its stays), ``measured`` (share of
        stays and variables), ``order_hours`` (median from the start of a drug to the entry of its order: above 0 where
        orders are entered afterwards; null where the source does not say when) and ``years`` (mean age of its stays,
        see :func:`years_before`; null where periods are not known). When results became available is not in a cohort:
        ``mimic-prep`` reads it to leave out what was not there at the prediction time.
    """
    places = cohort.sites.select("stay_id", "hospital").with_columns(years=pl.Series(years_before(cohort)))
    counts = places.group_by("hospital").agg(stays=pl.len(), years=pl.col("years").fill_nan(None).mean())
    values = (
        ages(cohort)
        .join(places, on="stay_id")
        .group_by("hospital")
        .agg(
            pl.col("age_hours", "mean_age_hours").median(),
            measured=pl.col("age_hours").is_not_null().mean(),
        )
    )
    order_hours = pl.DataFrame(schema={"hospital": pl.String, "order_hours": pl.Float64})
    if cohort.ordered:
        late = _hours(pl.col("entered") - pl.col("start"))
        orders = cohort.orders.filter(pl.col("kind") == "order").join(places, on="stay_id")
        order_hours = orders.group_by("hospital").agg(order_hours=late.median())
    joined = counts.join(values, on="hospital", how="left", nulls_equal=True)
    joined = joined.join(order_hours, on="hospital", how="left", nulls_equal=True)
    columns = ("hospital", "stays", "measured", "age_hours", "mean_age_hours", "order_hours", "years")
    return joined.select(columns).sort("hospital")


def years_of(cohort: Cohort) -> np.ndarray:
    """The year of each stay, the middle of its period, float64 [stays]; NaN where not known."""
    return np.array([year_of(period) for period in cohort.sites["period"]], dtype=float)


def years_before(cohort: Cohort) -> np.ndarray:
    """By how many years each stay is older than the newest ones of its cohort, float64 [stays]; NaN where not known."""
    years = years_of(cohort)
    return years if np.isnan(years).all() else np.nanmax(years) - years


def year_of(period: str | None) -> float:
    """The year in the middle of a period of ``sites.parquet``; NaN if it names none.

    >>> year_of("2014"), year_of("2008 - 2010"), year_of(None)
    (2014.0, 2009.0, nan)
    """
    years = [int(year) for year in _YEAR.findall(period or "")]
    return sum(years) / len(years) if years else float("nan")


def weights(age: np.ndarray, strength: float, *, youngest: float = 1.0) -> np.ndarray:
    """Weights by age with a mean of 1: of stays to learn from or to retrieve, or of sites to aggregate.

    With the freshness G(A) = A_max / A of an age A, the weight is log(1 + G(A)) to the power of the strength: the
    satisfaction with fresh data of arXiv 2407.00978. Strength 0 weighs all alike.

    Args:
        age: in any unit, [n], none negative; NaN where not known, which counts as the mean of the others' weights.
        strength: 0 or more.
        youngest: added to all ages, as an age of 0 would be infinitely fresh.

    >>> weights(np.array([0.0, 3.0, 9.0]), 1.0).round(2).tolist(), weights(np.array([0.0, 3.0]), 0.0).tolist()
    ([1.66, 0.87, 0.48], [1.0, 1.0])
    """
    grown = np.asarray(age, dtype=float) + youngest
    dated = np.isfinite(grown)
    raw = np.ones(len(grown))
    if dated.any():
        raw[dated] = np.log1p(grown[dated].max() / grown[dated]) ** strength
        raw[~dated] = raw[dated].mean()
    return raw / raw.mean() if len(raw) else raw
