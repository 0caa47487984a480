"""Serialises the series of a stay (the paper's T*): a line of text per variable, against reference ranges or a band."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import polars as pl

from clinragen.catalog import Variable, variables
from clinragen.chart.measurements import Cells
from clinragen.chart.reference_range import width

#: variable -> (low, high); the paper's notion of normal.
Bands = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class SeriesLine:
    """One variable of one stay as a line of text.

    Attributes:
        severity: 0 if all is normal, else the distance outside the range in its widths, mapped to 0..1.
        directions: sides of the range with values: high, low.
    """

    variable: str
    text: str
    severity: float
    directions: tuple[str, ...]


def serialized(cells: Cells, bands: Bands | None = None) -> list[SeriesLine]:
    """A line for each measured variable, the most abnormal first.

    Args:
        cells: rows ascending in hours.
        bands: ranges of normal values, in place of the reference ranges.
    """
    lines = [_line(variables()[key], rows, bands) for key, rows in cells.items() if rows]
    return sorted(lines, key=lambda line: (-line.severity, line.variable))


def bands(series: pl.DataFrame) -> Bands:
    """The statistical band of each variable, Tukey's fences: quartiles widened by 1.5 times their distance.

    Args:
        series: columns variable and value, of the training stays.
    """
    value = pl.col("value").cast(pl.Float64)
    table = series.group_by("variable").agg(value.quantile(0.25).alias("lower"), value.quantile(0.75).alias("upper"))
    return {
        key: (lower - 1.5 * (upper - lower), upper + 1.5 * (upper - lower)) for key, lower, upper in table.iter_rows()
    }


def _line(spec: Variable, rows: list[tuple[float, float]], bands: Bands | None) -> SeriesLine:
    low, high = bands.get(spec.key, (None, None)) if bands is not None else (spec.low, spec.high)
    values = [round(value, spec.decimals) for _, value in rows]
    above = sum(high is not None and value > high for value in values)
    below = sum(low is not None and value < low for value in values)
    name = spec.label.partition(" (")[0]
    head = f"{name} ({_range(spec, low, high)})" if low is not None or high is not None else name
    body = _once(spec, rows[0][0], values[0], above, below) if len(rows) == 1 else _course(spec, rows, above, below)
    beyond = [max(values) - high] if above and high is not None else []
    beyond += [low - min(values)] if below and low is not None else []
    severity = math.tanh(max(beyond) / width(replace(spec, low=low, high=high))) if beyond else 0.0
    return SeriesLine(spec.key, f"{head}: {body}", severity, ("high",) * bool(above) + ("low",) * bool(below))


def _once(spec: Variable, hour: float, value: float, above: int, below: int) -> str:
    side = "above" if above else "below" if below else "within"
    return f"{spec.format(value)} at hour {hour:.0f}, {side} the range, measured once"


def _course(spec: Variable, rows: list[tuple[float, float]], above: int, below: int) -> str:
    """How many measurements lie outside the range, first and last values, and extremes with their hours."""
    parts = [f"{_times(above)} above"] * bool(above) + [f"{_times(below)} below"] * bool(below)
    state = f"{' and '.join(parts)} the range of {len(rows)}" if parts else f"within the range all {len(rows)}"
    ends = f"first {_plain(spec, rows[0][1])}, last {_plain(spec, rows[-1][1])}"
    lowest, highest = min(rows, key=lambda row: row[1]), max(rows, key=lambda row: row[1])
    reach = f"lowest {_plain(spec, lowest[1])} at hour {lowest[0]:.0f}, highest {_plain(spec, highest[1])}"
    return f"{state} measurements; {ends}, {reach} at hour {highest[0]:.0f}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _plain(spec: Variable, value: float) -> str:
    return f"{value:.{spec.decimals}f}"


def _range(spec: Variable, low: float | None, high: float | None) -> str:
    """The range as text, placed before the measurements.

    >>> _range(variables()["creatinine"], None, 1.2)
    'range up to 1.2 mg/dL'
    """
    if low is not None and high is not None:
        return f"range {_plain(spec, low)} to {spec.format(high)}"
    return f"range up to {spec.format(high)}" if high is not None else f"range from {spec.format(low or 0.0)}"
