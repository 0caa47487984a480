"""Raw measurement rows -> events: stay rank, second from intime, variable, priority, value in the canonical unit, and
the second from intime at which it was known.

Rows leave as early as they can: first by item, then by stay and window, and only then are units looked at. The value of
an entry that says the variable could not be tested is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from clinragen.catalog import Variable, specimen, variables
from clinragen.errors import UserError
from mimic_prep.accounting import Screen, Sieve
from mimic_prep.limits import limits
from mimic_prep.qualify import SPECIMEN, companions
from mimic_prep.sources import EventTable, Only
from mimic_prep.stays import StayIndex, seconds
from mimic_prep.units import conversion, foreign

EVENTS = {
    "stay": pl.Int32, "second": pl.Int32, "variable": pl.Int16, "priority": pl.Int16, "value": pl.Float64,
    "known": pl.Int32,
}  # fmt: skip
_LATEST = (1 << 31) - 1
_UNDATED = "no time of entry: known when charted"
_WORDED = "no number: read from the text"
_UNTESTED = "could not be tested: no value"


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
    keys = list(variables().values())
    for item, (index, priority) in companions(release, table).items():
        variable = _SPECIMEN if index == SPECIMEN else keys[priority]
        found[item] = _Item(variable, index, priority, 1.0, 0.0)
    return found


#: The rows that name the sample of a blood gas, as if they were a measurement: 0 to 2, see ``catalog.Specimen.level``.
_SPECIMEN = Variable(
    key="specimen", label="specimen", kind="specimen", unit="level", loinc="", low=None, high=None, source="",
    plausible=(0, 2), decimals=0,
)  # fmt: skip


class EventRules:
    """The rules that turn one table's rows into events; called in worker threads.

    ``only`` names the items, for the reader to drop all other rows.
    """

    def __init__(
        self, source: EventTable, release: str, index: StayIndex, *, drop_warnings: bool, known_at: str = "storetime"
    ) -> None:
        self._source = source
        self._index = index
        self._drop_warnings = drop_warnings
        self._by_entry = known_at == "storetime"
        self._specimen = ["specimen"] if "specimen" in source.table.columns else []
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
        self._specimens = [code for code, item in enumerate(self._items) if item.index == SPECIMEN]
        self._untestable: dict[str, list[int]] = {}  # pattern -> codes
        for code, item in enumerate(self._items):
            if item.variable.untestable is not None:
                self._untestable.setdefault(item.variable.untestable.pattern, []).append(code)
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
        known = self._known(frame, second, rank)
        if self._by_entry:  # nothing is known before the time it is charted for, whatever a clock says
            screen.skip(known >= self._index.end[rank], "not known by the prediction time")
        columns = {"stay": rank.astype(np.int32), "second": second, "known": known.astype(np.int32)}
        if "known" in frame.columns and frame["known"].null_count():
            columns["undated"] = frame["known"].is_null().to_numpy()
        screen.apply(**columns)
        if "undated" in columns:
            sieve.remarks[_UNDATED] += int(sieve.frame["undated"].sum())
        codes = range(len(self._ids))
        code = pl.col("item").replace_strict(self._ids, codes, default=None, return_dtype=pl.Int16)
        sieve.frame = sieve.frame.with_columns(code=code)

    def _known(self, frame: pl.DataFrame, second: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """When each row was entered, in seconds from intime; when it is charted for where nothing is told."""
        if "known" not in frame.columns:
            return second
        entered = frame["known"]
        if entered.null_count() == len(entered):
            return second
        if entered.dtype == pl.Int64:
            known = entered.fill_null(0).to_numpy() * 60
        else:
            known = seconds(entered) - self._index.intime[rank]
        known = np.clip(known, -_LATEST, _LATEST)
        return np.where(entered.is_null().to_numpy(), second, known) if entered.null_count() else known

    def _check_value(self, sieve: Sieve) -> None:
        if "error" in sieve.frame.columns:
            sieve.reject(pl.col("error") != 0, "marked as an error")
        if self._drop_warnings and "warning" in sieve.frame.columns:
            sieve.reject(pl.col("warning") != 0, "marked with a warning")
        if sieve.frame.schema["value"] == pl.String:
            text = pl.col("value").str.strip_chars()
            number = text.str.strip_suffix("%").str.strip_chars_end().cast(pl.Float64, strict=False).fill_nan(None)
            sieve.frame = sieve.frame.with_columns(value=number, words=text)
        if "words" in sieve.frame.columns:
            sieve.frame = self._read_words(sieve)
        sieve.reject(pl.col("value").is_null() | pl.col("value").is_infinite(), "no numeric value")

    def _read_words(self, sieve: Sieve) -> pl.DataFrame:
        """The rows with the values that only their text tells; few rows need their text read."""
        frame = sieve.frame
        code, value = frame["code"].to_numpy(), frame["value"].to_numpy().copy()
        empty = frame["value"].is_null().to_numpy()
        self._read_meanings(frame["words"], code, empty, value)
        self._read_specimens(frame, code, value)
        left = np.flatnonzero(empty & np.isnan(value))
        unit = frame["unit"] if "unit" in frame.columns else None
        if len(left):
            unit = self._read_limits(sieve, left, value, unit)
        untested = self._untested(frame["words"], code)
        value[untested] = np.nan
        if len(untested):
            sieve.remarks[_UNTESTED] += len(untested)
        numbers = pl.Series("value", value, nan_to_null=True)
        if len(untested):  # NaN, told from null, which is no value at all
            numbers = numbers.scatter(untested, np.nan)
        return frame.with_columns(numbers, *([] if unit is None else [unit]))

    def _read_meanings(self, words: pl.Series, code: np.ndarray, empty: np.ndarray, value: np.ndarray) -> None:
        """Entries in words of variables that are charted in words."""
        rows = np.flatnonzero(np.isin(code, [code for code, _, _ in self._texts]) & empty)
        if len(rows):
            entry = words.gather(rows).str.strip_chars().str.to_lowercase()
            for wanted, text, meant in self._texts:
                value[rows[(code[rows] == wanted) & (entry == text).fill_null(False).to_numpy()]] = meant

    def _read_specimens(self, frame: pl.DataFrame, code: np.ndarray, value: np.ndarray) -> None:
        rows = np.flatnonzero(np.isin(code, self._specimens)) if self._specimens else []
        if len(rows):
            words = frame["words"].gather(rows)
            if "comment" in frame.columns:
                words = words.fill_null(frame["comment"].gather(rows))
            value[rows] = [specimen().level(text) for text in words]

    def _read_limits(
        self, sieve: Sieve, rows: np.ndarray, value: np.ndarray, unit: pl.Series | None
    ) -> pl.Series | None:
        """Results in words, such as the limit of an assay; a comment counts where there is no other text."""
        found, named = limits(sieve.frame["words"].gather(rows))
        if "comment" in sieve.frame.columns:
            silent = sieve.frame["words"].gather(rows).str.contains(r"^[\s_]*$").fill_null(True)
            told, also = limits(sieve.frame["comment"].gather(rows), remarks=True)
            found, named = found.zip_with(~silent, told), named.zip_with(~silent, also)
        hit = found.is_not_null().to_numpy()
        if not hit.any():
            return unit
        value[rows[hit]] = found.drop_nulls().to_numpy()
        sieve.remarks[_WORDED] += int(hit.sum())
        own = (named.is_not_null() & found.is_not_null()).to_numpy()
        if unit is None or not own.any():
            return unit
        return unit.scatter(rows[own], named.filter(pl.Series(own)))

    def _untested(self, words: pl.Series, code: np.ndarray) -> np.ndarray:
        """The rows whose text says that the variable could not be tested."""
        found = [np.empty(0, dtype=np.int64)]
        for pattern, codes in self._untestable.items():
            rows = np.flatnonzero(np.isin(code, codes))
            if len(rows):
                hit = words.gather(rows).str.contains("(?i)" + pattern).fill_null(False)
                found.append(rows[hit.to_numpy()])
        return np.concatenate(found)

    def _convert(self, sieve: Sieve) -> None:
        code = sieve.frame["code"].to_numpy()
        value = sieve.frame["value"].to_numpy()
        scale, offset = self._factors(sieve.frame, code, value)
        alien, untested = np.isnan(scale), np.isnan(value)
        value = _round(value * scale + offset, self._power[code])
        low, high = self._bounds[code].T if len(code) else (np.empty(0), np.empty(0))
        sieve.frame = sieve.frame.select(
            "stay",
            pl.col("second").cast(pl.Int32),
            pl.Series("variable", self._variable[code], dtype=pl.Int16),
            pl.Series("priority", self._priority[code], dtype=pl.Int16),
            pl.Series("value", value, dtype=pl.Float64),
            "known",
            *self._specimen,
            "line",
            pl.Series("code", code, dtype=pl.Int16),
            pl.Series("plausible", (value >= low) & (value <= high) | untested, dtype=pl.Boolean),
            pl.Series("foreign", alien, dtype=pl.Boolean),
        )
        sieve.reject(pl.col("foreign"), "unit of another kind of variable")
        wrong = sieve.frame.filter(~pl.col("plausible"))["code"].unique().sort().to_list()
        for key in sorted({self._items[code].variable.key for code in wrong}):
            codes = [code for code, item in enumerate(self._items) if item.variable.key == key]
            sieve.reject(~pl.col("plausible") & pl.col("code").is_in(codes), f"implausible {key}")
        sieve.frame = sieve.frame.select(*EVENTS, *self._specimen)

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
