"""Raw measurement rows -> events: stay rank, second from intime, variable, priority, value in the canonical unit, and
the second from intime at which it was known.

Rows are dropped as early as possible: first by item, then by stay and window, and only then are units converted. An
entry that says that the variable could not be tested has the value NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from clinragen.catalog import Variable, variables
from clinragen.errors import UserError
from mimic_prep.accounting import RowFilter, Screen
from mimic_prep.items import items_of
from mimic_prep.qualify import SPECIMEN, companions
from mimic_prep.stay_index import StayIndex, seconds
from mimic_prep.tables import EventTable, Only
from mimic_prep.unit_conversion import conversion, foreign
from mimic_prep.words import SPECIMEN_TYPE, EntryWords

EVENTS = {
    "stay": pl.Int32, "second": pl.Int32, "variable": pl.Int16, "priority": pl.Int16, "value": pl.Float64,
    "known": pl.Int32,
}  # fmt: skip
_LAST = 254  # the last priority: values that a rule makes have 255
_LATEST = (1 << 31) - 1
_UNDATED = "no time of entry: known when charted"


@dataclass(frozen=True)
class _Item:
    """One item id of a table: its variable, its rank among the variable's items, and the factors of its usual unit."""

    variable: Variable
    index: int
    priority: int
    scale: float
    offset: float


def _items(release: str, table: str) -> dict[int | str, _Item]:
    items: dict[int | str, _Item] = {}
    for index, variable in enumerate(variables().values()):
        for priority, (item, unit) in enumerate(items_of(variable, release, table).items()):
            factors = (1.0, 0.0) if unit is None else conversion(variable, unit)
            if factors is None:
                raise UserError(f"variables.yaml: {variable.key}: unit '{unit}' of item {item} is not among its units")
            items[item] = _Item(variable, index, priority, *factors)
    keys = list(variables().values())
    for item, (index, priority) in companions(release, table).items():
        variable = SPECIMEN_TYPE if index == SPECIMEN else keys[priority]
        items[item] = _Item(variable, index, priority, 1.0, 0.0)
    return items


