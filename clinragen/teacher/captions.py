"""T*: the series of a stay in words, variable by variable, against reference ranges or a statistical band."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from clinragen.catalog import Variable, variables

#: variable -> [(hour, value)], ascending in hours from intime, canonical units.
Cells = dict[str, list[tuple[float, float]]]
#: variable -> (low, high); the paper's notion of normal.
Bands = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Caption:
    """One variable in words. ``severity``: 0 where all is normal, else how far out, in widths of the range."""

    variable: str
    text: str
    severity: float
    directions: tuple[str, ...]


def captions(cells: Cells, bands: Bands | None = None) -> list[Caption]:
    """Captions of all measured variables, the most abnormal first."""
    made = [_caption(variables()[key], rows, bands) for key, rows in cells.items() if rows]
    return sorted(made, key=lambda caption: (-caption.severity, caption.variable))


def bands(series: pl.DataFrame) -> Bands:
    """The statistical band of each variable, Tukey's fences: quartiles widened by 1.5 times their distance.

    Args:
        series: columns variable and value, of the stays that may be learned from.
    """
    value = pl.col("value").cast(pl.Float64)
    table = series.group_by("variable").agg(value.quantile(0.25).alias("lower"), value.quantile(0.75).alias("upper"))
    return {
        key: (lower - 1.5 * (upper - lower), upper + 1.5 * (upper - lower)) for key, lower, upper in table.iter_rows()
    }


def _caption(spec: Variable, rows: list[tuple[float, float]], bands: Bands | None) -> Caption:
    low, high = bands.get(spec.key, (None, None)) if bands is not None else (spec.low, spec.high)
    values = [round(value, spec.decimals) for _, value in rows]
    above = sum(high is not None and value > high for value in values)
    below = sum(low is not None and value < low for value in values)
    name = spec.label.partition(" (")[0]
    head = f"{name} ({_range(spec, low, high)})" if low is not None or high is not None else name
    if len(values) == 1:
        side = "above" if above else "below" if below else "within"
        text = f"{head}: {spec.format(values[0])} at hour {rows[0][0]:.0f}, {side} the range, measured once"
    else:
        parts = [f"{_times(above)} above"] * bool(above) + [f"{_times(below)} below"] * bool(below)
        state = f"{' and '.join(parts)} the range of {len(values)}" if parts else f"within the range all {len(values)}"
        ends = f"first {_plain(spec, values[0])}, last {_plain(spec, values[-1])}"
        lowest, highest = min(rows, key=lambda row: row[1]), max(rows, key=lambda row: row[1])
        reach = f"lowest {_plain(spec, lowest[1])} at hour {lowest[0]:.0f}, highest {_plain(spec, highest[1])}"
        text = f"{head}: {state} measurements; {ends}, {reach} at hour {highest[0]:.0f}"
    sides = [max(values) - high] * bool(above) if high is not None else []
    sides += [low - min(values)] * bool(below) if low is not None else []
    width = (high - low) if low is not None and high is not None and high > low else abs(high or low or 1.0) or 1.0
    severity = math.tanh(max(sides) / width) if sides else 0.0
    return Caption(spec.key, text, severity, ("high",) * bool(above) + ("low",) * bool(below))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _plain(spec: Variable, value: float) -> str:
    return f"{value:.{spec.decimals}f}"


def _range(spec: Variable, low: float | None, high: float | None) -> str:
    """The range as written before the measurements.

    >>> _range(variables()["creatinine"], None, 1.2)
    'range up to 1.2 mg/dL'
    """
    if low is not None and high is not None:
        return f"range {_plain(spec, low)} to {spec.format(high)}"
    return f"range up to {spec.format(high)}" if high is not None else f"range from {spec.format(low or 0.0)}"
