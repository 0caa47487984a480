"""The series of one stay as arrays: hours and values of each variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

#: variable -> [(hour, value)], hours from intime, canonical units: the rows of ``series.parquet`` of one stay.
Cells = Mapping[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Measurements:
    """One variable of one stay: hours from intime (ascending) and values in the canonical unit, float64 [n] each."""

    hours: np.ndarray
    values: np.ndarray


#: variable -> its measurements; variables that were not measured are left out.
SeriesChart = Mapping[str, Measurements]


def measurements(cells: Cells) -> dict[str, Measurements]:
    """The measurements of one stay.

    Values are rounded to six significant digits: a float32 1.2 is 1.2, as it would be written, and not 1.2000000477.
    """
    series: dict[str, Measurements] = {}
    for variable, rows in cells.items():
        if rows:
            hours, values = zip(*sorted(rows), strict=True)
            series[variable] = Measurements(np.array(hours), np.array([float(f"{value:.6g}") for value in values]))
    return series


def cells_by_stay(series: pl.DataFrame) -> dict[int, dict[str, list[tuple[float, float]]]]:
    """stay -> variable -> [(hour, value)], in the order of the rows.

    Args:
        series: columns stay_id, hour, variable, value (``schema.SERIES``).
    """
    stays: dict[int, dict[str, list[tuple[float, float]]]] = {}
    for stay, hour, variable, value in series.select("stay_id", "hour", "variable", "value").iter_rows():
        stays.setdefault(stay, {}).setdefault(variable, []).append((hour, value))
    return stays