class EventRules:
    """The rules that turn one table's rows into events; called in worker threads.

    ``only`` names the items, so that the reader drops all other rows.
    """

    def __init__(
        self, source: EventTable, release: str, index: StayIndex, *, drop_warnings: bool, known_at: str = "storetime"
    ) -> None:
        self._source = source
        self._index = index
        self._drop_warnings = drop_warnings
        self._by_entry = known_at == "storetime"
        self._specimen = ["specimen"] if "specimen" in source.table.columns else []
        items = _items(release, source.named)
        self._ids = list(items)
        item_ids = (*items, source.generic) if source.generic else tuple(items)
        listed = "item" in source.table.columns and not source.wide  # otherwise the table's derivation drops the rest
        self.only = Only("item", item_ids, "item not used") if listed else None
        self._of_unit: dict[str, np.ndarray] = {}
        self._items = list(items.values())
        self._usual = np.array([(item.scale, item.offset) for item in self._items]).reshape(-1, 2)
        self._variable = np.array([item.index for item in self._items], dtype=np.int16)
        self._priority = np.array([item.priority for item in self._items], dtype=np.int16)
        self._low, self._high = np.array([item.variable.plausible for item in self._items]).reshape(-1, 2).T.copy()
        self._rescaled = np.array([bool(item.variable.rescale) for item in self._items], dtype=bool)
        self._code_of: np.ndarray | None = None
        if numbers := [item for item in self._ids if isinstance(item, int)]:
            self._code_of = np.zeros(max(numbers) + 1, dtype=np.int16)
            self._code_of[numbers] = range(len(numbers))
        self._words = EntryWords([item.variable for item in self._items])
        self._power = 10.0 ** np.array([item.variable.decimals + 3 for item in self._items])

    def __call__(self, row_filter: RowFilter) -> None:
        """Turn the rows of one block into events (columns ``EVENTS``, and perhaps ``specimen``)."""
        if self._source.wide:
            self._unfold(row_filter)
        self._attach(row_filter)
        self._check_value(row_filter)
        self._convert(row_filter)

    def _unfold(self, row_filter: RowFilter) -> None:
        """Columns of a wide table become rows; from here on measurements are counted, not lines."""
        items = [str(item) for item in self._ids if item in row_filter.frame.columns]
        keep = [self._source.key, "time", "line"]
        bad = sum(len(lines) for _, lines in row_filter.quarantined)
        if self._source.minute is not None:
            row_filter.frame = row_filter.frame.with_columns(time=pl.lit(self._source.minute, dtype=pl.Int64))
        row_filter.frame = row_filter.frame.unpivot(items, index=keep, variable_name="item").drop_nulls("value")
        row_filter.read = row_filter.frame.height + bad + row_filter.out_of_scope.total()

    def _attach(self, row_filter: RowFilter) -> None:
        """Item, stay and second from intime of each row; drops rows outside the window."""
        screen = Screen(row_filter)
        screen.reject(row_filter.frame["item"].is_null(), "no item")
        if self._source.generic:
            named = pl.when(pl.col("item") == self._source.generic).then("label").otherwise("item")
            row_filter.frame = row_filter.frame.with_columns(item=named)
            used = row_filter.frame["item"].is_in(self._ids)
            screen.skip(~used.fill_null(False), "item not used")
        frame = row_filter.frame
        key, time = frame[self._source.key], frame["time"]
        screen.skip(key.is_null(), f"no {key.name}")
        keys = key.fill_null(-1).to_numpy()
        minutes = time.dtype == pl.Int64  # from ICU admission
        moment = time.fill_null(0).to_numpy() * 60 if minutes else seconds(time)
        if key.name == "stay_id":
            rank = self._index.by_stay(keys)
        else:
            screen.skip(~np.isin(keys, self._index.subjects), "patient not in the cohort")
            screen.reject(time.is_null(), "no time")
            rank = self._index.by_time(keys, moment)
        screen.skip(rank < 0, "stay not in the cohort")
        screen.reject(time.is_null(), "no time")
        second = moment if minutes else moment - self._index.intime.take(rank)
        end = self._index.end.take(rank)
        screen.skip((second < self._index.start.take(rank)) | (second >= end), "outside the window")
        known_at = self._known(frame, second, rank)
        if self._by_entry and known_at is not second:  # an entry time before the charted time does not count
            screen.skip(known_at >= end, "not known by the prediction time")
        columns = {"stay": rank.astype(np.int32), "second": second, "known": known_at.astype(np.int32)}
        if "known" in frame.columns and frame["known"].null_count():
            columns["undated"] = frame["known"].is_null().to_numpy()
        screen.apply(**columns)
        if "undated" in columns:
            row_filter.remarks[_UNDATED] += int(row_filter.frame["undated"].sum())
        row_filter.frame = row_filter.frame.with_columns(self._codes(row_filter.frame["item"]).alias("code"))

    def _codes(self, item: pl.Series) -> pl.Series:
        """The index of each item; numbers are looked up in a table, which is faster."""
        if self._code_of is not None:
            return pl.Series(self._code_of[item.to_numpy()])
        return item.replace_strict(self._ids, range(len(self._ids)), default=None, return_dtype=pl.Int16)

    def _known(self, frame: pl.DataFrame, second: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """Entry time of each row, in seconds from intime; the charted time if there is none."""
        if "known" not in frame.columns:
            return second
        entered = frame["known"]
        if entered.null_count() == len(entered):
            return second
        if entered.dtype == pl.Int64:
            known_at = entered.fill_null(0).to_numpy() * 60
        else:
            known_at = seconds(entered) - self._index.intime.take(rank)
        known_at = np.clip(known_at, -_LATEST, _LATEST)
        return np.where(entered.is_null().to_numpy(), second, known_at) if entered.null_count() else known_at

    def _check_value(self, row_filter: RowFilter) -> None:
        if "error" in row_filter.frame.columns:
            row_filter.reject(pl.col("error") != 0, "marked as an error")
        if self._drop_warnings and "warning" in row_filter.frame.columns:
            row_filter.reject(pl.col("warning") != 0, "marked with a warning")
        if row_filter.frame.schema["value"] == pl.String:
            text = pl.col("value").str.strip_chars()
            number = text.str.strip_suffix("%").str.strip_chars_end().cast(pl.Float64, strict=False).fill_nan(None)
            row_filter.frame = row_filter.frame.with_columns(value=number, words=text)
        if "words" in row_filter.frame.columns:
            self._words(row_filter)
        row_filter.reject(pl.col("value").is_null() | pl.col("value").is_infinite(), "no numeric value")

    def _convert(self, row_filter: RowFilter) -> None:
        code = row_filter.frame["code"].to_numpy()
        value = row_filter.frame["value"].to_numpy()
        scale, offset = self._factors(row_filter.frame, code, value)
        alien, untested = np.isnan(scale), np.isnan(value)
        value = _round(value * scale + offset, self._power.take(code))
        screen = Screen(row_filter)
        screen.reject(alien, "unit of another kind of variable")
        bad = ~((value >= self._low.take(code)) & (value <= self._high.take(code)) | untested)
        for key in sorted({self._items[code].variable.key for code in np.unique(code[bad])}):
            codes = [code for code, item in enumerate(self._items) if item.variable.key == key]
            screen.reject(bad & np.isin(code, codes), f"implausible {key}")
        screen.apply(
            second=row_filter.frame["second"].to_numpy().astype(np.int32),
            variable=self._variable.take(code),
            priority=self._ranked(row_filter.frame, code),
            value=value,
        )
        row_filter.frame = row_filter.frame.select(*EVENTS, *self._specimen)

    def _ranked(self, frame: pl.DataFrame, code: np.ndarray) -> np.ndarray:
        """The priority of each row: that of its item, and of its code among those of the item if it has a rank."""
        priority = self._priority.take(code)
        if "rank" not in frame.columns:
            return priority
        return np.minimum(priority + frame["rank"].fill_null(0).to_numpy(), _LAST).astype(np.int16)

    def _factors(self, frame: pl.DataFrame, code: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of each row: by its own unit if known, else the item's; ``rescale`` comes before both."""
        units: list[str] = []
        unit_code = np.zeros(len(code), dtype=np.int64)
        if "unit" in frame.columns:
            encoded = frame["unit"].to_arrow().dictionary_encode()
            units = encoded.dictionary.to_pylist()
            places = cast(pl.Series, pl.from_arrow(encoded.indices))  # Arrow's own fill_null would import pandas
            unit_code = places.fill_null(len(units)).to_numpy()
        table = np.stack([*(self._factors_of(unit) for unit in units), self._usual], axis=1)
        cell = code * np.int64(len(units) + 1) + unit_code
        scale, offset = (table[:, :, factor].ravel().take(cell) for factor in (0, 1))
        rows = np.flatnonzero(self._rescaled.take(code))
        some, number = code[rows], value[rows]
        for row, item in enumerate(self._items):
            for rule in item.variable.rescale:
                hit = rows[(some == row) & (number >= rule["min"]) & (number <= rule["max"])]
                scale[hit], offset[hit] = conversion(item.variable, rule["unit"]) or (np.nan, np.nan)
        return scale, offset

    def _factors_of(self, unit: str) -> np.ndarray:
        """(items, 2): scale and offset of a value in ``unit``; the item's usual ones without a unit.

        NaN if it is a unit of other variables only.
        """
        if unit not in self._of_unit:
            unknown = (np.nan, np.nan)
            pairs = [
                conversion(item.variable, unit)
                or (unknown if foreign(item.variable, unit) else (item.scale, item.offset))
                for item in self._items
            ]
            self._of_unit[unit] = np.array(pairs).reshape(-1, 2)
        return self._of_unit[unit]


def _round(value: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Round far below any device's resolution, so that a value entered in any unit gives the same result."""
    return np.round(value * power) / power
