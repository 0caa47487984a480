"""The stays of a request as tables of a cohort, and what of the request is not read, with the reason.

Nothing at or after the prediction time of a stay is read, whatever the request holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.cohort.folder import frame
from clinragen.cohort.window import LONGEST, Window
from clinragen.schema import NOTES, SERIES, STAYS
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import Field, path_of

LATE = "at or after the prediction time"
EARLY = "before the hours that the model reads"
MOST_CODES = 50  # that are listed for a reason
#: Years of a stay; shifted dates of de-identified data lie in the future.
FIRST_YEAR, LAST_YEAR = 1800, 2999
#: The split of all stays of a request: they are new to the model.
SPLIT = "test"


@dataclass
class LeftOut:
    """Counts of what is not read: by reason, and for codes by reason and code."""

    rows: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, reason: str, rows: int = 1, code: str | None = None) -> None:
        """Count rows.

        Args:
            reason: why they are not read.
            rows: how many.
            code: of a coding system, if a code is the reason.
        """
        if rows:
            self.rows[reason] += rows
            if code is not None:
                self.codes.setdefault(reason, Counter())[code] += rows

    def as_json(self) -> list[dict[str, Any]]:
        """One entry for each reason: ``reason``, ``rows`` and ``codes``, the most frequent."""
        return [
            {"reason": reason, "rows": rows, "codes": dict(self.codes.get(reason, Counter()).most_common(MOST_CODES))}
            for reason, rows in sorted(self.rows.items())
        ]


@dataclass(frozen=True)
class Intake:
    """Stays to predict.

    Attributes:
        stays: ``schema.STAYS``, one row per stay by ascending id.
        series: ``schema.SERIES``.
        notes: ``schema.NOTES``.
        source: database that they come from, if the request says so.
        left_out: what was not read.
        encounters: stay id -> id of the FHIR encounter.
    """

    stays: pl.DataFrame
    series: pl.DataFrame
    notes: pl.DataFrame
    source: str | None
    left_out: LeftOut
    encounters: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of_rows(
        cls,
        rows: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]], Sequence[dict[str, Any]]],
        window: Window,
        source: str | None,
        left_out: LeftOut,
        encounters: dict[int, str] | None = None,
    ) -> Intake:
        """From rows of stays, series and notes, without those outside the window and from the prediction time on.

        Args:
            rows: of ``schema.STAYS``, ``schema.SERIES`` and ``schema.NOTES``.
            window: the hours that the model reads.
            source: database, if it is stated.
            left_out: counts what is not read.
            encounters: stay id -> id of the FHIR encounter.
        """
        stays, series, notes = (table(part, schema) for part, schema in zip(rows, (STAYS, SERIES, NOTES), strict=True))
        stays = stays.sort("stay_id")
        return cls(
            stays,
            _hourly(_within(series, stays, window, left_out)),
            _before(notes, stays, left_out),
            source,
            left_out,
            encounters or {},
        )

    def only(self, position: int) -> Intake | None:
        """The stay at a position, from 0; None if there are fewer."""
        if not 0 <= position < len(self.stays):
            return None
        stays = self.stays[position : position + 1]
        series, notes = (
            part.join(stays.select("stay_id"), on="stay_id", how="semi") for part in (self.series, self.notes)
        )
        return Intake(stays, series, notes, self.source, self.left_out, self.encounters)

    def excess(self, limits: Limits) -> list[Field]:
        """The limits that are passed."""
        letters = self.notes.group_by("stay_id").agg(pl.col("text").str.len_chars().sum())["text"].max()
        counts = (
            ("stays", len(self.stays), limits.stays, "stays"),
            ("series", len(self.series), limits.measurements, "measurements"),
            ("notes", int(letters or 0), limits.letters, "characters of notes for a stay"),  # type: ignore[arg-type]
        )
        return [
            Field(path, f"at most {most:,} {what} are read, there are {count:,}")
            for path, count, most, what in counts
            if count > most
        ]


def table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pl.DataFrame:
    """Rows as a table of a cohort."""
    return frame(pa.Table.from_pylist(list(rows), schema))


def naive(times: Iterable[datetime | None]) -> set[bool]:
    """Whether times lack a time zone: both values if some do and some do not."""
    return {time.tzinfo is None for time in times if time is not None}


def utc(time: datetime | None) -> datetime | None:
    """A time without its zone, in UTC, to the millisecond; one without a zone stays as it is."""
    if time is None:
        return None
    moved = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    return moved.replace(microsecond=moved.microsecond // 1000 * 1000)


def prediction_end(
    start: datetime, end: datetime | None, prediction: datetime | None, window: Window
) -> tuple[datetime | None, Field | None]:
    """The time of prediction of a stay, or the field that is wrong.

    Args:
        start: of the stay.
        end: of the stay, if it has one.
        prediction: the time that the request asks for; by default the end of the window, or of the stay if that is
            earlier.
        window: the hours that the model reads.
    """
    for name, time in (("intime", start), ("outtime", end), ("prediction_time", prediction)):
        if time is not None and not FIRST_YEAR <= time.year <= LAST_YEAR:
            return None, Field(name, f"a year from {FIRST_YEAR} to {LAST_YEAR} is expected")
    if end is not None and not timedelta() < end - start < timedelta(hours=LONGEST):
        return None, Field("outtime", f"must be after intime, and at most {LONGEST:,} hours after it")
    latest = end
    if window.kind == "first":
        closes = start + timedelta(hours=window.hours)
        latest = min(closes, end) if end else closes
        if prediction and prediction > closes:
            return None, Field("prediction_time", f"the model reads {window}: at most so long after intime")
    chosen = prediction or latest
    if chosen is None:
        return None, Field("prediction_time", f"is needed, or outtime: the model reads {window}")
    if not timedelta() < chosen - start < timedelta(hours=LONGEST) or (end and chosen > end):
        return None, Field("prediction_time", "must be after intime and not after outtime")
    return chosen, None


def prefixed(wrong: Field, *where: str | int) -> Field:
    """A field below a path."""
    return Field(path_of((*where, wrong.path)), wrong.message)


def _within(series: pl.DataFrame, stays: pl.DataFrame, window: Window, left_out: LeftOut) -> pl.DataFrame:
    """The measurements that the model may read."""
    end = (pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000
    first = np.floor(np.maximum(stays.select(end).to_series().to_numpy() - window.hours, 0))
    limits = stays.select("stay_id", end=end, first=pl.Series(first if window.kind == "last" else np.zeros(len(stays))))
    dated = series.join(limits, on="stay_id", how="left", maintain_order="left")
    late, early = dated["hour"] >= dated["end"], dated["hour"] < dated["first"]
    left_out.add(LATE, int(late.sum()))
    left_out.add(EARLY, int((early & ~late).sum()))
    return dated.filter(~(late | early)).select(series.columns)


def _hourly(series: pl.DataFrame) -> pl.DataFrame:
    """One value for each stay, hour and variable: the last, or the sum of volumes. A cohort has it already."""
    from clinragen.catalog import variables

    summed = [key for key, variable in variables().items() if variable.bin == "sum"]
    keys = ["stay_id", "bin", "variable"]
    value = pl.when(pl.col("variable").is_in(summed)).then(pl.col("value").sum()).otherwise(pl.col("value").last())
    binned = series.with_columns(bin=pl.col("hour").floor())
    if not binned.select(keys).is_duplicated().any():
        return series.with_columns(hour=pl.col("hour").floor())
    binned = binned.sort("hour", maintain_order=True).group_by(keys, maintain_order=True).agg(value.first())
    return binned.rename({"bin": "hour"}).sort("stay_id", "hour", maintain_order=True).select(series.columns)


def _before(notes: pl.DataFrame, stays: pl.DataFrame, left_out: LeftOut) -> pl.DataFrame:
    """The sections that were written before the prediction time, or have no time."""
    dated = notes.join(stays.select("stay_id", "prediction_time"), on="stay_id", how="left", maintain_order="left")
    late = (dated["time"] >= dated["prediction_time"]).fill_null(False)
    left_out.add(LATE, int(late.sum()))
    return dated.filter(~late).select(notes.columns)
