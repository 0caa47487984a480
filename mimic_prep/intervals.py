"""Treatments that last: rows with a start and an end as hourly values that tell nothing after the prediction time.

What runs at the prediction time counts until then, whenever it ends: its row was there since it began, and the time of
entry is that of its end. One that ended before counts if its end was entered by then. Hours in which nothing is seen to
run have no value; the hour in which something ended has the rate at its end, which is 0 if nothing else runs.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from clinragen.catalog import variables
from mimic_prep.accounting import RowFilter, Screen
from mimic_prep.doses import AVERAGED, NO_WEIGHT, hourly_volume, read_values, volume_of
from mimic_prep.events import EVENTS
from mimic_prep.items import items_of
from mimic_prep.qualify import BIN_SECONDS
from mimic_prep.stay_index import StayIndex, seconds
from mimic_prep.tables import EventTable, Only
from mimic_prep.unit_screen import variable_of

#: Columns of intervals, until all of a stay are together: a rate, or millilitres an hour, from ``second`` to ``end``;
#: ``power`` is that of the kilograms by which it is still to be multiplied.
INTERVALS = {**EVENTS, "end": pl.Int32, "running": pl.Boolean, "power": pl.Int8}
VERSION = 2  # raised when the same rows give other intervals
_LEFT_OUT = ["rewritten", "cancelled", "canceled"]
_LATE_VOLUME = "volume that is known only when it has run in, after the prediction time: left out"
_LATE_DOSE = "amount that is known only when it has run in, after the prediction time: left out"
_MOST_RANKS = 10_000
_SHORTEST = 60  # seconds that a bolus without a duration lasts
_BY_WEIGHT = "rate without a weight: by the weight that was charted"
_ODD_BY_WEIGHT = "rate that is implausible by the weight that was charted: left out"
_TOO_MUCH = "more at once than is plausible: left out"


class IntervalRules:
    """The rules that turn one table's rows into intervals (columns ``INTERVALS``); called in worker threads."""

    def __init__(self, source: EventTable, release: str, index: StayIndex, *, by_entry: bool) -> None:
        self._source = source
        self._index = index
        self._by_entry = by_entry
        self._variables = variable_of(release, source.named)
        keys = list(variables())
        self._codes = {item: keys.index(variable.key) for item, variable in self._variables.items()}
        self._priority = {
            item: rank
            for variable in self._variables.values()
            for rank, item in enumerate(items_of(variable, release, source.named))
        }
        listed = "item" in source.table.columns  # otherwise the table's derivation drops the rest
        self.only = Only("item", tuple(self._variables), "item not used") if listed else None

    def __call__(self, row_filter: RowFilter) -> None:
        """Turn the rows of one block into intervals."""
        frame = row_filter.frame
        if "status" in frame.columns:
            row_filter.skip(pl.col("status").str.to_lowercase().is_in(_LEFT_OUT), "rewritten or cancelled")
        self._attach(row_filter)
        self._read_values(row_filter)
        priority = self._of_item(row_filter, self._priority)
        if "rank" in row_filter.frame.columns:  # tells rows of one item apart, which would be taken for one row
            priority = priority + row_filter.frame["rank"].fill_null(0).clip(0, _MOST_RANKS).cast(pl.Int16)
        row_filter.frame = row_filter.frame.with_columns(
            variable=self._of_item(row_filter, self._codes), priority=priority
        ).select(pl.col(name).cast(kind) for name, kind in INTERVALS.items())

    def _of_item(self, row_filter: RowFilter, numbers: dict[int | str, int]) -> pl.Series:
        return row_filter.frame["item"].replace_strict(
            list(numbers), list(numbers.values()), default=None, return_dtype=pl.Int16
        )

    def _attach(self, row_filter: RowFilter) -> None:
        """Stay, start, end and whether it runs at the prediction time; drops what lies outside the window."""
        frame, screen = row_filter.frame, Screen(row_filter)
        screen.reject(frame["item"].is_null(), "no item")
        key = frame[self._source.key]
        screen.skip(key.is_null(), f"no {key.name}")
        keys = key.fill_null(-1).to_numpy()
        if key.name == "stay_id":
            rank = self._index.by_stay(keys)
        else:
            screen.skip(~np.isin(keys, self._index.subjects), "patient not in the cohort")
            rank = self._index.by_span(keys, seconds(frame["time"]), seconds(frame["end"]))
        screen.skip(rank < 0, "stay not in the cohort")
        screen.reject(frame["time"].is_null() | frame["end"].is_null(), "no time")
        origin = self._index.intime[rank]
        start, end = (seconds(frame[name]) - origin for name in ("time", "end"))
        screen.reject(end < start, "ends before it starts")
        end = np.maximum(end, start + _SHORTEST)
        first, last = self._index.start[rank], self._index.end[rank]
        screen.skip((start >= last) | (end <= first), "outside the window")
        running = end >= last
        if self._by_entry and "known" in frame.columns:
            entered = seconds(frame["known"].fill_null(frame["time"])) - origin
            screen.skip(~running & (entered >= last), "not known by the prediction time")
        screen.apply(
            stay=rank.astype(np.int32),
            length=(end - start).astype(np.int64),
            second=np.maximum(start, first).astype(np.int32),
            known=np.maximum(start, first).astype(np.int32),
            end=np.minimum(end, last).astype(np.int32),
            running=running,
        )

    def _read_values(self, row_filter: RowFilter) -> None:
        """Add ``value``: 1 for a state, millilitres an hour for a volume, a rate in its variable's unit."""
        volumes = [item for item, variable in self._variables.items() if variable.bin == "sum"]
        states = [item for item, variable in self._variables.items() if variable.unit == "flag"]
        frame = row_filter.frame
        if states and "rate" not in frame.columns:
            row_filter.frame = frame.with_columns(value=1.0, power=0)
            return
        units = frame["rate_unit"].cast(pl.String).drop_nulls().unique()
        scales = {unit: scale for unit in units if (scale := hourly_volume(unit)) is not None}
        scale = pl.col("rate_unit").cast(pl.String).replace_strict(scales, default=None, return_dtype=pl.Float64)
        hourly = pl.col("rate") * scale
        late = pl.col("running") & hourly.is_null()
        row_filter.skip(pl.col("item").is_in(volumes) & late, _LATE_VOLUME)
        if "averaged" in frame.columns:
            row_filter.skip(pl.col("averaged") & pl.col("running"), _LATE_DOSE)
            row_filter.remarks[AVERAGED] += int(row_filter.frame["averaged"].sum())
        flow = volume_of(frame["amount_unit"]) * BIN_SECONDS / pl.col("length")
        weighed_later = "weight" not in frame.columns
        read_values(row_filter, self._variables, pl.coalesce(hourly, flow), weighed_later=weighed_later)
        self._check_range(row_filter, volumes)

    def _check_range(self, row_filter: RowFilter, volumes: list[int | str]) -> None:
        for key in sorted({one.key for one in self._variables.values()}):
            mine = [item for item, one in self._variables.items() if one.key == key]
            low, high = next(one.plausible for one in self._variables.values() if one.key == key)
            bound = pl.col("value").is_between(low, high) if not set(mine) & set(volumes) else pl.col("value") >= 0
            weighed = pl.col("power") == 0
            row_filter.reject(pl.col("item").is_in(mine) & weighed & ~bound, f"implausible {key}")


