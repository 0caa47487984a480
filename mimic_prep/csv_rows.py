"""Parse CSV text to typed rows. A block with defects is read again line by line, so that only bad rows are lost.

The fast path is Arrow's parser with the target types; it is strict, so any defect (ragged row, stray quote, text in
place of a number, invalid UTF-8) makes it refuse the block. The slow path then finds the bad rows.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from functools import cache
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from mimic_prep.accounting import RowFilter
from mimic_prep.cells import NULLS, TYPES, read_text, without_null_words
from mimic_prep.csv_stream import LONGEST_ROW
from mimic_prep.tables import TEXT, WORD, Only, Table

_SMALL = 1 << 16  # bytes of a block that is read line by line if it has defects
_PROBE, _PROBES = 64, 32  # bytes, and how many places of a block, that show whether it is mostly line ends
_PIECE = 1 << 18  # bytes whose comparison stays in a core's cache
csv.field_size_limit(2 * LONGEST_ROW)  # Arrow's default is below the length of a long note
_MANY = 1 << 24  # item ids up to this are looked up in a table


def parse(block: bytes | bytearray, header: list[str], table: Table, only: Only | None = None) -> RowFilter:
    """Rows of ``block`` under the table's canonical column names, plus ``line`` (from 0, within the block).

    Bad rows are already quarantined, and rows excluded by ``only`` already counted.
    """
    if _mostly_blank(block) and not (table.multiline and b'"' in block):
        return _without_blank_lines(block, header, table, only)
    return _parse(block, header, table, only)


def _parse(block: bytes | bytearray, header: list[str], table: Table, only: Only | None) -> RowFilter:
    row_filter = _parse_fast(block, header, table, only)
    if row_filter is not None:
        return row_filter
    middle = block.find(b"\n", len(block) // 2) + 1
    if table.multiline or len(block) < _SMALL or middle in (0, len(block)):
        return _parse_slow(block, header, table, only)
    first, second = (_parse(half, header, table, only) for half in (block[:middle], block[middle:]))
    return first.joined(second)  # a bad row slows down only the rows around it


def _mostly_blank(block: bytes | bytearray) -> bool:
    """Whether a run of line ends shows at one of a few places: each would cost a row of every column."""
    if len(block) <= _PROBE:
        return bool(block) and not block.strip(b"\r\n")
    step = max(len(block) // _PROBES, _PROBE)
    return any(not block[at : at + _PROBE].strip(b"\r\n") for at in range(0, len(block) - _PROBE, step))


def _without_blank_lines(block: bytes | bytearray, header: list[str], table: Table, only: Only | None) -> RowFilter:
    """Like ``_parse``; empty lines are no rows, but count as lines."""
    signs = np.frombuffer(block, dtype=np.uint8)
    offsets = np.flatnonzero(signs != ord("\n"))  # few, as most of the block is line ends
    line = offsets - np.arange(len(offsets))  # the number of line ends before each
    starts = np.flatnonzero(np.diff(line, prepend=-1))
    ends = np.append(starts[1:], len(offsets))[: len(starts)] - 1
    view = bytes(block)
    spans = zip(offsets[starts].tolist(), (offsets[ends] + 1).tolist(), strict=True)
    rows = [view[start:end].rstrip(b"\r") for start, end in spans]
    filled = line[starts][np.array([bool(row) for row in rows], dtype=bool)]
    row_filter = _parse(b"\n".join(row for row in rows if row), header, table, only)
    row_filter.quarantined = [(reason, filled[at]) for reason, at in row_filter.quarantined]
    row_filter.frame = row_filter.frame.with_columns(
        line=pl.Series(filled[row_filter.frame["line"].to_numpy()], dtype=pl.Int64)
    )
    row_filter.lines = _lines(block)
    return row_filter


def _parse_fast(block: bytes | bytearray, header: list[str], table: Table, only: Only | None) -> RowFilter | None:
    if b"\0" in block or _lone_returns(block, table):  # Arrow would read one as text, the other as a line end
        return None
    if block.startswith(codecs.BOM_UTF8):  # Arrow would skip it, as at the start of a file
        return None
    quoted = b'"' in block
    if quoted and _left_open(block, table):
        return None
    present = {name: column for name, column in table.columns.items() if column.raw in header}
    try:
        parsed = pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(column_names=header, use_threads=False, block_size=len(block) + 1),
            parse_options=pa_csv.ParseOptions(newlines_in_values=table.multiline, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=[column.raw for column in present.values()],
                column_types={column.raw: column.type for column in present.values()},
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    parsed = parsed.rename_columns(list(present))
    read = lines = parsed.num_rows
    if quoted or table.multiline:
        lines = _lines(block)
        if lines != read and not table.multiline:  # a quote swallowed a line end
            return None
    at = _line_numbers(parsed, table)
    if only is not None:
        rows_of_items = _wanted(_series(parsed, only.column), only)
        # not pa.array: given an array, it imports pandas, which takes a second
        parsed, at = parsed.filter(rows_of_items.to_arrow()), at[rows_of_items.to_numpy()]
    row_filter = RowFilter(complete(_to_polars(parsed), at, table), read=read, lines=lines)
    if only is not None and read > len(at):
        row_filter.out_of_scope[only.reason] += read - len(at)
    return row_filter


def _lone_returns(block: bytes | bytearray, table: Table) -> bool:
    """Whether there is a carriage return other than at the end of a line."""
    if table.multiline or block.find(b"\r") < 0:
        return False
    return _count(block, b"\r") != block.count(b"\r\n") + block.endswith(b"\r")


def _left_open(block: bytes | bytearray, table: Table) -> bool:
    """Whether a quote is open at the end of the block, which Arrow would accept.

    One that was opened before the last line contains a line end, which changes the number of rows.
    """
    if table.multiline:
        return _count(block, b'"') % 2 == 1
    return block.count(b'"', block.rfind(b"\n", 0, len(block) - 1) + 1) % 2 == 1


def _count(block: bytes | bytearray, byte: bytes) -> int:
    """``block.count(byte)``, at three times the speed: in pieces, since new memory for the whole block is slow."""
    signs = np.frombuffer(block, dtype=np.uint8)
    pieces = (signs[start : start + _PIECE] for start in range(0, len(signs), _PIECE))
    return sum(int(np.count_nonzero(piece == ord(byte))) for piece in pieces)


def _lines(block: bytes | bytearray) -> int:
    return _count(block, b"\n") + (not block.endswith(b"\n"))


def _to_polars(parsed: pa.Table) -> pl.DataFrame:
    """Without dictionaries: cheap now that few rows are left."""
    for index, field in enumerate(parsed.schema):
        if field.type == WORD:
            parsed = parsed.set_column(index, field.name, parsed[field.name].cast(TEXT))
    return cast(pl.DataFrame, pl.from_arrow(parsed))


def _series(parsed: pa.Table, name: str) -> pl.Series:
    return cast(pl.Series, pl.from_arrow(parsed[name]))


def _wanted(column: pl.Series, only: Only) -> pl.Series:
    """Which rows have one of the values, or a missing value."""
    lookup = _known(only)
    if lookup is None or column.null_count():
        return column.is_in(only.values) | column.is_null()
    return pl.Series(lookup.take(column.to_numpy(), mode="clip"))


@cache
def _known(only: Only) -> np.ndarray | None:
    """Look-up table of wanted small numbers, with one more entry at each end for all others."""
    numbers = [value for value in only.values if isinstance(value, int)]
    if len(numbers) < len(only.values) or not 0 < min(numbers, default=0) <= max(numbers) < _MANY:
        return None
    lookup = np.zeros(max(numbers) + 2, dtype=bool)
    lookup[numbers] = True
    return lookup


def _line_numbers(parsed: pa.Table, table: Table) -> np.ndarray:
    """Line number of each row; in multi-line tables a row also spans the line breaks within its text columns."""
    ends = np.arange(1, parsed.num_rows + 1)
    if not table.multiline or not parsed.num_rows:
        return ends - 1
    for name in (name for name in parsed.column_names if parsed.schema.field(name).type == TEXT):
        breaks = _series(parsed, name).str.count_matches("\n", literal=True).fill_null(0)
        ends = ends + np.cumsum(breaks.to_numpy())
    return np.concatenate([[0], ends[:-1]])


def complete(frame: pl.DataFrame, lines: np.ndarray, table: Table) -> pl.DataFrame:
    """All canonical columns, in their order and type, and the line numbers; empty and NaN values become null."""
    columns: list[pl.Expr] = []
    for name, column in table.columns.items():
        kind = TYPES[column.type][0]
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=kind).alias(name))
        elif kind == pl.Float64():
            columns.append(pl.col(name).fill_nan(None))
        elif isinstance(kind, pl.Datetime):
            columns.append(pl.col(name).cast(kind))
        else:
            columns.append(pl.col(name))
    return frame.select(*columns, pl.Series("line", lines, dtype=pl.Int64))


def _parse_slow(block: bytes | bytearray, header: list[str], table: Table, only: Only | None) -> RowFilter:
    positions = {name: header.index(column.raw) for name, column in table.columns.items() if column.raw in header}
    lines: list[int] = []
    cells: dict[str, list[str]] = {name: [] for name in positions}
    bad: dict[str, list[int]] = {}
    for line, row in _records(block, len(header), multiline=table.multiline):
        if isinstance(row, str):
            bad.setdefault(row, []).append(line)
        elif len(row) != len(header):
            bad.setdefault(f"expected {len(header)} fields, found {len(row)}", []).append(line)
        else:
            lines.append(line)
            for name, index in positions.items():
                cells[name].append(row[index])
    text = pl.DataFrame(cells, schema=dict.fromkeys(positions, pl.String()))
    text = without_null_words(text)
    typed = text.select(read_text(name, table.columns[name].type) for name in positions)
    row_filter = RowFilter(
        complete(typed, np.array(lines, dtype=np.int64), table),
        read=len(lines) + sum(map(len, bad.values())),
        lines=_lines(block),
    )
    row_filter.quarantined += [(reason, np.array(at)) for reason, at in bad.items()]
    for name in positions:
        failed = text[name].is_not_null() & typed[name].is_null()
        if failed.any():
            at = pl.Series(lines, dtype=pl.Int64).filter(failed).to_list()
            column = table.columns[name]
            row_filter.reject(pl.col("line").is_in(at), f"{column.raw} is not {TYPES[column.type][1]}")
    if only is not None:
        row_filter.skip(~pl.col(only.column).is_in(only.values), only.reason)
    return row_filter


def _records(block: bytes | bytearray, width: int, *, multiline: bool) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, fields) of each record, or (line number, the defect)."""
    if multiline:
        reader = csv.reader(io.StringIO(_decode_lines(block), newline=""))
        line = 0
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num
        return
    for offset, raw in enumerate(block.split(b"\n")):
        raw = raw.rstrip(b"\r")
        if not raw:
            continue
        if b"\0" in raw:
            yield offset, "holds a NUL byte"
        elif b'"' not in raw:
            fields = raw.count(b",") + 1
            few = fields <= width  # otherwise do not split: there may be millions
            yield offset, _decode(raw).split(",") if few else f"expected {width} fields, found {fields}"
        else:
            try:
                yield offset, next(csv.reader([_decode(raw)], strict=True))
            except csv.Error:
                yield offset, "unbalanced quotes"


def _decode_lines(raw: bytes | bytearray) -> str:
    """Decode line by line if one is not UTF-8, so that the others are not affected."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "\n".join(map(_decode, raw.split(b"\n")))


def _decode(raw: bytes | bytearray) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # the encoding of older exports of these databases
