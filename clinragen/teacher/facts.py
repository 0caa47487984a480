"""What a series shows, per stay and variable: first, last, extremes, and how often outside the reference range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from clinragen.catalog import Variable, variables

#: Changes smaller than this part of the reference range are no trend.
TREND = 0.3


@dataclass(frozen=True)
class Fact:
    """One variable of one stay, seen from one side of its reference range. Canonical units, hours from intime."""

    variable: str
    direction: str  # high, low, or normal where no measurement lies outside
    count: int
    abnormal: int  # measurements on this side of the range
    first: float
    last: float
    extreme: float
    extreme_hour: float

    @property
    def spec(self) -> Variable:
        """The catalogue's entry."""
        return variables()[self.variable]

    @property
    def finding(self) -> str:
        """Node of the concept graph."""
        return f"finding:{self.variable}:{self.direction}"

    @property
    def severity(self) -> float:
        """How far the extreme lies outside the range, 0..1, in widths of the range."""
        spec = self.spec
        if self.direction == "normal":
            return 0.0
        bound = spec.high if self.direction == "high" else spec.low
        assert bound is not None  # only bounded sides give facts
        width = (spec.high - spec.low) if spec.low is not None and spec.high is not None else abs(bound)
        return math.tanh(abs(self.extreme - bound) / (width or abs(bound) or 1.0))

    @property
    def share(self) -> float:
        """Part of the measurements on this side of the range."""
        return self.abnormal / self.count

    def outside(self, value: float) -> bool:
        """Whether a value, as written, lies on this fact's side of the reference range."""
        return self.spec.direction(round(value, self.spec.decimals)) == (1 if self.direction == "high" else -1)

    @property
    def trend(self) -> int:
        """+1 when the last value is clearly above the first (as written, too), -1 when below, else 0."""
        spec = self.spec
        bound = spec.high if spec.high is not None else spec.low
        width = (spec.high - spec.low) if spec.low is not None and spec.high is not None else abs(bound or 1.0)
        change = self.last - self.first
        if abs(change) < TREND * width or spec.format(self.first) == spec.format(self.last):
            return 0
        return 1 if change > 0 else -1


def facts(series: pl.DataFrame, *, normal: bool = False) -> dict[int, list[Fact]]:
    """Facts of each stay: one per variable and side of the reference range with at least one value on that side.

    Args:
        series: columns stay_id, hour, variable, value (``schema.SERIES``).
        normal: add a fact for each variable whose values all lie within the range.
    """
    ranges = pl.DataFrame(
        [(key, spec.low, spec.high, 10.0**spec.decimals) for key, spec in variables().items()],
        schema={"variable": pl.String, "low": pl.Float64, "high": pl.Float64, "scale": pl.Float64},
        orient="row",
    )
    value = pl.col("value")
    # What counts is the value as it would be written: an INR of 1.2 is not above 1.2, though its float32 is.
    written = (value * pl.col("scale")).round(0, mode="half_away_from_zero") / pl.col("scale")
    table = (
        series.join(ranges, on="variable")
        .with_columns(value.cast(pl.Float64).round_sig_figs(6))
        .sort("stay_id", "variable", "hour")
        .group_by("stay_id", "variable", maintain_order=True)
        .agg(
            pl.len().alias("count"),
            (written > pl.col("high")).fill_null(False).sum().alias("above"),
            (written < pl.col("low")).fill_null(False).sum().alias("below"),
            (pl.col("low").is_not_null() | pl.col("high").is_not_null()).first().alias("bounded"),
            pl.col("hour").last().alias("last_hour"),
            value.first().alias("first"),
            value.last().alias("last"),
            value.max().alias("max"),
            pl.col("hour").get(value.arg_max()).alias("max_hour"),
            value.min().alias("min"),
            pl.col("hour").get(value.arg_min()).alias("min_hour"),
        )
    )
    found: dict[int, list[Fact]] = {}
    for row in table.iter_rows(named=True):
        sides = found.setdefault(row["stay_id"], [])
        common = (row["variable"], row["count"], row["first"], row["last"])
        if row["above"]:
            sides.append(_fact(*common, "high", row["above"], row["max"], row["max_hour"]))
        if row["below"]:
            sides.append(_fact(*common, "low", row["below"], row["min"], row["min_hour"]))
        if normal and not row["above"] and not row["below"] and row["bounded"]:
            sides.append(_fact(*common, "normal", 0, row["last"], row["last_hour"]))
    return found


def _fact(
    variable: str, count: int, first: float, last: float, direction: str, abnormal: int, extreme: float, hour: float
) -> Fact:
    return Fact(variable, direction, count, abnormal, first, last, extreme, float(hour))
