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
_KEY = ["stay", "bin", "variable"]


def hourly(events: pl.DataFrame, stay_ids: np.ndarray) -> pa.Table:
    """Reduce events (``events.EVENTS``) to the series table, sorted by stay, hour and variable in catalogue order."""
    ordered = events.with_columns(bin=pl.col("second") // BIN_SECONDS).sort(
        *_KEY, "second", "priority", "value", descending=[False, False, False, False, True, False]
    )
    summed = [index for index, variable in enumerate(variables().values()) if variable.bin == "sum"]
    is_sum = pl.col("variable").is_in(summed)
    last = ordered.filter(~is_sum).unique(_KEY, keep="last", maintain_order=True).select(*_KEY, "value")
    bins = pl.concat([last, _sums(ordered.filter(is_sum))])
    bins = pl.concat([bins, *_totals(bins)]).sort(_KEY)
    return _as_series(bins, stay_ids)


def _sums(ordered: pl.DataFrame) -> pl.DataFrame:
    """Sums in the order of the rows: adding in parallel would make the last bits depend on the machine."""
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
    table = bins.select(
        pl.Series("stay_id", stay_ids[bins["stay"].to_numpy()]),
        (pl.col("bin") * (BIN_SECONDS / 3600)).alias("hour"),
        pl.col("variable").replace_strict(range(len(variables())), list(variables()), return_dtype=pl.String),
        "value",
    )
    return table.to_arrow().cast(SERIES)
