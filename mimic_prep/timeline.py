"""Reduce events to one value for each stay, hour and variable.

The value of an hour is its last measurement, so that it is a charted number. Volumes are summed. Ties within a second
are resolved by the catalogue's item order, then by the last entry (a correction), then by the larger value, so row
order never matters. If the last measurement is NaN (it could not be tested), the hour has no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.catalog import variables
from clinragen.schema import SERIES
from mimic_prep.qualify import BIN_SECONDS, last_versions

MAX_BINS = 1 << 16  # most hours of a stay: more than seven years
#: Hours in which the last value of a part still counts in a weighted sum.
_CARRIED_HOURS = 4
_VARIABLE_BITS, _SECOND_BITS, _PRIORITY_BITS = 9, 12, 8
_BIN_BITS = 16
_ORDER_BITS = _SECOND_BITS + _PRIORITY_BITS
_KEY = ["stay", "bin", "variable"]
_BINS = {"stay": pl.Int32, "bin": pl.Int32, "variable": pl.Int16, "value": pl.Float64}


def hourly(events: pl.DataFrame, stay_ids: np.ndarray) -> pa.Table:
    """Reduce events (``events.EVENTS``) to the series table, sorted by stay, hour and variable in catalogue order."""
    events = events.with_columns(bin=pl.col("second") // BIN_SECONDS)
    summed = [index for index, variable in enumerate(variables().values()) if variable.bin == "sum"]
    is_sum = pl.col("variable").is_in(summed)
    settled = _settle(events.filter(~is_sum))
    bins = pl.concat([_last(settled), _sums(events.filter(is_sum)), *_ratios(settled)])
    untested = bins["value"].is_nan()
    bins = _totals(bins.filter(~untested), bins.filter(untested)) if untested.any() else _totals(bins, bins.clear())
    bins = _weighted(bins)
    order = np.argsort(_pack(bins, _first_stay(bins)), kind="stable")  # a merge sort, since nearly all are in order
    return _as_series(bins[order], stay_ids)


def _first_stay(rows: pl.DataFrame) -> int:
    return int(rows["stay"].to_numpy().min()) if rows.height else 0


def _pack(rows: pl.DataFrame, first_stay: int) -> np.ndarray:
    """Stay, bin and variable packed into one number with the same order, which sorts faster than rows."""
    return rows.select(
        (pl.col("stay").cast(pl.Int64) - first_stay) * (1 << (_BIN_BITS + _VARIABLE_BITS))
        + pl.col("bin").cast(pl.Int64) * (1 << _VARIABLE_BITS)
        + pl.col("variable").cast(pl.Int64)
    ).to_series().to_numpy()  # fmt: skip


@dataclass(frozen=True)
class _Settled:
    """One value for each stay, second, variable and item, in this order; NaN if it could not be tested.

    ``moment`` packs all four but the stay's offset ``first_stay``; within a second the item that counts comes last.
    """

    moment: np.ndarray
    value: np.ndarray
    first_stay: int

    def columns(self, key: np.ndarray, value: np.ndarray) -> pl.DataFrame:
        """Keys of stay, bin and variable as a table."""
        columns = {
            "stay": (key >> (_BIN_BITS + _VARIABLE_BITS)) + self.first_stay,
            "bin": (key >> _VARIABLE_BITS) & (MAX_BINS - 1),
            "variable": key & ((1 << _VARIABLE_BITS) - 1),
            "value": value,
        }
        return pl.DataFrame(columns, schema=_BINS)

    def of(self, variable: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of one variable's values, with stays and seconds; for each second that of the preferred item."""
        key = self.moment >> _ORDER_BITS
        rows = np.flatnonzero((key & ((1 << _VARIABLE_BITS) - 1)) == variable)
        rows = rows[np.flatnonzero(np.diff(self.moment[rows] >> _PRIORITY_BITS, append=-1))]
        key = self.moment[rows] >> _ORDER_BITS
        within = (self.moment[rows] >> _PRIORITY_BITS) & ((1 << _SECOND_BITS) - 1)
        start = ((key >> _VARIABLE_BITS) & (MAX_BINS - 1)) * BIN_SECONDS
        return rows, key >> (_BIN_BITS + _VARIABLE_BITS), start + within


