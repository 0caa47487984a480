"""Raw measurement rows -> events: stay rank, second from intime, variable, priority, value in the canonical unit.

Rows leave as early as they can: first by item, then by stay and window, and only then are units looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from clinragen.catalog import Variable, variables
from clinragen.errors import UserError
from mimic_prep.accounting import Screen, Sieve
from mimic_prep.sources import EventTable, Only
from mimic_prep.stays import StayIndex, seconds
from mimic_prep.units import conversion, foreign

EVENTS = {"stay": pl.Int32, "second": pl.Int32, "variable": pl.Int16, "priority": pl.Int16, "value": pl.Float64}


@dataclass(frozen=True)
class _Item:
    """One item id of a table: its variable, its place among the variable's items, and its usual unit's factors."""

    variable: Variable
    index: int
    priority: int
    scale: float
    offset: float


def _items(release: str, table: str) -> dict[int | str, _Item]:
    found: dict[int | str, _Item] = {}
    for index, variable in enumerate(variables().values()):
        for priority, (item, unit) in enumerate(variable.items.get(release, {}).get(table, {}).items()):
            factors = (1.0, 0.0) if unit is None else conversion(variable, unit)
            if factors is None:
                raise UserError(f"variables.yaml: {variable.key}: unit '{unit}' of item {item} is not among its units")
            found[item] = _Item(variable, index, priority, *factors)
    return found


class EventRules:
    """The rules that turn one table's rows into events; called in worker threads.

    ``only`` names the items, for the reader to drop all other rows.
    """

    def __init__(self, source: EventTable, release: str, index: StayIndex, *, drop_warnings: bool) -> None:
        self._source = source
        self._index = index
        self._drop_warnings = drop_warnings
        items = _items(release, source.table.name)
        self._ids = list(items)
        wanted = (*items, source.generic) if source.generic else tuple(items)
        self.only = None if source.wide else Only("item", wanted, "item not used")
        self._of_unit: dict[str, np.ndarray] = {}
        self._items = list(items.values())
        self._usual = np.array([(item.scale, item.offset) for item in self._items]).reshape(-1, 2)
        self._variable = np.array([item.index for item in self._items])
        self._priority = np.array([item.priority for item in self._items])
        self._bounds = np.array([item.variable.plausible for item in self._items]).reshape(-1, 2)
        self._texts = [
            (code, words, value)
            for code, item in enumerate(self._items)
            for words, value in item.variable.texts.items()
        ]
        self._power = 10.0 ** np.array([item.variable.decimals + 3 for item in self._items])

    def __call__(self, sieve: Sieve) -> None:
        if self._source.wide:
            self._unfold(sieve)
        self._attach(sieve)
        self._check_value(sieve)
        self._convert(sieve)

    def _unfold(self, sieve: Sieve) -> None:
        """Columns of a wide table become rows; from here on a measurement, not a line, is what is counted."""
        items = [str(item) for item in self._ids if item in sieve.frame.columns]
        keep = [self._source.key, "time", "line"]
        bad = sum(len(lines) for _, lines in sieve.quarantined)
        if self._source.minute is not None:
            sieve.frame = sieve.frame.with_columns(time=pl.lit(self._source.minute, dtype=pl.Int64))
        sieve.frame = sieve.frame.unpivot(items, index=keep, variable_name="item").drop_nulls("value")
        sieve.read = sieve.frame.height + bad

    def _attach(self, sieve: Sieve) -> None:
        """Item, stay and second from intime of each row; rows outside the window leave, all at once."""
        screen = Screen(sieve)
        screen.reject(sieve.frame["item"].is_null(), "no item")
        if self._source.generic:
            named = pl.when(pl.col("item") == self._source.generic).then("label").otherwise("item")
            sieve.frame = sieve.frame.with_columns(item=named)
            used = sieve.frame["item"].is_in(self._ids)
            screen.skip(~used.fill_null(False), "item not used")
        frame = sieve.frame
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
        second = moment if minutes else moment - self._index.intime[rank]
        screen.skip((second < self._index.start[rank]) | (second >= self._index.end[rank]), "outside the window")
        screen.apply(stay=rank.astype(np.int32), second=second)
        codes = range(len(self._ids))
        code = pl.col("item").replace_strict(self._ids, codes, default=None, return_dtype=pl.Int16)
        sieve.frame = sieve.frame.with_columns(code=code)

    def _check_value(self, sieve: Sieve) -> None:
        if "error" in sieve.frame.columns:
            sieve.reject(pl.col("error") != 0, "marked as an error")
        if self._drop_warnings and "warning" in sieve.frame.columns:
            sieve.reject(pl.col("warning") != 0, "marked with a warning")
        if sieve.frame.schema["value"] == pl.String:
            number = pl.col("value").str.strip_chars().str.strip_suffix("%").str.strip_chars_end()
            sieve.frame = sieve.frame.with_columns(number.cast(pl.Float64, strict=False).alias("value"))
        if self._texts and "words" in sieve.frame.columns:
            sieve.frame = sieve.frame.with_columns(value=self._read_words(sieve.frame))
        sieve.reject(pl.col("value").is_null() | pl.col("value").is_infinite(), "no numeric value")

    def _read_words(self, frame: pl.DataFrame) -> pl.Series:
        """The values, and where there is none what the entry's text means; few rows need their text read."""
        code = frame["code"].to_numpy()
        worded = np.isin(code, [code for code, _, _ in self._texts])
        rows = np.flatnonzero(worded & frame["value"].is_null().to_numpy())
        if not len(rows):
            return frame["value"]
        entry = frame["words"].gather(rows).str.strip_chars().str.to_lowercase()
        meant = frame["value"].to_numpy().copy()
        for wanted, words, value in self._texts:
            meant[rows[(code[rows] == wanted) & (entry == words).fill_null(False).to_numpy()]] = value
        return pl.Series("value", meant, nan_to_null=True)

    def _convert(self, sieve: Sieve) -> None:
        code = sieve.frame["code"].to_numpy()
        value = sieve.frame["value"].to_numpy()
        scale, offset = self._factors(sieve.frame, code, value)
        value = _round(value * scale + offset, self._power[code])
        low, high = self._bounds[code].T if len(code) else (np.empty(0), np.empty(0))
        sieve.frame = sieve.frame.select(
            "stay",
            pl.col("second").cast(pl.Int32),
            pl.Series("variable", self._variable[code], dtype=pl.Int16),
            pl.Series("priority", self._priority[code], dtype=pl.Int16),
            pl.Series("value", value, dtype=pl.Float64),
            "line",
            pl.Series("plausible", (value >= low) & (value <= high), dtype=pl.Boolean),
            pl.Series("foreign", np.isnan(value), dtype=pl.Boolean),
        )
        sieve.reject(pl.col("foreign"), "unit of another kind of variable")
        wrong = sieve.frame.filter(~pl.col("plausible"))["variable"].unique().sort().to_list()
        keys = list(variables())
        for index in wrong:
            sieve.reject(~pl.col("plausible") & (pl.col("variable") == index), f"implausible {keys[index]}")
        sieve.frame = sieve.frame.select(*EVENTS)

    def _factors(self, frame: pl.DataFrame, code: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of each row: of its own unit where known, else the item's; ``rescale`` goes before both."""
        units = frame["unit"].unique().drop_nulls().sort().to_list() if "unit" in frame.columns else []
        table = np.stack([*(self._factors_of(unit) for unit in units), self._usual], axis=1)
        unit_code = np.full(len(code), len(units))
        if units:
            known = pl.col("unit").replace_strict(units, range(len(units)), default=len(units), return_dtype=pl.Int32)
            unit_code = frame.select(known).to_series().to_numpy()
        factors = table[code, unit_code] if len(code) else np.empty((0, 2))
        for row, item in enumerate(self._items):
            for rule in item.variable.rescale:
                hit = (code == row) & (value >= rule["min"]) & (value <= rule["max"])
                factors[hit] = conversion(item.variable, rule["unit"])
        return factors[:, 0], factors[:, 1]

    def _factors_of(self, unit: str) -> np.ndarray:
        """(items, 2): scale and offset of a value in ``unit``, the item's usual ones where it says nothing.

        NaN where it is a unit of other variables only.
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
    """Rounded far below what any device resolves, so that a value entered in any unit comes out the same."""
    return np.round(value * power) / power
