"""Rows of CLIF's tables in canonical columns: numbers for ids, one clock, items by category, and the patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import polars as pl

from clinragen.catalog import Variable
from mimic_prep.accounting import RowFilter
from mimic_prep.dates_as_times import MIDNIGHT
from mimic_prep.doses import read_rates
from mimic_prep.releases.clif.settings import ClifSettings
from mimic_prep.releases.clif.tables import ASSESSMENTS, DEVICE, DRUGS, INFUSIONS, ITEMS, LABS, VITALS
from mimic_prep.site_settings import matches
from mimic_prep.tables import INSTANT, Derivation, Table
from mimic_prep.text_ids import numbered
from mimic_prep.unit_screen import screen, variable_of

_PRESSURES = ["sbp", "dbp", "map"]
CATEGORY = "category"  # kind of codes that no variable has
_DATED = "date without a time: counts at the end of that day"
_TO_END_OF_DAY = timedelta(hours=23, minutes=59, seconds=59)
_UNORDERED = "no time of collection: counts from its result"


class Rows:
    """Completes the rows of each table. ``hours``: how far the hospital's clock is ahead of UTC."""

    def __init__(self, settings: ClifSettings, hours: float) -> None:
        self._settings = settings
        self._hours = hours
        self._key = f"2 {hours:g} {settings.digest()}"
        self._patients: dict[int, int] = {}  # hospitalization -> patient
        self._dated: frozenset[str] = frozenset()  # tables whose times are dates

    def place(self, admissions: pl.DataFrame) -> None:
        """Take the patient of each hospitalization from ``admissions`` (hadm_id, subject_id)."""
        self._patients = dict(admissions.select("hadm_id", "subject_id").iter_rows())

    def date(self, tables: Iterable[str]) -> None:
        """Take the tables whose times are dates: their rows count at the end of the day."""
        self._dated = frozenset(tables)

    def table(self, table: Table) -> Table:
        """The table with numbers for ids, and times on the hospital's clock."""
        return replace(table, derived=Derivation(self._completed(table), self._key))

    def placed(self, table: Table) -> Table:
        """The table with the patient of each row, too, and with items and units where it has categories."""
        complete, words = self._completed(table), "category" in table.columns

        def rule(row_filter: RowFilter) -> None:
            complete(row_filter)
            row_filter.reject(pl.col("hadm_id").is_null(), "no hospitalization_id")
            subject = pl.col("hadm_id").replace_strict(self._patients, default=None, return_dtype=pl.Int64)
            row_filter.frame = row_filter.frame.with_columns(subject_id=subject)
            row_filter.skip(pl.col("subject_id").is_null(), "hospitalization not in its table")
            if table.part == INFUSIONS.part and table.name == INFUSIONS.name:
                self._read_infusions(row_filter)
            if DEVICE in table.columns:
                invasive = (
                    pl.when(pl.col(DEVICE).str.strip_chars().str.to_lowercase() == "imv").then(1.0).otherwise(0.0)
                )
                device = pl.when(pl.col(DEVICE).is_not_null()).then(invasive)
                row_filter.frame = row_filter.frame.with_columns(device.alias(DEVICE))
            if table in DRUGS:
                self._find_drugs(row_filter)
            elif words:
                self._find_items(row_filter, table)

        return replace(table, derived=Derivation(rule, f"{self._key} {table.name in self._dated}"))

    def _completed(self, table: Table) -> Callable[[RowFilter], None]:
        times = [name for name, column in table.columns.items() if column.type == INSTANT]
        ids = {"patient": "subject_id", "admission": "hadm_id"}
        shift = timedelta(hours=self._hours)
        dated = table.name in self._dated

        def rule(row_filter: RowFilter) -> None:
            frame = row_filter.frame
            if dated:
                midnight = (frame["time"].dt.time() == MIDNIGHT).fill_null(False)
                row_filter.remarks[_DATED] += int(midnight.sum())
                end = pl.when(midnight).then(pl.col("time") + _TO_END_OF_DAY).otherwise("time")
                frame = frame.with_columns(time=end)
            frame = frame.with_columns(pl.col(name) + shift for name in times)
            given = {new: numbered(frame[old]) for old, new in ids.items() if old in table.columns}
            row_filter.frame = frame.with_columns(**given)

        return rule

    def _find_items(self, row_filter: RowFilter, table: Table) -> None:
        by_item = variable_of(ITEMS, table.name)
        item = pl.col("category").str.strip_chars().str.to_lowercase().str.replace_all(r"[ -]+", "_")
        row_filter.frame = row_filter.frame.with_columns(item=item)
        row_filter.reject(pl.col("item").is_null() | (pl.col("item") == ""), f"no {table.columns['category'].raw}")
        if table.name == VITALS.name:
            line = matches("name", self._settings.arterial_line) & pl.col("item").is_in(_PRESSURES)
            item = pl.when(line).then(pl.concat_str(pl.lit("arterial_"), "item")).otherwise("item")
            row_filter.frame = row_filter.frame.with_columns(item=item)
        if of_site := self._of_site(by_item):
            row_filter.frame = row_filter.frame.with_columns(item=pl.col("item").replace(of_site))
        no_item = ~pl.col("item").is_in([str(name) for name in by_item])
        row_filter.count_unused(no_item, CATEGORY, "item")
        row_filter.skip(no_item, "category not used")
        if table.name == LABS.name:
            other = pl.col("sample").is_not_null() & ~matches("sample", self._settings.blood)
            row_filter.skip(other, "of another specimen than blood")
            late = pl.col("time").is_null() & pl.col("known").is_not_null()
            if count := row_filter.frame.select(late.sum()).item():
                row_filter.remarks[_UNORDERED] += count
            row_filter.frame = row_filter.frame.with_columns(time=pl.coalesce("time", "known"))
            screen(row_filter, ITEMS, table.name)
        if table.name == ASSESSMENTS.name:  # a score of 0 means that a tube prevented the test
            untested = pl.col("item").str.starts_with("gcs_") & (pl.col("value") == 0)
            row_filter.frame = row_filter.frame.with_columns(
                words=pl.when(untested).then(pl.lit("intubated")).otherwise("words"),
                value=pl.when(~untested.fill_null(False)).then("value"),
            )

    def _of_site(self, by_item: Mapping[int | str, Variable]) -> dict[str, str]:
        """Category -> item, for the categories of the settings that this table has a variable for."""
        first = {variable.key: str(item) for item, variable in reversed(list(by_item.items()))}
        return {
            name: first[category.variable]
            for name, category in self._settings.categories.items()
            if category.variable in first
        }

    def _read_infusions(self, row_filter: RowFilter) -> None:
        """Rates of infusions; one that was stopped is 0, one that was not given none."""
        items = variable_of(ITEMS, INFUSIONS.name)
        item = pl.col("drug").str.strip_chars().str.to_lowercase().str.replace_all(r"[ -]+", "_")
        stopped = pl.col("given").str.strip_chars().str.to_lowercase().is_in(["stop", "stopped"]).fill_null(False)
        rate = pl.when(stopped).then(0.0).otherwise("dose")
        row_filter.frame = row_filter.frame.with_columns(item=item, rate=rate)
        row_filter.skip(~pl.col("item").is_in([str(name) for name in items]), "drug not used")
        row_filter.skip(~stopped & matches("given", self._settings.not_given), "drug not given")
        read_rates(row_filter, items)

    def _find_drugs(self, row_filter: RowFilter) -> None:
        row_filter.skip(matches("action", self._settings.not_given), "drug stopped or not given")
        category = pl.col("category").str.strip_chars().str.replace_all("_", " ")
        drug = pl.coalesce(pl.when(category != "").then(category), pl.col("name").str.strip_chars())
        row_filter.frame = row_filter.frame.with_columns(drug=drug, drug_type=pl.lit(None, dtype=pl.String))