class Spreader:
    """Turns the intervals of some stays into values at hours: events (``events.EVENTS``), and remarks."""

    def __call__(self, rows: pl.DataFrame, charted: pl.DataFrame | None = None) -> tuple[pl.DataFrame, Counter[str]]:
        """One event for each stay, hour and variable in which something runs or ends.

        Args:
            rows: intervals (``INTERVALS``).
            charted: events of the same stays, whose weights serve rates that need one.
        """
        specs = list(variables().values())
        remarks: Counter[str] = Counter()
        rows = rows.unique().sort(list(INTERVALS))  # a row that is there twice is one; sums in one order
        rows = _weighed(rows, charted, remarks)
        last = pl.when("running").then((pl.col("end") - 1) // BIN_SECONDS).otherwise(pl.col("end") // BIN_SECONDS)
        rows = rows.with_columns(bin=pl.int_ranges(pl.col("second") // BIN_SECONDS, last + 1)).explode("bin")
        hour_start, hour_end = pl.col("bin") * BIN_SECONDS, (pl.col("bin") + 1) * BIN_SECONDS
        inside = pl.min_horizontal("end", hour_end) - pl.max_horizontal("second", hour_start)
        sums = [index for index, variable in enumerate(specs) if variable.bin == "sum"]
        at_end = pl.when(pl.col("running") | (pl.col("end") >= hour_end)).then("value").otherwise(0.0)
        volume = pl.col("value") * inside / BIN_SECONDS
        rows = rows.with_columns(value=pl.when(pl.col("variable").is_in(sums)).then(volume).otherwise(at_end))
        rows = rows.filter(~pl.col("variable").is_in(sums) | (inside > 0))
        hours = rows.group_by("stay", "bin", "variable", maintain_order=True).agg(
            pl.col("value").sum(), pl.col("priority").min()
        )
        flags = [index for index, variable in enumerate(specs) if variable.unit == "flag"]
        at_most_one = pl.when(pl.col("variable").is_in(flags)).then(pl.col("value").clip(0, 1)).otherwise("value")
        digits = pl.DataFrame(
            {"variable": range(len(specs)), "high": [float(one.plausible[1]) for one in specs],
             "power": [10.0 ** (one.decimals + 3) for one in specs]},
            schema={"variable": pl.Int16, "high": pl.Float64, "power": pl.Float64},
        )  # fmt: skip
        hours = hours.with_columns(value=at_most_one).join(digits, on="variable", maintain_order="left", how="left")
        hours = hours.with_columns(value=(pl.col("value") * pl.col("power")).round() / pl.col("power"))
        if dropped := hours.filter(pl.col("value") > pl.col("high")).height:
            remarks[_TOO_MUCH] += dropped
        hours = hours.filter(pl.col("value") <= pl.col("high"))
        second = (pl.col("bin") * BIN_SECONDS).cast(pl.Int32)
        hours = hours.with_columns(second=second, known=second)
        return hours.select(pl.col(name).cast(kind) for name, kind in EVENTS.items()), remarks


def _weighed(rows: pl.DataFrame, charted: pl.DataFrame | None, remarks: Counter[str]) -> pl.DataFrame:
    """Rates that need a weight by the last one charted before they began, else by the first one after."""
    wanting = rows.filter(pl.col("power") != 0)
    if not wanting.height:
        return rows
    keys = list(variables())
    weights = pl.DataFrame(schema=EVENTS) if charted is None else charted
    weights = weights.filter((pl.col("variable") == keys.index("weight")) & pl.col("value").is_not_nan())
    # of several of one second that of the preferred item, of it the last entered
    weights = weights.sort(
        "stay", "second", "priority", "known", "value", descending=[False, False, True, False, False]
    )
    weights = weights.unique(["stay", "second"], keep="last", maintain_order=True).sort("second", maintain_order=True)
    wanting = wanting.with_columns(row=pl.int_range(pl.len())).sort("second")
    for strategy in ("backward", "forward"):
        nearest = weights.select("stay", "second", pl.col("value").alias(strategy))
        wanting = wanting.join_asof(nearest, on="second", by="stay", strategy=strategy, check_sortedness=False)
    kilograms = pl.coalesce("backward", "forward")
    wanting = wanting.sort("row").with_columns(
        kilograms=kilograms, value=pl.col("value") * kilograms ** pl.col("power")
    )
    without = wanting.filter(pl.col("kilograms").is_null()).height
    wanting = wanting.drop_nulls("kilograms")
    bounds = pl.DataFrame(
        {"variable": range(len(keys)), "low": [float(one.plausible[0]) for one in variables().values()],
         "high": [float(one.plausible[1]) for one in variables().values()]},
        schema={"variable": pl.Int16, "low": pl.Float64, "high": pl.Float64},
    )  # fmt: skip
    wanting = wanting.join(bounds, on="variable", how="left", maintain_order="left")
    sane = wanting.filter(pl.col("value").is_between("low", "high"))
    counts = {NO_WEIGHT: without, _ODD_BY_WEIGHT: wanting.height - sane.height, _BY_WEIGHT: sane.height}
    remarks.update({remark: count for remark, count in counts.items() if count})
    weighed = sane.with_columns(power=pl.lit(0, dtype=pl.Int8)).select(rows.columns)
    return pl.concat([rows.filter(pl.col("power") == 0), weighed]).sort(rows.columns)
