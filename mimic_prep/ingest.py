"""Stream a folder of raw tables: one thread decompresses while others parse and filter; memory is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.errors import UserError
from mimic_prep.accounting import Ledger, RowFilter
from mimic_prep.csv_rows import parse
from mimic_prep.csv_stream import read_blocks
from mimic_prep.parallel import in_order
from mimic_prep.parquet_rows import from_batch, read_batches
from mimic_prep.raw_files import RawFiles
from mimic_prep.tables import Only, Table

_CHECK_AFTER = 1 << 20  # least rows of a table for the limit on bad ones

Rules = Callable[[RowFilter], None]


class RawFolder:
    """The raw tables below ``root``. ``ledger`` counts the rows read; a table with too many bad rows stops the reading.

    ``origin`` is the user's folder, if the tables were converted from files there: errors name it instead.

    Raises:
        UserError: ``root`` is not a folder, or holds no data file.
    """

    def __init__(
        self,
        root: Path,
        release: str,
        workers: int = 2,
        progress: Callable[[int], None] | None = None,
        origin: Path | None = None,
    ) -> None:
        self.root = root
        self.origin = origin or root
        self.release = release
        self.workers = workers
        self.ledger = Ledger()
        self.max_bad_share = 1.0
        self._progress = progress or (lambda _: None)
        self._files = RawFiles(root, release)

    def locate(self, table: Table) -> Path | None:
        """The table's file, or the folder or common name of its parts; None if an optional table is absent.

        Raises:
            UserError: a required table is absent, ambiguous, or exists only in a format that is not read.
        """
        files = self._files.locate(table)
        if files is None and table.required:
            raise UserError(
                f"{self.origin}: table {table.path}.csv.gz (or .csv) of {self.release} not found; "
                "download it, or check --raw"
            )
        return files.path if files else None

    def parts(self, table: Table) -> tuple[Path, ...]:
        """The files with the table's rows, in order; none if it is absent."""
        files = self._files.locate(table)
        return files.parts if files else ()

    def has(self, name: str) -> bool:
        """Whether any file has the table's name (in lower case)."""
        return self._files.has(name)

    def total_bytes(self, tables: list[Table]) -> int:
        """Size on disk of the existing tables."""
        return sum(path.stat().st_size for table in tables for path in self.parts(table))

    def hashes(self, tables: list[Table]) -> dict[str, str]:
        """Table -> SHA-256 of the existing ones; for a table in parts the hash of the hashes of its parts."""
        parts_of = {path: self.parts(table) for table in tables if (path := self.locate(table))}
        files = sorted({part for parts in parts_of.values() for part in parts})
        with ThreadPoolExecutor(self.workers) as pool:
            digests = dict(zip(files, pool.map(sha256_file, files), strict=True))
        return {
            self.name(path): digests[path]
            if parts == (path,)
            else sha256_json({self.name(part): digests[part] for part in parts})
            for path, parts in sorted(parts_of.items())
        }

    def name(self, path: Path) -> str:
        """Name of a file in manifests: its path below the raw folder."""
        return path.relative_to(self.root).as_posix()

    def shown(self, path: Path, table: Table) -> str:
        """Name of a file in errors."""
        return str(path) if self.origin == self.root else f"{self.origin} (its {table.name})"

    def rows_read(self, table: Table) -> int:
        """Number of rows, good and bad, of a table that has been read."""
        return sum(self.ledger.tables[self.name(path)].read for path in self.parts(table))

    def read(self, table: Table, rules: Rules | None = None) -> pl.DataFrame:
        """A whole table that fits in memory after ``rules``; no rows if an optional table is absent."""
        frames = list(self.stream(table, rules or (lambda _: None)))
        if frames:
            return pl.concat(frames)
        return parse(b"", [column.raw for column in table.columns.values()], table).frame

    def stream(self, table: Table, rules: Rules, only: Only | None = None) -> Iterator[pl.DataFrame]:
        """The rows of each block after ``rules``, which run in worker threads; blocks in file order.

        ``only`` drops rows before parsing.

        Raises:
            UserError: a column is missing, the file is truncated or corrupt, or a required table has no rows.
        """
        parts = self.parts(table) if self.locate(table) else ()
        rows = 0
        for path in parts:
            for row_filter in self._booked(path, table, rules, only):
                rows += row_filter.read
                if row_filter.frame.height:
                    yield row_filter.frame
        if parts and not rows and table.required:
            raise UserError(f"{self.shown(parts[0], table)} has no rows: the table is empty; download it again")

    def _booked(self, path: Path, table: Table, rules: Rules, only: Only | None) -> Iterator[RowFilter]:
        """The row_filters of one file, entered in the ledger."""
        name = self._account(path, table)
        read, line = 0, 2  # the header is line 1
        for row_filter in self._row_filters(path, table, rules, only):
            row_filter.shift(line)
            line += row_filter.lines
            self.ledger.add(name, row_filter)
            read += row_filter.read
            if read >= _CHECK_AFTER:
                self.ledger.check(name, self.max_bad_share)
            yield row_filter
        if not read:
            self.ledger.add(name, RowFilter(pl.DataFrame({"line": []})))
        self.ledger.check(name, self.max_bad_share)

    def remark(self, table: Table, remarks: Counter[str]) -> None:
        """Add remarks on kept rows to the counts of a table that has been read."""
        for path in self.parts(table)[:1]:  # for a table in parts, all at the first one
            self.ledger.remark(self._account(path, table), remarks)

    def _account(self, path: Path, table: Table) -> str:
        return f"{self.name(path)} ({table.part})" if table.part else self.name(path)

    @contextmanager
    def booked_in(self, ledger: Ledger) -> Iterator[None]:
        """Tables read in this context are counted in ``ledger``."""
        outer, self.ledger = self.ledger, ledger
        try:
            yield
        finally:
            self.ledger = outer

    def _row_filters(self, path: Path, table: Table, rules: Rules, only: Only | None) -> Iterator[RowFilter]:
        if path.suffix.lower() == ".parquet":
            yield from self._parquet(path, table, rules, only)
            return

        def sift(part: tuple[list[str], bytearray]) -> RowFilter:
            row_filter = parse(part[1], part[0], table, only)
            rules(row_filter)
            return row_filter

        yield from in_order(sift, read_blocks(path, table, self._progress), self.workers)

    def _parquet(self, path: Path, table: Table, rules: Rules, only: Only | None) -> Iterator[RowFilter]:
        shown = self.shown(path, table)
        for batch in read_batches(path, table, shown):
            row_filter = from_batch(batch, table, only, shown)
            rules(row_filter)
            yield row_filter
        self._progress(path.stat().st_size)
