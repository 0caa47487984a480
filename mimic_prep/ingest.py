"""Stream raw tables: one thread decompresses or fetches while others parse and filter; memory is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from clinragen.artifacts import sha256_json
from clinragen.errors import UserError
from mimic_prep.accounting import Ledger, RowFilter, UnusedCodes
from mimic_prep.csv_rows import parse
from mimic_prep.parallel import in_order
from mimic_prep.raw_place import RawPlace, tables_in
from mimic_prep.table_source import Block, Part, TableLocation
from mimic_prep.tables import Only, Table

_CHECK_AFTER = 1 << 20  # least rows of a table for the limit on bad ones

Rules = Callable[[RowFilter], None]


class RawTables:
    """The raw tables of ``raw``. ``ledger`` counts the rows read; a table with too many bad rows stops the reading.

    ``origin`` is the user's folder, if the tables were converted from files there: errors name it instead.

    Raises:
        UserError: it is not a folder, or holds no data file.
    """

    def __init__(
        self,
        raw: RawPlace,
        release: str,
        workers: int = 2,
        progress: Callable[[int], None] | None = None,
        origin: Path | None = None,
    ) -> None:
        self.release = release
        self.workers = workers
        self.ledger = Ledger()
        self.max_bad_share = 1.0
        self._progress = progress or (lambda _: None)
        self._source = tables_in(raw, release)
        self.converted = origin is not None and origin not in self._source.paths
        self.shown = str(origin) if origin is not None and self.converted else self._source.shown
        self.paths = (origin,) if origin is not None and self.converted else self._source.paths

    def locate(self, table: Table) -> TableLocation | None:
        """Where the table lies; None if an optional table is absent.

        Raises:
            UserError: a required table is absent, ambiguous, or exists only in a form that is not read.
        """
        location = self._source.locate(table)
        if location is None and table.required:
            raise UserError(f"{self.shown}: {self._source.absent(table)}")
        return location

    def parts(self, table: Table) -> tuple[Part, ...]:
        """The parts with the table's rows, in order; none if it is absent."""
        location = self._source.locate(table)
        return location.parts if location else ()

    def has(self, name: str) -> bool:
        """Whether any table has the name (in lower case)."""
        return self._source.has(name)

    def total_bytes(self, tables: list[Table]) -> int:
        """Size of the existing tables."""
        return sum(part.size() for table in tables for part in self.parts(table))

    def hashes(self, tables: list[Table]) -> dict[str, str]:
        """Table -> SHA-256 of the existing ones; for a table in parts the hash of the hashes of its parts."""
        locations = sorted({location for table in tables if (location := self.locate(table))}, key=lambda one: one.name)
        parts = sorted({part for location in locations for part in location.parts}, key=lambda part: part.name)
        with ThreadPoolExecutor(self.workers) as pool:
            digests = dict(zip(parts, pool.map(lambda part: part.digest(), parts), strict=True))
        return {
            location.name: digests[location.parts[0]]
            if location.parts[0].name == location.name
            else sha256_json({part.name: digests[part] for part in location.parts})
            for location in locations
        }

    def published(self) -> Mapping[Part, str]:
        """The SHA-256 of parts that their publisher states."""
        return self._source.published()

    def record(self) -> dict[str, object]:
        """What a manifest says about their source besides its tables."""
        return self._source.record()

    def shown_as(self, part: Part, table: Table) -> str:
        """Name of a part in errors."""
        return f"{self.shown} (its {table.name})" if self.converted else part.shown

    def rows_read(self, table: Table) -> int:
        """Number of rows, good and bad, of a table that has been read."""
        return sum(self.ledger.tables[part.name].read for part in self.parts(table))

    def unused(self, table: Table) -> UnusedCodes:
        """Rows of a table that has been read, by kind of code and code, of codes that no variable has."""
        return sum((self.ledger.unused(self._account(part, table)) for part in self.parts(table)), Counter())

    def read(self, table: Table, rules: Rules | None = None) -> pl.DataFrame:
        """A whole table that fits in memory after ``rules``; no rows if an optional table is absent."""
        rules = rules or (lambda _: None)
        frames = list(self.stream(table, rules))
        if frames:
            return pl.concat(frames)
        none = _no_rows(table)
        if table.derived is not None:
            table.derived.rule(none)
        rules(none)  # columns that they add are there, too
        return none.frame

    def first_rows(self, table: Table, number: int) -> pl.DataFrame:
        """At most ``number`` first rows of a table as they are written: without its rule, and not counted."""
        frames = [_no_rows(table).frame]
        for part in self.parts(table):
            with closing(part.blocks(table, None, self.shown_as(part, table), lambda _: None)) as blocks:
                for block in blocks:
                    frames.append(block().frame)
                    if sum(frame.height for frame in frames) >= number:
                        return pl.concat(frames).head(number)
        return pl.concat(frames)

    def stream(self, table: Table, rules: Rules, only: Only | None = None) -> Iterator[pl.DataFrame]:
        """The rows of each block after ``rules``, which run in worker threads; blocks in file order.

        ``only`` drops rows before parsing.

        Raises:
            UserError: a column is missing, the file is truncated or corrupt, or a required table has no rows.
        """
        parts = self.parts(table) if self.locate(table) else ()
        rows = 0
        for part in parts:
            for row_filter in self._booked(part, table, rules, only):
                rows += row_filter.read
                if row_filter.frame.height:
                    yield row_filter.frame
        if parts and not rows and table.required:
            raise UserError(f"{self.shown_as(parts[0], table)} has no rows: the table is empty; download it again")

    def _booked(self, part: Part, table: Table, rules: Rules, only: Only | None) -> Iterator[RowFilter]:
        """The row_filters of one part, entered in the ledger."""
        name = self._account(part, table)
        read, line = 0, 2  # the header is line 1
        for row_filter in self._row_filters(part, table, rules, only):
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
        for part in self.parts(table)[:1]:  # for a table in parts, all at the first one
            self.ledger.remark(self._account(part, table), remarks)

    def _account(self, part: Part, table: Table) -> str:
        return f"{part.name} ({table.part})" if table.part else part.name

    @contextmanager
    def booked_in(self, ledger: Ledger) -> Iterator[None]:
        """Tables read in this context are counted in ``ledger``."""
        outer, self.ledger = self.ledger, ledger
        try:
            yield
        finally:
            self.ledger = outer

    def _row_filters(self, part: Part, table: Table, rules: Rules, only: Only | None) -> Iterator[RowFilter]:
        def sift(parsed: Block) -> RowFilter:
            row_filter = parsed()
            if table.derived is not None:
                table.derived.rule(row_filter)
            rules(row_filter)
            return row_filter

        blocks = part.blocks(table, only, self.shown_as(part, table), self._progress)
        yield from in_order(sift, blocks, self.workers)


def _no_rows(table: Table) -> RowFilter:
    return parse(b"", [column.raw for column in table.columns.values()], table)
