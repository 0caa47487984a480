"""A folder of raw tables, read as a stream: one thread decompresses while others parse and filter; memory is bounded.

A file is found by its table's name, in any case, as ``.csv``, ``.csv.gz`` or ``.parquet``, anywhere up to four folders
deep, so that a release may be given as it was unpacked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.artifacts import sha256_file
from clinragen.errors import UserError
from mimic_prep.accounting import Ledger, Sieve
from mimic_prep.blocks import check_columns, read_blocks
from mimic_prep.parallel import in_order
from mimic_prep.rows import from_batch, parse
from mimic_prep.sources import Only, Table

_MAX_DEPTH = 4
_CHECK_AFTER = 1 << 20  # rows, from which on bad ones are no longer a matter of chance
_SUFFIXES = (".csv.gz", ".csv", ".parquet")

Rules = Callable[[Sieve], None]


class RawFolder:
    """The raw tables below ``root``. ``ledger`` fills up as tables are read; too bad a table stops the reading.

    Raises:
        UserError: ``root`` is not a folder, or holds no CSV file.
    """

    def __init__(
        self, root: Path, release: str, workers: int = 2, progress: Callable[[int], None] | None = None
    ) -> None:
        self.root = root
        self.release = release
        self.workers = workers
        self.ledger = Ledger()
        self.max_bad_share = 1.0
        self._progress = progress or (lambda _: None)
        if not root.is_dir():
            raise UserError(f"{root} not found: --raw expects the folder that holds the tables of {release}")
        self._files = _find(root)
        if not self._files:
            raise UserError(f"{root} holds no .csv, .csv.gz or .parquet file: --raw expects the tables of {release}")

    def locate(self, table: Table) -> Path | None:
        """The table's file, or None when an optional table is absent.

        Raises:
            UserError: a required table is absent, or two files could be meant.
        """
        found = self._files.get(table.name, [])
        exact = [path for path in found if _stem(path.relative_to(self.root).as_posix().lower()) == table.path.lower()]
        found = exact or found
        if len({path.parent for path in found}) > 1:
            places = ", ".join(str(path.relative_to(self.root)) for path in found)
            raise UserError(f"{self.root}: several files could be the table {table.name} ({places}): keep one")
        if not found and table.required:
            raise UserError(
                f"{self.root}: table {table.path}.csv.gz (or .csv) of {self.release} not found; "
                "download it, or check --raw"
            )
        return min(found, key=lambda path: _SUFFIXES.index(_suffix(path))) if found else None

    def has(self, name: str) -> bool:
        """Whether any file bears the table's name (in lower case)."""
        return name in self._files

    def total_bytes(self, tables: list[Table]) -> int:
        """Size on disk of the tables that are there."""
        return sum(path.stat().st_size for table in tables if (path := self.locate(table)))

    def hashes(self, tables: list[Table]) -> dict[str, str]:
        """File -> SHA-256 of the tables that are there."""
        paths = sorted({path for table in tables if (path := self.locate(table))})
        with ThreadPoolExecutor(self.workers) as pool:
            return {self.name(path): found for path, found in zip(paths, pool.map(sha256_file, paths), strict=True)}

    def name(self, path: Path) -> str:
        """How manifests and errors call a file: its place below the raw folder."""
        return path.relative_to(self.root).as_posix()

    def rows_read(self, table: Table) -> int:
        """How many rows a table that has been read holds, good and bad."""
        path = self.locate(table)
        return self.ledger.tables[self.name(path)].read if path else 0

    def read(self, table: Table, rules: Rules | None = None) -> pl.DataFrame:
        """A whole table that fits in memory after ``rules``; no rows when an optional table is absent."""
        frames = list(self.stream(table, rules or (lambda _: None)))
        if frames:
            return pl.concat(frames)
        return parse(b"", [column.raw for column in table.columns.values()], table).frame

    def stream(self, table: Table, rules: Rules, only: Only | None = None) -> Iterator[pl.DataFrame]:
        """What each block of the table keeps after ``rules``, which run in worker threads; blocks in file order.

        ``only`` drops rows before they cost anything.

        Raises:
            UserError: a column is missing, the file is cut off or corrupt, or a required table has no rows.
        """
        path = self.locate(table)
        if path is None:
            return
        name = self._account(path, table)
        read, line = 0, 2  # the header is line 1
        for sieve in self._sieves(path, table, rules, only):
            sieve.shift(line)
            line += sieve.lines
            self.ledger.add(name, sieve)
            read += sieve.read
            if read >= _CHECK_AFTER:
                self.ledger.check(name, self.max_bad_share)
            if sieve.frame.height:
                yield sieve.frame
        if not read:
            if table.required:
                raise UserError(f"{path} has no rows: the table is empty; download it again")
            self.ledger.add(name, Sieve(pl.DataFrame({"line": []})))
        self.ledger.check(name, self.max_bad_share)

    def remark(self, table: Table, remarks: Counter[str]) -> None:
        """Add remarks on rows that were kept to the account of a table that has been read."""
        path = self.locate(table)
        if path is not None:
            self.ledger.remark(self._account(path, table), remarks)

    def _account(self, path: Path, table: Table) -> str:
        return f"{self.name(path)} ({table.part})" if table.part else self.name(path)

    @contextmanager
    def booked_in(self, ledger: Ledger) -> Iterator[None]:
        """Tables read in this context are accounted for in ``ledger``."""
        outer, self.ledger = self.ledger, ledger
        try:
            yield
        finally:
            self.ledger = outer

    def _sieves(self, path: Path, table: Table, rules: Rules, only: Only | None) -> Iterator[Sieve]:
        if path.suffix.lower() == ".parquet":
            yield from self._parquet(path, table, rules, only)
            return

        def sift(part: tuple[list[str], bytearray]) -> Sieve:
            sieve = parse(part[1], part[0], table, only)
            rules(sieve)
            return sieve

        yield from in_order(sift, read_blocks(path, table, self._progress), self.workers)

    def _parquet(self, path: Path, table: Table, rules: Rules, only: Only | None) -> Iterator[Sieve]:
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                check_columns([name.lower() for name in names], path, table)
                wanted = {column.raw for column in table.columns.values()}
                for batch in file.iter_batches(columns=[name for name in names if name.lower() in wanted]):
                    sieve = from_batch(batch, table, only)
                    rules(sieve)
                    yield sieve
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{path} is not readable Parquet ({str(error).splitlines()[0]}): download it again"
            ) from None
        self._progress(path.stat().st_size)


def _find(root: Path) -> dict[str, list[Path]]:
    """Table name in lower case -> files, sorted."""
    found: dict[str, list[Path]] = {}
    for depth in range(_MAX_DEPTH):
        for path in sorted(root.glob("*/" * depth + "*")):
            if path.name.lower().endswith(_SUFFIXES) and path.is_file():
                found.setdefault(_stem(path.name.lower()), []).append(path)
    return found


def _suffix(path: Path) -> str:
    return next(suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix))


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
