"""Convert cells to the type of their column; an unreadable cell is distinguished from an empty one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from mimic_prep.tables import INSTANT, INTEGER, NUMBER, TEXT, TIME, WORD

NULLS = ["", " ", "NULL", "null", "NA", "N/A", "NaN", "nan", "\\N"]  # the last is from MySQL dumps
#: The type of each kind of column, and the name of its cells in errors.
TYPES: dict[pa.DataType, tuple[pl.DataType, str]] = {
    INTEGER: (pl.Int64(), "a whole number"),
    NUMBER: (pl.Float64(), "a number"),
    TEXT: (pl.String(), "text"),
    WORD: (pl.String(), "text"),
    TIME: (pl.Datetime("ms"), "a time (expected YYYY-MM-DD HH:MM:SS)"),
    INSTANT: (pl.Datetime("ms"), "a time (expected YYYY-MM-DD HH:MM:SS+00:00)"),
}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f")
_SPAN = -62_135_596_800_000, 253_402_300_799_999  # milliseconds: the years 1 to 9999
_ZONE = r"(?i)(?:\s*UTC|Z|\+00:?00)$"  # some databases export their local times as if they were UTC


def read_text(name: str, kind: pa.DataType) -> pl.Expr:
    """A text column converted to ``kind``; null where the text is not of that kind."""
    text = pl.col(name).str.strip_chars()
    if kind == INSTANT:
        return _in_utc(text).alias(name)
    if kind == TIME:
        text = text.str.replace(_ZONE, "")
        tries = [text.str.to_datetime(form, time_unit="ms", strict=False) for form in _TIME_FORMATS]
        return pl.coalesce(*tries).alias(name)
    if kind == NUMBER:
        return text.cast(pl.Float64, strict=False).alias(name)
    if kind == INTEGER:  # spreadsheets write 220045.0
        whole = _whole(text.cast(pl.Float64, strict=False))
        exact = text.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)  # a float would round ids above 2^53
        return pl.coalesce(exact, whole).alias(name)
    return pl.col(name)


def _in_utc(text: pl.Expr) -> pl.Expr:
    """The clock time of UTC; a text without an offset is taken to be in UTC.

    >>> times = pl.Series(["2024-07-01 08:00:00-05:00", "2024-07-01T13:00:00Z", "2024-07-01 13:00", "noon"])
    >>> pl.select(_in_utc(pl.lit(times))).to_series().dt.to_string("%H:%M").to_list()
    ['13:00', '13:00', '13:00', None]
    """
    offset = text.str.extract(r"[0-9]\s*([+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})$")
    clock = text.str.replace(r"\s*([+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}|UTC|Z)$", "")
    has_time = clock.str.contains(":", literal=True)  # the end of 2024-07-01 is no offset
    clock, offset = pl.when(has_time).then(clock).otherwise(text), pl.when(has_time).then(offset)
    times = pl.coalesce(*[clock.str.to_datetime(form, time_unit="ms", strict=False) for form in _TIME_FORMATS])
    digits = offset.str.replace_all(r"[+:-]", "").str.pad_end(4, "0")
    minutes = digits.str.head(2).cast(pl.Int64, strict=False) * 60 + digits.str.tail(2).cast(pl.Int64, strict=False)
    ahead = pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    return times - pl.duration(minutes=ahead)


def _whole(number: pl.Expr) -> pl.Expr:
    return pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)


def without_null_words(frame: pl.DataFrame) -> pl.DataFrame:
    """Text columns in which every spelling of a missing value is null."""
    return frame.with_columns(pl.when(pl.all().is_in(NULLS)).then(None).otherwise(pl.all()).name.keep())


def converted(column: pl.Series, kind: pa.DataType) -> tuple[pl.Series, pl.Series]:
    """A column of a Parquet file converted to ``kind``, and which of its cells are not of that kind.

    Durations become whole minutes; times keep their clock time and lose their zone; an ``INSTANT`` becomes
    the clock time of UTC.

    Raises:
        TypeError: no cell of the column's type can be of that kind.
    """
    dtype, name = column.dtype, column.name
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Binary):
        text = column.cast(pl.String, strict=False)
        unreadable = column.is_not_null() & text.is_null()  # bytes that are not UTF-8
        cells, failed = converted(text, kind)
        return cells, failed | unreadable
    if dtype == pl.Null:
        return column.cast(TYPES[kind][0]), column.is_not_null()
    if dtype.is_nested() or dtype == pl.Object or (kind in (TIME, INSTANT) and not _tells_time(dtype)):
        raise TypeError(str(dtype))
    if kind in (INTEGER, NUMBER) and dtype.is_temporal() and not isinstance(dtype, pl.Duration):
        raise TypeError(str(dtype))  # dates are not ids
    if dtype == pl.String and column.null_count() == len(column):
        return pl.Series(name, [None], dtype=TYPES[kind][0]).new_from_index(0, len(column)), column.is_not_null()
    if dtype == pl.String:
        text = without_null_words(column.to_frame()).to_series()
        cells = text.to_frame().select(read_text(name, kind)).to_series()
        return cells, text.is_not_null() & cells.is_null()
    return _from_typed(column, kind)


def _tells_time(dtype: pl.DataType) -> bool:
    return dtype == pl.String or dtype == pl.Date or isinstance(dtype, pl.Datetime)


def _as_written(column: pl.Series) -> pl.Series:
    """Numbers of single precision as the numbers that were written: 7.35, and not 7.349999904."""
    distinct, which = np.unique(column.to_numpy(), return_inverse=True)  # few, and text is slow
    numbers = pl.Series(distinct).cast(pl.String).cast(pl.Float64).to_numpy()
    return pl.Series(column.name, numbers[which])


def _from_typed(column: pl.Series, kind: pa.DataType) -> tuple[pl.Series, pl.Series]:
    column = _as_written(column) if column.dtype == pl.Float32 else column
    dtype, frame = column.dtype, column.to_frame()
    cell = pl.col(column.name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        cell = cell.dt.convert_time_zone("UTC") if kind == INSTANT else cell
        cell = cell.dt.replace_time_zone(None)
    if isinstance(dtype, pl.Duration):
        cell = cell.dt.total_minutes()
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):  # databases have times at infinity
        cell = cell.cast(pl.Datetime("ms"))
        cell = pl.when(cell.to_physical().is_between(*_SPAN)).then(cell)
    if dtype.is_float():
        cell = cell.fill_nan(None)
    present = column.is_not_null() if not dtype.is_float() else frame.select(cell.is_not_null()).to_series()
    if kind == INTEGER and (dtype.is_float() or dtype.is_decimal()):
        cell = _whole(cell.cast(pl.Float64))
    elif kind in (TEXT, WORD) and dtype.is_float() and frame.select((cell == cell.floor()).all()).item():
        cell = cell.cast(pl.Int64, strict=False)  # numbers that became fractions because some cells are empty
    elif kind in (TEXT, WORD) and isinstance(dtype, pl.Datetime):
        cell = cell.dt.strftime("%Y-%m-%d %H:%M:%S")
    elif kind in (TEXT, WORD) and dtype == pl.Date:
        cell = cell.dt.strftime("%Y-%m-%d")
    elif kind in (TEXT, WORD) and dtype == pl.Time:
        cell = cell.dt.strftime("%H:%M:%S")
    cells = frame.select(cell.cast(TYPES[kind][0], strict=False).alias(column.name)).to_series()
    return cells, present & cells.is_null()
