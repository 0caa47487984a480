"""Events -> one value for each stay, hour and variable.

The value of an hour is its last measurement: a number that stands in the chart. Volumes are summed. Measurements of the
same second are settled by the catalogue's item order, then by the larger value, so row order never matters.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.catalog import variables
from clinragen.schema import SERIES

BIN_SECONDS = 3600
MAX_BINS = 1 << 16  # of a stay: more than seven years
_VARIABLE_BITS, _SECOND_BITS, _PRIORITY_BITS = 9, 12, 8
_BIN_BITS = 16
_ORDER_BITS = _SECOND_BITS + _PRIORITY_BITS
_KEY = ["stay", "bin", "variable"]


def hourly(events: pl.DataFrame, stay_ids: np.ndarray) -> pa.Table:
    """Reduce events (``events.EVENTS``) to the series table, sorted by stay, hour and variable in catalogue order."""
    events = events.with_columns(bin=pl.col("second") // BIN_SECONDS)
    summed = [index for index, variable in enumerate(variables().values()) if variable.bin == "sum"]
    is_sum = pl.col("variable").is_in(summed)
    bins = pl.concat([_last(events.filter(~is_sum)), _sums(events.filter(is_sum))])
    bins = pl.concat([bins, *_totals(bins)])
    order = np.argsort(_pack(bins, _first_stay(bins)))
    return _as_series(bins[order], stay_ids)


def _first_stay(rows: pl.DataFrame) -> int:
    return int(rows["stay"].to_numpy().min()) if rows.height else 0


def _pack(rows: pl.DataFrame, first_stay: int) -> np.ndarray:
    """Stay, bin and variable as one number that sorts as they do: one sort of numbers in place of one of rows."""
    return rows.select(
        (pl.col("stay").cast(pl.Int64) - first_stay) * (1 << (_BIN_BITS + _VARIABLE_BITS))
        + pl.col("bin").cast(pl.Int64) * (1 << _VARIABLE_BITS)
        + pl.col("variable").cast(pl.Int64)
    ).to_series().to_numpy()  # fmt: skip


def _last(events: pl.DataFrame) -> pl.DataFrame:
    """The last value of each bin; at the same second the smaller priority counts, then the larger value."""
    if not events.height:
        return events.select(*_KEY, "value")
    first_stay = _first_stay(events)
    second = events["second"].to_numpy() % BIN_SECONDS
    rank = (1 << _PRIORITY_BITS) - 1 - events["priority"].to_numpy().astype(np.int64)
    moment = (_pack(events, first_stay) << _ORDER_BITS) | (second << _PRIORITY_BITS) | rank
    order = np.argsort(moment)
    moment, value = moment[order], events["value"].to_numpy()[order]
    starts = np.flatnonzero(np.diff(moment, prepend=-1))
    largest = np.maximum.reduceat(value, starts)
    key = moment[starts] >> _ORDER_BITS
    ends = np.flatnonzero(np.diff(key, append=-1))
    key = key[ends]
    columns = {
        "stay": (key >> (_BIN_BITS + _VARIABLE_BITS)) + first_stay,
        "bin": (key >> _VARIABLE_BITS) & (MAX_BINS - 1),
        "variable": key & ((1 << _VARIABLE_BITS) - 1),
        "value": largest[ends],
    }
    return pl.DataFrame(columns, schema={**{name: events.schema[name] for name in _KEY}, "value": pl.Float64})


def _sums(events: pl.DataFrame) -> pl.DataFrame:
    """Sums of distinct rows, in a fixed order: adding in parallel would make the last bits depend on the machine."""
    events = events.unique()
    ordered = events.sort(*_KEY, "second", "priority", "value", descending=[False, False, False, False, True, False])
    first = ordered.unique(_KEY, keep="first", maintain_order=True).select(_KEY)
    if not ordered.height:
        return first.with_columns(value=pl.lit(None, dtype=pl.Float64))
    starts = ordered.select(pl.struct(_KEY).is_first_distinct()).to_series().arg_true().to_numpy()
    return first.with_columns(value=pl.Series(np.add.reduceat(ordered["value"].to_numpy(), starts)))


def _totals(bins: pl.DataFrame) -> list[pl.DataFrame]:
    """Variables that are the sum of others (Glasgow total): all parts lie in the hour, and no total was charted."""
    keys = list(variables())
    found: list[pl.DataFrame] = []
    for key, variable in variables().items():
        if not variable.sum_of:
            continue
        total = keys.index(key)
        parts = bins.filter(pl.col("variable").is_in([keys.index(part) for part in variable.sum_of]))
        whole = (
            parts.group_by("stay", "bin", maintain_order=True)
            .agg(pl.len().alias("parts"), pl.col("value").sum())
            .filter(pl.col("parts") == len(variable.sum_of))
            .with_columns(variable=pl.lit(total, dtype=pl.Int16))
            .select(*_KEY, "value")
        )
        found.append(whole.join(bins.filter(pl.col("variable") == total), on=_KEY, how="anti"))
    return found


def _as_series(bins: pl.DataFrame, stay_ids: np.ndarray) -> pa.Table:
    names = pl.Series(list(variables()), dtype=pl.String)
    table = bins.select(
        pl.Series("stay_id", stay_ids[bins["stay"].to_numpy()]),
        (pl.col("bin") * (BIN_SECONDS / 3600)).alias("hour"),
        names[bins["variable"].to_numpy()].alias("variable"),
        "value",
    )
    return table.to_arrow().cast(SERIES)
