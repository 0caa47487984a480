"""Files with rows of a raw table: CSV, packed or not, and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import override

from clinragen.artifacts import sha256_file
from mimic_prep.accounting import RowFilter
from mimic_prep.csv_rows import parse
from mimic_prep.csv_stream import read_blocks
from mimic_prep.file_scan import columns_of, scan_file
from mimic_prep.parquet_rows import from_batch, read_batches
from mimic_prep.table_source import Block, Part, Scan
from mimic_prep.tables import Only, Table


@dataclass(frozen=True)
class TableFile(Part):
    """One file. ``name`` is its path below the raw folder."""

    path: Path
    name: str

    @property
    @override
    def label(self) -> str:
        return self.path.name

    @property
    @override
    def shown(self) -> str:
        return str(self.path)

    @override
    def size(self) -> int:
        return self.path.stat().st_size

    @override
    def columns(self) -> list[str]:
        return columns_of(self.path)

    @override
    def digest(self) -> str:
        return sha256_file(self.path)

    @override
    def blocks(
        self, table: Table, only: Only | None, shown: str, progress: Callable[[int], None]
    ) -> Generator[Block, None, None]:
        if self.path.suffix.lower() != ".parquet":
            spent: list[bytearray] = []  # blocks whose memory is filled again

            def parsed(header: list[str], block: bytearray) -> RowFilter:
                row_filter = parse(block, header, table, only)
                spent.append(block)
                return row_filter

            for header, block in read_blocks(self.path, table, progress, spent):
                yield partial(parsed, header, block)
            return
        for batch in read_batches(self.path, table, shown):
            yield partial(from_batch, batch, table, only, shown)
        progress(self.size())

    @override
    def scan(self, table: Table, progress: Callable[[int], None]) -> Scan:
        return scan_file(self.path, table.multiline, progress)
