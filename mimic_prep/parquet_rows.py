"""Read typed rows of a Parquet file, in batches of bounded size for any compression ratio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.errors import UserError
from mimic_prep.accounting import RowFilter
from mimic_prep.cells import TYPES, converted
from mimic_prep.csv_rows import complete
from mimic_prep.csv_stream import LONGEST_ROW, check_columns
from mimic_prep.tables import Only, Table

ROWS_AT_ONCE = 1 << 16
TEXT_AT_ONCE = 1 << 25  # bytes of text in one batch: each thread may hold one
#: A file that expands to more than this many bytes, and by more than this factor, is refused: gzip cannot do more.
MOST_UNPACKED, MOST_GAIN = 1 << 32, 1000


def read_batches(path: Path, table: Table, shown: str) -> Iterator[pa.RecordBatch]:
    """The columns to read; text columns as text.

    Args:
        path: the file.
        table: names the columns to read.
        shown: name of the file in errors.

    Raises:
        UserError: no Parquet file, damaged, a column is missing, or it expands to far more than its size.
    """
    try:
        names = pq.read_schema(path).names
        check_columns([name.lower() for name in names], shown, table)
        columns_read = {column.raw for column in table.columns.values()}
        chosen = [name for name in names if name.lower() in columns_read]
        texts = [field.name for field in pq.read_schema(path) if _is_text(field.type) and field.name in chosen]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            size = path.stat().st_size
            unpacked = _unpacked(file.metadata, len(chosen))
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=chosen):
                unpacked += sum(map(_text_bytes, batch.columns))
                if unpacked > max(MOST_UNPACKED, MOST_GAIN * size):
                    raise UserError(
                        f"{shown} unpacks to more than {MOST_GAIN:,} times its {size:,} bytes: it is no table of a "
                        "release; export it again"
                    )
                yield from plain_pieces(batch, shown)
    except (pa.ArrowException, OSError, MemoryError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{shown} is not readable Parquet ({message}): download it again") from None


def plain_pieces(batch: pa.RecordBatch, shown: str) -> Iterator[pa.RecordBatch]:
    """The batch in pieces with limited text, without dictionaries.

    Raises:
        UserError: a row is too long.
        pa.ArrowInvalid: text is not UTF-8.
    """
    for piece in _pieces(batch, shown):
        yield pa.RecordBatch.from_arrays([_plain(column) for column in piece.columns], piece.schema.names)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _unpacked(metadata: pq.FileMetaData, columns: int) -> int:
    """Bytes of the numbers of all rows, and of all uncompressed pages."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    pages = sum(max(group.total_byte_size, 0) for group in groups)
    return max(8 * columns * metadata.num_rows, pages)


def _text_bytes(column: pa.Array) -> int:
    if isinstance(column, pa.DictionaryArray):
        if not (_is_text(column.type.value_type) or pa.types.is_binary(column.type.value_type)):
            return 0
        import pyarrow.compute as pc  # takes a tenth of the time that all imports take

        lengths = pc.call_function("binary_length", [column.dictionary]).take(column.indices.drop_null())
        return int(pc.call_function("sum", [lengths]).as_py() or 0)
    return column.nbytes if _is_text(column.type) or pa.types.is_binary(column.type) else 0


def _pieces(batch: pa.RecordBatch, shown: str) -> Iterator[pa.RecordBatch]:
    """The batch in pieces with limited text."""
    size = sum(map(_text_bytes, batch.columns))
    if size <= TEXT_AT_ONCE:
        yield batch
    elif batch.num_rows <= 1:
        if size > LONGEST_ROW:
            raise UserError(f"{shown}: a row is longer than {LONGEST_ROW:,} bytes: it is no table of a release")
        yield batch
    else:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), shown)
        yield from _pieces(batch.slice(half), shown)


def _plain(column: pa.Array) -> pa.Array:
    """Decode dictionaries, and ensure UTF-8 text."""
    if isinstance(column, pa.DictionaryArray):
        column.dictionary.validate(full=True)
        wide = pa.large_string() if _is_text(column.type.value_type) else column.type.value_type
        return column.cast(wide)
    column.validate(full=True)
    return column


def from_batch(batch: pa.RecordBatch, table: Table, only: Only | None, shown: str) -> RowFilter:
    """Typed rows; rows with a cell of the wrong kind are quarantined, as for CSV.

    Raises:
        UserError: a column has an unsuitable type.
    """
    frame = cast(pl.DataFrame, pl.from_arrow(batch))
    frame = frame.rename({name: name.lower() for name in frame.columns})
    columns: list[pl.Series] = []
    failed: list[tuple[str, pl.Series]] = []
    for name, column in table.columns.items():
        if column.raw not in frame.columns:
            continue
        kind = TYPES[column.type][1]
        try:
            cells, wrong = converted(frame[column.raw], column.type)
        except TypeError as error:
            raise UserError(f"{shown}: column '{column.raw}' is of type {error}, expected {kind}") from None
        columns.append(cells.alias(name))
        failed.append((f"{column.raw} is not {kind}", wrong))
    row_filter = RowFilter(complete(pl.DataFrame(columns), np.arange(frame.height), table), lines=frame.height)
    for reason, wrong in failed:
        if wrong.any():
            row_filter.reject(pl.col("line").is_in(wrong.arg_true().cast(pl.Int64).implode()), reason)
    if only is not None:
        row_filter.skip(~pl.col(only.column).is_in(only.values), only.reason)
    return row_filter
