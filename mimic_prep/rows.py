"""Text of a CSV file -> typed rows. A block that is not perfect is read again line by line, so that only bad rows go.

The fast way is Arrow's parser with the target types; it is strict, so any defect (ragged row, stray quote, a word where
a number should be, a byte that is not UTF-8) makes it refuse the block. The slow way then finds out which rows are bad.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from mimic_prep.accounting import Sieve
from mimic_prep.sources import INTEGER, NUMBER, TEXT, TIME, Table

NULLS = ["", " ", "NULL", "null", "NA", "N/A", "NaN", "nan"]
_TYPES: dict[pa.DataType, tuple[pl.DataType, str]] = {
    INTEGER: (pl.Int64(), "a whole number"),
    NUMBER: (pl.Float64(), "a number"),
    TEXT: (pl.String(), "text"),
    TIME: (pl.Datetime("ms"), "a time (expected YYYY-MM-DD HH:MM:SS)"),
}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f")


def parse(block: bytes, first_line: int, header: list[str], table: Table) -> Sieve:
    """Rows of ``block`` under the table's canonical column names, plus ``line``; bad rows are already quarantined."""
    return _parse_fast(block, first_line, header, table) or _parse_slow(block, first_line, header, table)


def _parse_fast(block: bytes, first_line: int, header: list[str], table: Table) -> Sieve | None:
    if block.count(b'"') % 2:  # Arrow would take a quote left open at the end of the block
        return None
    present = {name: column for name, column in table.columns.items() if column.raw in header}
    try:
        parsed = pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(column_names=header, use_threads=False, block_size=len(block) + 1),
            parse_options=pa_csv.ParseOptions(newlines_in_values=table.multiline),
            convert_options=pa_csv.ConvertOptions(
                include_columns=[column.raw for column in present.values()],
                column_types={column.raw: column.type for column in present.values()},
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if not table.multiline and parsed.num_rows != lines:  # blank lines, or a quote that swallowed a line end
        return None
    frame = cast(pl.DataFrame, pl.from_arrow(parsed.rename_columns(list(present))))
    return Sieve(_complete(frame, _line_numbers(frame, first_line, table), table))


def _line_numbers(frame: pl.DataFrame, first_line: int, table: Table) -> np.ndarray:
    """Where each row starts; in multi-line tables a row is longer by the line breaks within its text columns."""
    ends = np.arange(1, frame.height + 1)
    if table.multiline:
        for name in (name for name in frame.columns if frame.schema[name] == pl.String()):
            breaks = frame[name].str.count_matches("\n", literal=True).fill_null(0).to_numpy()
            ends = ends + np.cumsum(breaks)
    return first_line + np.concatenate([[0], ends[:-1]]) if frame.height else ends


def _complete(frame: pl.DataFrame, lines: np.ndarray, table: Table) -> pl.DataFrame:
    """All canonical columns, in their order and type, and the line numbers; empty and NaN values become null."""
    columns: list[pl.Expr] = []
    for name, column in table.columns.items():
        kind = _TYPES[column.type][0]
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=kind).alias(name))
        elif kind == pl.Float64():
            columns.append(pl.col(name).fill_nan(None))
        elif isinstance(kind, pl.Datetime):
            columns.append(pl.col(name).cast(kind))
        else:
            columns.append(pl.col(name))
    return frame.select(*columns, pl.Series("line", lines, dtype=pl.Int64))


def _parse_slow(block: bytes, first_line: int, header: list[str], table: Table) -> Sieve:
    wanted = {name: header.index(column.raw) for name, column in table.columns.items() if column.raw in header}
    lines: list[int] = []
    cells: dict[str, list[str]] = {name: [] for name in wanted}
    bad: dict[str, list[int]] = {}
    for line, row in _records(block, first_line, multiline=table.multiline):
        if isinstance(row, str):
            bad.setdefault(row, []).append(line)
        elif len(row) != len(header):
            bad.setdefault(f"expected {len(header)} fields, found {len(row)}", []).append(line)
        else:
            lines.append(line)
            for name, index in wanted.items():
                cells[name].append(row[index])
    text = pl.DataFrame(cells, schema=dict.fromkeys(wanted, pl.String()))
    text = text.with_columns(pl.when(pl.all().is_in(NULLS)).then(None).otherwise(pl.all()).name.keep())
    typed = text.select(_cast(name, table.columns[name].type) for name in wanted)
    sieve = Sieve(_complete(typed, np.array(lines, dtype=np.int64), table))
    sieve.read += sum(map(len, bad.values()))
    sieve.quarantined += [(reason, np.array(at)) for reason, at in bad.items()]
    for name in wanted:
        failed = text[name].is_not_null() & typed[name].is_null()
        if failed.any():
            at = pl.Series(lines, dtype=pl.Int64).filter(failed).to_list()
            column = table.columns[name]
            sieve.reject(pl.col("line").is_in(at), f"{column.raw} is not {_TYPES[column.type][1]}")
    return sieve


def _records(block: bytes, first_line: int, *, multiline: bool) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, fields) of each record, or (line number, what is wrong with it)."""
    if multiline:
        text = _decode(block)
        reader = csv.reader(io.StringIO(text, newline=""))
        line = first_line
        for row in reader:
            if row:
                yield line, row
            line = first_line + reader.line_num
        return
    for offset, raw in enumerate(block.split(b"\n")):
        raw = raw.rstrip(b"\r")
        if not raw:
            continue
        if b"\0" in raw:
            yield first_line + offset, "holds a NUL byte"
        elif b'"' not in raw:
            yield first_line + offset, _decode(raw).split(",")
        else:
            try:
                yield first_line + offset, next(csv.reader([_decode(raw)], strict=True))
            except csv.Error:
                yield first_line + offset, "unbalanced quotes"


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # what older exports of these databases use


def _cast(name: str, kind: pa.DataType) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    if kind == TIME:
        tries = [text.str.to_datetime(form, time_unit="ms", strict=False) for form in _TIME_FORMATS]
        return pl.coalesce(*tries).alias(name)
    if kind == NUMBER:
        return text.cast(pl.Float64, strict=False).alias(name)
    if kind == INTEGER:  # a table that went through a spreadsheet writes 220045.0
        number = text.cast(pl.Float64, strict=False)
        whole = pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)
        return pl.coalesce(text.cast(pl.Int64, strict=False), whole).alias(name)
    return pl.col(name)