def _settle(events: pl.DataFrame) -> _Settled:
    """Of several entries of one item and second keep the last entered one, then the larger value."""
    if not events.height:
        return _Settled(np.empty(0, dtype=np.int64), np.empty(0), 0)
    first_stay = _first_stay(events)
    second = events["second"].to_numpy() % BIN_SECONDS
    rank = (1 << _PRIORITY_BITS) - 1 - events["priority"].to_numpy().astype(np.int64)
    moment = (_pack(events, first_stay) << _ORDER_BITS) | (second << _PRIORITY_BITS) | rank
    order = np.argsort(moment)
    moment = moment[order]
    starts = np.flatnonzero(np.diff(moment, prepend=-1))
    value = events["value"].to_numpy()[order[starts]]
    sizes = np.diff(starts, append=len(moment))
    if len(shared := np.flatnonzero(sizes > 1)):
        sizes = sizes[shared]
        first = np.cumsum(sizes) - sizes
        rows = order[np.repeat(starts[shared] - first, sizes) + np.arange(sizes.sum())]
        value[shared] = _newest(events["value"].to_numpy()[rows], events["known"].to_numpy()[rows], first, sizes)
    return _untested_totals(_Settled(moment[starts], value, first_stay))


def _newest(value: np.ndarray, known_at: np.ndarray, first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The largest value of those known last, for each group of ``sizes`` rows from ``first``; a number before NaN."""
    newest = np.repeat(np.maximum.reduceat(known_at, first), sizes)
    value = np.fmax.reduceat(np.where(known_at < newest, -np.inf, value), first)
    return np.where(np.isneginf(value), np.nan, value)


def _untested_totals(settled: _Settled) -> _Settled:
    """Drop a charted sum if one of its parts could not be tested at that second, since it contains a guess."""
    if not np.isnan(settled.value).any():
        return settled
    keys = list(variables())
    for key, variable in variables().items():
        if not variable.sum_of:
            continue
        rows, stay, second = settled.of(keys.index(key))
        for part in variable.sum_of:
            part_rows, stays, seconds = settled.of(keys.index(part))
            untested = np.isnan(settled.value[part_rows])
            bad = np.isin(_clock(stay, second), _clock(stays[untested], seconds[untested]))
            settled.value[rows[bad]] = np.nan
    return settled


def _clock(stay: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Stay and second packed into one number with the same order."""
    return (stay << 32) | second


def _last(settled: _Settled) -> pl.DataFrame:
    """The last value of each bin; within a second the smaller priority counts."""
    key = settled.moment >> _ORDER_BITS
    ends = np.flatnonzero(np.diff(key, append=-1))
    return settled.columns(key[ends], settled.value[ends])


def _ratios(settled: _Settled) -> list[pl.DataFrame]:
    """Variables derived as ratios: the last of each bin."""
    keys = list(variables())
    bins: list[pl.DataFrame] = []
    for key, variable in variables().items():
        if variable.ratio_of is None:
            continue
        above, stay, second = settled.of(keys.index(variable.ratio_of.of[0]))
        below, stays, seconds = settled.of(keys.index(variable.ratio_of.of[1]))
        if not len(above) or not len(below):
            continue
        near = np.searchsorted(_clock(stays, seconds), _clock(stay, second), side="right") - 1
        age = second - seconds[np.maximum(near, 0)]
        good = (near >= 0) & (stays[np.maximum(near, 0)] == stay) & (age <= variable.ratio_of.hours * 3600)
        over, under = settled.value[above[good]], settled.value[below[near[good]]]
        power = 10.0 ** (variable.decimals + 3)
        value = np.round(variable.ratio_of.scale * over / under * power) / power
        bin_keys = (settled.moment[above[good]] >> (_ORDER_BITS + _VARIABLE_BITS) << _VARIABLE_BITS) | keys.index(key)
        sane = (value >= variable.plausible[0]) & (value <= variable.plausible[1])
        bin_keys, value = bin_keys[sane], value[sane]
        ends = np.flatnonzero(np.diff(bin_keys, append=-1))
        bins.append(settled.columns(bin_keys[ends], value[ends]))
    return bins


def _sums(events: pl.DataFrame) -> pl.DataFrame:
    """Sums of distinct rows, in a fixed order: parallel summation would make the last bits depend on the machine."""
    events = last_versions(events).drop("known").unique()
    ordered = events.sort(*_KEY, "second", "priority", "value", descending=[False, False, False, False, True, False])
    first = ordered.unique(_KEY, keep="first", maintain_order=True).select(_KEY)
    if not ordered.height:
        return pl.DataFrame(schema=_BINS)
    starts = ordered.select(pl.struct(_KEY).is_first_distinct()).to_series().arg_true().to_numpy()
    sums = pl.Series(np.add.reduceat(ordered["value"].to_numpy(), starts))
    return first.with_columns(value=sums).cast(_BINS)  # type: ignore[arg-type]


def _totals(bins: pl.DataFrame, untested: pl.DataFrame) -> pl.DataFrame:
    """The bins, plus those of variables that are sums of others (Glasgow total) where not charted.

    All parts must be in the hour. If the last entry of a part says that it could not be tested, there is no sum.
    """
    keys = list(variables())
    for key, variable in variables().items():
        if not variable.sum_of:
            continue
        total = keys.index(key)
        of_parts = pl.col("variable").is_in([keys.index(part) for part in variable.sum_of])
        hours = untested.filter(of_parts).select("stay", "bin", variable=pl.lit(total, dtype=pl.Int16)).unique()
        bins = bins.join(hours, on=_KEY, how="anti") if hours.height else bins
        whole = (
            bins.filter(of_parts)
            .group_by("stay", "bin", maintain_order=True)
            .agg(pl.len().alias("parts"), pl.col("value").sum())
            .filter(pl.col("parts") == len(variable.sum_of))
            .with_columns(variable=pl.lit(total, dtype=pl.Int16))
            .select(*_KEY, "value")
        )
        bins = pl.concat([bins, whole.join(bins.filter(pl.col("variable") == total), on=_KEY, how="anti")])
    return bins


def _weighted(bins: pl.DataFrame) -> pl.DataFrame:
    """The bins, plus those of variables that are weighted sums of others, in hours that have any of these.

    Of each the last value of the hours before counts, too, since rates are not charted every hour. One without any is
    not given, and adds nothing.
    """
    keys = list(variables())
    for key, variable in variables().items():
        if not variable.weighted_sum_of:
            continue
        total = keys.index(key)
        weights = pl.DataFrame(
            {"variable": [keys.index(part) for part in variable.weighted_sum_of],
             "weight": [float(weight) for weight in variable.weighted_sum_of.values()]},
            schema={"variable": pl.Int16, "weight": pl.Float64},
        )  # fmt: skip
        parts = bins.join(weights, on="variable")
        carried = [parts.with_columns(bin=pl.col("bin") + age, age=pl.lit(age)) for age in range(_CARRIED_HOURS)]
        sums = (
            pl.concat(carried)
            .sort(*_KEY, "age")  # in one order, as the last bits of a sum depend on it
            .unique(_KEY, keep="first", maintain_order=True)
            .join(parts.select("stay", "bin").unique(), on=["stay", "bin"], how="semi", maintain_order="left")
            .group_by("stay", "bin", maintain_order=True)
            .agg((pl.col("value") * pl.col("weight")).sum().round(variable.decimals + 3))
            .filter(pl.col("value").is_between(*variable.plausible))
            .with_columns(variable=pl.lit(total, dtype=pl.Int16))
            .select(*_KEY, "value")
        )
        bins = pl.concat([bins, sums.join(bins.filter(pl.col("variable") == total), on=_KEY, how="anti")])
    return bins


def _as_series(bins: pl.DataFrame, stay_ids: np.ndarray) -> pa.Table:
    names = pl.Series(list(variables()), dtype=pl.String)
    table = bins.select(
        pl.Series("stay_id", stay_ids[bins["stay"].to_numpy()]),
        (pl.col("bin") * (BIN_SECONDS / 3600)).alias("hour"),
        names[bins["variable"].to_numpy()].alias("variable"),
        "value",
    )
    return table.to_arrow().cast(SERIES)
