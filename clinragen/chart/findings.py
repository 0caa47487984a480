"""Findings of the series, by stay and variable: first, last, extremes, and how often outside the reference range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

import polars as pl

from clinragen.catalog import Variable, variables
from clinragen.chart.reference_range import width

#: Changes smaller than this fraction of the reference range are no trend.
TREND = 0.3
#: Charted every hour, so single values outside the range are common and mean little.
HOURLY = ("vital", "ventilation", "coma", "output", "treatment")
#: Redundant variables: parts of a sum, and measures of the same thing. One of them is enough.
_FAMILIES = (
    ("gcs_total", "gcs_motor", "gcs_verbal", "gcs_eye"),
    ("systolic_bp", "mean_bp", "diastolic_bp"),
    ("hemoglobin", "hematocrit"),
    ("bilirubin_total", "bilirubin_direct"),
    ("calcium", "ionized_calcium"),
    ("ldl", "cholesterol_total"),
    ("peak_pressure", "plateau_pressure", "mean_airway_pressure"),
)


@dataclass(frozen=True)
class Finding:
    """One variable of one stay on one side of its reference range. Canonical units, hours from intime.

    Attributes:
        variable: catalogue key.
        direction: ``normal`` where no measurement lies outside the range.
        count: number of measurements.
        abnormal: how many of them lie on this side of the range.
        first, last: values of the first and the last measurement.
        extreme, extreme_hour: the value farthest on this side (the last one, if normal), and its hour.
    """

    variable: str
    direction: Literal["high", "low", "normal"]
    count: int
    abnormal: int
    first: float
    last: float
    extreme: float
    extreme_hour: float

    @property
    def spec(self) -> Variable:
        """The catalogue's entry."""
        return variables()[self.variable]

    @property
    def concept(self) -> str:
        """Node of the concept graph."""
        return f"finding:{self.variable}:{self.direction}"

    @property
    def severity(self) -> float:
        """Distance of the extreme outside the range, in widths of the range, limited to 0..1."""
        spec = self.spec
        if self.direction == "normal":
            return 0.0
        bound = spec.high if self.direction == "high" else spec.low
        assert bound is not None  # only sides with a bound give findings
        return math.tanh(abs(self.extreme - bound) / width(spec))

    @property
    def share(self) -> float:
        """Share of the measurements on this side of the range."""
        return self.abnormal / self.count

    def outside(self, value: float) -> bool:
        """Whether a value, as written, lies on this side of the reference range."""
        return self.spec.direction(self.spec.written(value)) == (1 if self.direction == "high" else -1)

    @property
    def reliability(self) -> float:
        """Reliability by the number of values, 0..1: a single value of an hourly variable counts little."""
        return 0.15 + 0.85 * self.share if self.spec.kind in HOURLY else 0.5 + 0.5 * self.share

    @property
    def weight(self) -> float:
        """Importance of the finding, 0..1, by severity and frequency."""
        return (0.35 + 0.65 * self.severity) * self.reliability

    @property
    def kin(self) -> tuple[str, ...]:
        """The variables that are redundant with this one, itself included."""
        return next((family for family in _FAMILIES if self.variable in family), (self.variable,))

    @property
    def trend(self) -> int:
        """+1 when the last value is clearly above the first (as written, too), -1 when below, else 0."""
        return trend(self.spec, self.first, self.last)


def trend(spec: Variable, first: float, last: float) -> int:
    """+1 when the last value of a variable is clearly above the first (as written, too), -1 when below, else 0.

    >>> trend(variables()["potassium"], 4.0, 4.4), trend(variables()["potassium"], 4.0, 4.5)
    (0, 1)
    """
    change = last - first
    if abs(change) < TREND * width(spec) or spec.format(first) == spec.format(last):
        return 0
    return 1 if change > 0 else -1


class _Course(TypedDict):
    """One variable of one stay: how many of its values lie above and below the range, and which mark its course."""

    stay_id: int
    variable: str
    count: int
    above: int
    below: int
    first: float
    last: float
    last_hour: float
    max: float
    max_hour: float
    min: float
    min_hour: float


def findings(series: pl.DataFrame, *, normal: bool = False) -> dict[int, list[Finding]]:
    """Findings of each stay: one per variable and side of the reference range with at least one value on that side.

    Args:
        series: columns stay_id, hour, variable, value (``schema.SERIES``).
        normal: add one for each variable whose values all lie within the range.
    """
    value = pl.col("value")
    rows = series.filter(pl.col("variable").is_in(list(variables())))
    rows = rows.with_columns(value.cast(pl.Float64).round_sig_figs(6))
    table = (
        rows.join(_sides_of_values(rows), on=["variable", "value"])
        .sort("stay_id", "variable", "hour")
        .group_by("stay_id", "variable", maintain_order=True)
        .agg(
            pl.len().alias("count"),
            (pl.col("side") > 0).sum().alias("above"),
            (pl.col("side") < 0).sum().alias("below"),
            pl.col("hour").last().alias("last_hour"),
            value.first().alias("first"),
            value.last().alias("last"),
            value.max().alias("max"),
            pl.col("hour").get(value.arg_max()).alias("max_hour"),
            value.min().alias("min"),
            pl.col("hour").get(value.arg_min()).alias("min_hour"),
        )
    )
    stays: dict[int, list[Finding]] = {}
    for row in cast(Iterator[_Course], table.iter_rows(named=True)):
        stays.setdefault(row["stay_id"], []).extend(_sides(row, normal=normal))
    return stays


def normal(findings: Iterable[Finding]) -> list[Finding]:
    """Those whose values all lie within the reference range."""
    return [finding for finding in findings if finding.direction == "normal"]


def _sides_of_values(rows: pl.DataFrame) -> pl.DataFrame:
    """variable, value, side: the side of the reference range on which each distinct value of a variable lies.

    The value counts as it would be written: an INR of 1.2 is not above 1.2, although its float32 is.
    """
    distinct = rows.select("variable", "value").unique()
    specs = variables()
    sides = [specs[key].direction(specs[key].written(value)) for key, value in distinct.iter_rows()]
    return distinct.with_columns(side=pl.Series(sides, dtype=pl.Int8))


def _sides(row: _Course, *, normal: bool) -> Iterator[Finding]:
    """The findings of one variable of one stay."""

    def seen(direction: Literal["high", "low", "normal"], abnormal: int, extreme: float, hour: float) -> Finding:
        common = row["count"], abnormal, row["first"], row["last"]
        return Finding(row["variable"], direction, *common, extreme, float(hour))

    if row["above"]:
        yield seen("high", row["above"], row["max"], row["max_hour"])
    if row["below"]:
        yield seen("low", row["below"], row["min"], row["min_hour"])
    spec = variables()[row["variable"]]
    bounded = spec.low is not None or spec.high is not None
    if normal and not row["above"] and not row["below"] and bounded:
        yield seen("normal", 0, row["last"], row["last_hour"])
