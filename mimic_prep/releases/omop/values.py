"""Rows of ``measurement`` and ``observation`` as values: which variable, when, in which unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache

import polars as pl

from clinragen.catalog import variables
from mimic_prep.accounting import RowFilter
from mimic_prep.dates_as_times import MIDNIGHT
from mimic_prep.distinct import of_pairs, of_values
from mimic_prep.items import items_of
from mimic_prep.releases.omop.settings import OmopSettings
from mimic_prep.releases.omop.tables import ITEMS
from mimic_prep.releases.omop.vocabulary import OWN, Vocabulary
from mimic_prep.tables import Derivation, Table
from mimic_prep.unit_conversion import conversion
from mimic_prep.unit_screen import screen, variable_of

_NO_DAYS = [date(1900, 1, 1), date(1899, 12, 30), date(1970, 1, 1)]  # of a time of day that was cast to a time
_NO_DAY = "time without its day: on the day of the date column"
_BY_SOURCE = "no standard concept: read from the source"
_DATED = "date without a time: counts at the end of that day"
_FROM_TEXT = "number read from the source value"
_MOST_PAIRS = 1 << 14  # of an item and a unit whose spelling is remembered
CONCEPT, SOURCE = "concept", "source value"  # kinds of codes that no variable has
END_OF_DAY = pl.duration(hours=23, minutes=59, seconds=59)


def with_values(table: Table, vocabulary: Vocabulary, settings: OmopSettings, *, dated: bool) -> Table:
    """The table with the columns item, time and unit. ``dated``: midnight means that the time is unknown."""
    rule = _Values(table, vocabulary, settings, dated=dated)
    return replace(table, derived=Derivation(rule, f"3 {dated} {settings.digest()} {vocabulary.digest()}"))


def time_of(moment: str, date: str, *, dated: bool) -> pl.Expr:
    """The time of a row; that of a date alone is the end of its day, as it must not be known before it was measured."""
    stated = pl.col(moment)
    if dated:
        stated = pl.when(stated.dt.time() != MIDNIGHT).then(stated)
    return pl.coalesce(stated, pl.coalesce(date, moment) + END_OF_DAY)


class _Values:
    def __init__(self, table: Table, vocabulary: Vocabulary, settings: OmopSettings, *, dated: bool) -> None:
        self._clock = "clock" in table.columns
        self._dated = dated
        self._name = table.name
        self._items = vocabulary.items[table.name]
        self._units = vocabulary.units
        self._variables = variable_of(ITEMS, table.name)
        self._spelling_of = lru_cache(_MOST_PAIRS)(self._spelling)
        self._source_items: dict[str, int] = {}
        self._source_units: dict[str, str] = {}
        self._concept_units = {
            concept: meaning.unit for concept, meaning in settings.concepts.items() if meaning.unit is not None
        }
        by_code = {code.lower(): item for code, item in vocabulary.loinc[table.name].items()}
        for source, meaning in settings.source_values.items():
            if meaning.variable is None:
                continue
            variable = variables()[meaning.variable]
            if ids := list(items_of(variable, ITEMS, table.name)):
                by_code[source.lower()] = int(ids[0])
                if meaning.unit is not None:
                    self._source_units[source.lower()] = meaning.unit
        self._source_items = by_code

    def __call__(self, row_filter: RowFilter) -> None:
        self._find_items(row_filter)
        self._find_times(row_filter)
        self._find_numbers(row_filter)
        self._find_units(row_filter)

    def _find_items(self, row_filter: RowFilter) -> None:
        """By the standard concept; where there is none, by the source concept or the source value."""
        frame = row_filter.frame
        item = of_values(frame["concept"], self._items.get, pl.Int64())
        unmapped = (
            item.is_null()
            & frame.select(
                pl.col("concept").is_null() | (pl.col("concept") == 0) | (pl.col("concept") >= OWN)
            ).to_series()
        )
        if (rows := unmapped.arg_true()).len():
            item = item.scatter(rows, self._by_source(frame.select("source_concept", "source")[rows]))
        row_filter.frame = frame.with_columns(item=item, unmapped=unmapped)
        no_item = pl.col("item").is_null()
        valued = pl.col("value").is_not_null() | pl.col("words").is_not_null()  # others are diagnoses and the like
        row_filter.count_unused(no_item & valued & ~pl.col("unmapped"), CONCEPT, "concept")
        row_filter.count_unused(no_item & valued & pl.col("unmapped"), SOURCE, "source")
        row_filter.skip(no_item & ~pl.col("unmapped"), "concept not used")
        row_filter.skip(no_item, "no standard concept, and a source that is not used")
        if count := int(row_filter.frame["unmapped"].sum()):
            row_filter.remarks[_BY_SOURCE] += count

    def _by_source(self, rows: pl.DataFrame) -> pl.Series:
        item = of_values(rows["source_concept"], self._items.get, pl.Int64())
        if self._source_items:
            source = rows["source"].str.strip_chars().str.to_lowercase()
            by_value = source.replace_strict(self._source_items, default=None, return_dtype=pl.Int64)
            item = item.zip_with(item.is_not_null(), by_value)
        return item

    def _find_times(self, row_filter: RowFilter) -> None:
        frame = self._on_its_day(row_filter)
        if self._clock and (self._dated or frame["moment"].null_count()):
            written = pl.col("clock").str.extract(r"(\d{1,2}:\d{2}(?::\d{2})?)")
            clock = pl.coalesce(written.str.to_time(form, strict=False) for form in ("%H:%M:%S", "%H:%M"))
            moment = pl.col("date").dt.date().dt.combine(clock).cast(pl.Datetime("ms"))
            if self._dated:  # midnight says nothing, and the clock does
                moment = pl.when((pl.col("moment").dt.time() == MIDNIGHT).fill_null(True)).then(moment)
                frame = frame.with_columns(moment=pl.coalesce(moment, "moment"))
            else:
                frame = frame.with_columns(moment=pl.coalesce("moment", moment))
        counted = time_of("moment", "date", dated=self._dated).cast(pl.Datetime("ms"))
        row_filter.frame = frame.with_columns(time=counted)
        alone = (pl.col("time") != pl.col("moment")).fill_null(True) & pl.col("time").is_not_null()
        if count := row_filter.frame.select(alone.sum()).item():
            row_filter.remarks[_DATED] += count

    def _on_its_day(self, row_filter: RowFilter) -> pl.DataFrame:
        """The rows with the day of the date column, where the time has that from which a database counts."""
        frame = row_filter.frame
        days = frame["moment"].dt.date()
        lost = days.is_in(_NO_DAYS) & (frame["date"].dt.date() != days)
        lost = lost.fill_null(False)
        if not lost.any():
            return frame
        row_filter.remarks[_NO_DAY] += int(lost.sum())
        moment = pl.col("date").dt.date().dt.combine(pl.col("moment").dt.time()).cast(frame["moment"].dtype)
        return frame.with_columns(moment=pl.when(lost).then(moment).otherwise("moment"))

    def _find_numbers(self, row_filter: RowFilter) -> None:
        frame = row_filter.frame
        empty = frame["value"].is_null().arg_true()
        if not empty.len():
            return
        number = frame["words"].gather(empty).str.strip_chars().str.extract(r"^([+-]?\d+(?:\.\d+)?)$").cast(pl.Float64)
        if count := number.len() - number.null_count():
            row_filter.remarks[_FROM_TEXT] += count
        row_filter.frame = frame.with_columns(frame["value"].scatter(empty, number))

    def _find_units(self, row_filter: RowFilter) -> None:
        """The unit concept if it is known, else the unit as written, else that of the source value."""
        frame = row_filter.frame
        frame = frame.with_columns(unit=of_pairs(frame["item"], frame["unit_concept"], self._spelling_of))
        source = pl.col("source").str.strip_chars().str.to_lowercase()
        usual = pl.lit(None, dtype=pl.String)
        if self._source_units:
            usual = source.replace_strict(self._source_units, default=None, return_dtype=pl.String)
        if self._concept_units:
            of_concept = pl.col("concept").replace_strict(self._concept_units, default=None, return_dtype=pl.String)
            usual = pl.coalesce(usual, of_concept)
        written = pl.when(pl.col("unit_source").str.strip_chars() != "").then(pl.col("unit_source"))
        row_filter.frame = frame.with_columns(unit=pl.coalesce("unit", written, usual))
        screen(row_filter, ITEMS, self._name)

    def _spelling(self, item: int, concept: int) -> str | None:
        """The spelling of a unit that the variable knows; None for "no unit", and for units that are not known."""
        spellings = self._units.get(concept)
        if not spellings:
            return None
        variable = self._variables.get(item)
        fitting = (unit for unit in spellings if variable is not None and conversion(variable, unit) is not None)
        return next(fitting, spellings[0])
