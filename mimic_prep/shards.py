"""Distribute events into shards of stays on disk, so that each shard fits in memory for any size of release."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa

STAYS_PER_SHARD = 512
_FLUSH_ROWS = 1 << 19


class ShardWriter:
    """Rows with a column ``stay`` (rank), written to one Arrow file for each shard of consecutive ranks."""

    def __init__(self, folder: Path, stays_per_shard: int = STAYS_PER_SHARD) -> None:
        self._folder = folder
        self._per_shard = stays_per_shard
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows; they are written once there are enough of them."""
        self._waiting.append(rows)
        self._rows += rows.height
        if self._rows >= _FLUSH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        shards = rows.with_columns(shard=pl.col("stay") // self._per_shard)
        for (shard,), part in shards.partition_by("shard", as_dict=True, include_key=False).items():
            table = part.to_arrow()
            if shard not in self._writers:
                packed = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[shard] = pa.ipc.new_stream(str(_path(self._folder, shard)), table.schema, options=packed)
            self._writers[shard].write_table(table)
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        """Write the buffered rows; no rows can be added afterwards."""
        self._flush()
        for writer in self._writers.values():
            writer.close()


def _path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.arrow"


def load(folder: Path, shard: int) -> pl.DataFrame | None:
    """All rows of a shard from the table of ``folder``, in undefined order; None if there are none."""
    path = _path(folder, shard)
    if not path.exists():
        return None
    with pa.ipc.open_stream(str(path)) as reader:
        return cast(pl.DataFrame, pl.from_arrow(reader.read_all()))
