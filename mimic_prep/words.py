"""The text of a measurement row: its meaning if there is no number, and whether the number is valid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from clinragen.catalog import Variable, specimen
from mimic_prep.accounting import RowFilter
from mimic_prep.limits import limits

#: The rows that name the specimen of a blood gas, coded like a measurement: 0 to 2, see ``catalog.Specimen.level``.
SPECIMEN_TYPE = Variable(
    key="specimen", label="specimen", kind="gas", unit="level", loinc="", low=None, high=None, source="",
    plausible=(0, 2), decimals=0,
)  # fmt: skip
_WORDED = "no number: read from the text"
_UNTESTED = "could not be tested: no value"


class EntryWords:
    """Reads the columns ``words`` and ``comment`` of rows whose column ``code`` is an index into ``variables``.

    Only rows without a number are read, and those of variables whose text is more specific than their number.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._meanings = [
            (code, text, value) for code, variable in enumerate(variables) for text, value in variable.texts.items()
        ]
        self._charted = np.array([bool(variable.texts) for variable in variables], dtype=bool)  # in words
        self._untestable: dict[str, np.ndarray] = {}  # pattern -> the codes it applies to
        for code, variable in enumerate(variables):
            if variable.untestable is not None:
                holds = self._untestable.setdefault(variable.untestable.pattern, np.zeros(len(variables), dtype=bool))
                holds[code] = True
        self._specimen = np.array([variable is SPECIMEN_TYPE for variable in variables], dtype=bool)
        self._telling = self._specimen | np.array(
            [variable.untestable is not None for variable in variables], dtype=bool
        )

    def __call__(self, row_filter: RowFilter) -> None:
        """Write the values of texts into ``value``: null if there is none, NaN if it could not be tested."""
        frame = row_filter.frame
        code, empty = frame["code"].to_numpy(), frame["value"].is_null().to_numpy()
        rows = np.flatnonzero(empty | self._telling[code])
        if not len(rows):
            return
        some = frame.select(name for name in ("code", "value", "words", "comment", "unit") if name in frame.columns)
        some = some[rows].with_columns(pl.col("words").str.strip_chars())
        code, value = code[rows], some["value"].to_numpy().copy()
        self._read_meanings(some, code, value)
        self._read_specimens(some, code, value)
        units = _read_limits(row_filter, some, np.flatnonzero(np.isnan(value)), value)
        untested = self._untested(some["words"], code)
        value[untested] = np.nan
        numbers = frame["value"].scatter(rows, pl.Series(value, nan_to_null=True))
        if untested.any():
            row_filter.remarks[_UNTESTED] += int(untested.sum())
            numbers = numbers.scatter(rows[untested], np.nan)
        frame = frame.with_columns(numbers)
        if "unit" in frame.columns and units.null_count() < len(units):
            named = np.flatnonzero(units.is_not_null().to_numpy())
            frame = frame.with_columns(frame["unit"].scatter(rows[named], units.gather(named)))
        row_filter.frame = frame

    def _read_meanings(self, some: pl.DataFrame, code: np.ndarray, value: np.ndarray) -> None:
        """Entries of variables that are charted in words."""
        rows = np.flatnonzero(self._charted[code] & np.isnan(value))
        if len(rows):
            code, entry = code[rows], some["words"].gather(rows).str.to_lowercase()
            for variable, text, meant in self._meanings:
                value[rows[(code == variable) & (entry == text).fill_null(False).to_numpy()]] = meant

    def _read_specimens(self, some: pl.DataFrame, code: np.ndarray, value: np.ndarray) -> None:
        rows = np.flatnonzero(self._specimen[code])
        if len(rows):
            words = some["words"].gather(rows)
            if "comment" in some.columns:
                words = words.fill_null(some["comment"].gather(rows))
            level = specimen().level
            value[rows] = [level(text) for text in words]

    def _untested(self, words: pl.Series, code: np.ndarray) -> np.ndarray:
        """Which rows say that the variable could not be tested."""
        untested = np.zeros(len(code), dtype=bool)
        for pattern, holds in self._untestable.items():
            rows = np.flatnonzero(holds[code])
            untested[rows] = words.gather(rows).str.contains("(?i)" + pattern).fill_null(False).to_numpy()
        return untested


def _read_limits(row_filter: RowFilter, some: pl.DataFrame, rows: np.ndarray, value: np.ndarray) -> pl.Series:
    """Write textual results, such as the limit of an assay, into ``value``; returns their units.

    A comment counts if there is no other text.
    """
    units = pl.Series([None], dtype=pl.String).new_from_index(0, some.height)
    if not len(rows):
        return units
    words = some["words"].gather(rows)
    matches, named = limits(words)
    if "comment" in some.columns:
        silent = words.str.contains(r"^_*$").fill_null(True)
        numbers, also = limits(some["comment"].gather(rows), remarks=True)
        matches, named = matches.zip_with(~silent, numbers), named.zip_with(~silent, also)
    hit = matches.is_not_null().to_numpy()
    value[rows[hit]] = matches.drop_nulls().to_numpy()
    if hit.any():
        row_filter.remarks[_WORDED] += int(hit.sum())
    return units.scatter(rows, named)
