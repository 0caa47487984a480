"""Row accounting: every row read is kept, out of scope, or quarantined under a reason.

Reasons and line numbers are stored, but no cell contents: quarantined rows may contain patient text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from clinragen.artifacts import read_json, write_json, write_table
from clinragen.cohort.manifest import RowCounts
from clinragen.errors import UserError

FEW_BAD = 100  # up to this many bad rows never stop a preparation, even in a short table
_ACCOUNT, _BAD = "account.json", "quarantine.parquet"
QUARANTINE = pa.schema([("file", pa.string()), ("line", pa.int64()), ("reason", pa.string())])


#: Rows by kind of code and code, of codes that no variable has.
UnusedCodes = Counter[tuple[str, str]]
_MOST_UNUSED = 100_000  # distinct codes of a file that are counted one by one
_OTHER_CODES = "(other)"


class RowFilter:
    """Applies a table's rules to the rows of one block; ``frame`` holds the remaining rows.

    The frame needs a column ``line``, the row's line number in its file.
    """

    def __init__(self, frame: pl.DataFrame, *, read: int | None = None, lines: int = 0) -> None:
        self.frame = frame
        self.read = frame.height if read is None else read  # rows of the block
        self.lines = lines  # lines of the block, which may be more
        self.out_of_scope: Counter[str] = Counter()
        self.quarantined: list[tuple[str, np.ndarray]] = []
        self.remarks: Counter[str] = Counter()  # remarks on rows that were kept
        self.unused: UnusedCodes = Counter()  # rows out of scope because no variable has their code

    def shift(self, lines: int) -> None:
        """Count lines from the start of the file, ``lines`` above the block."""
        self.quarantined = [(reason, at + lines) for reason, at in self.quarantined]
        if "line" in self.frame.columns:
            self.frame = self.frame.with_columns(pl.col("line") + lines)

    def joined(self, below: RowFilter) -> RowFilter:
        """The rows of this block and of the one below it, neither shifted yet, as one block."""
        below.shift(self.lines)
        both = RowFilter(
            pl.concat([self.frame, below.frame]), read=self.read + below.read, lines=self.lines + below.lines
        )
        both.out_of_scope = self.out_of_scope + below.out_of_scope
        both.quarantined = self.quarantined + below.quarantined
        both.remarks = self.remarks + below.remarks
        both.unused = self.unused + below.unused
        return both

    def skip(self, condition: pl.Expr, reason: str) -> None:
        """Drop rows that meet ``condition``: they are valid, but out of scope."""
        hit = self._hit(condition)
        if hit.any():
            self.out_of_scope[reason] += int(hit.sum())
            self.frame = self.frame.filter(~hit)

    def reject(self, condition: pl.Expr, reason: str) -> None:
        """Quarantine rows that meet ``condition``."""
        hit = self._hit(condition)
        if hit.any():
            self.quarantined.append((reason, self.frame["line"].filter(hit).to_numpy()))
            self.frame = self.frame.filter(~hit)

    def count_unused(self, condition: pl.Expr, kind: str, column: str) -> None:
        """Count the rows that meet ``condition`` by their code in ``column``; ``kind`` says what kind of code it is."""
        codes = self.frame.select(pl.col(column).filter(condition.fill_null(False))).to_series()
        for code, rows in codes.drop_nulls().value_counts().iter_rows():
            self.unused[kind, str(code)] += rows

    def _hit(self, condition: pl.Expr) -> pl.Series:
        return self.frame.select(hit=condition.fill_null(False)).to_series()

    def reject_missing(self, *columns: str) -> None:
        """Quarantine rows without a value in one of ``columns``."""
        for column in columns:
            self.reject(pl.col(column).is_null(), f"no {column}")


class Screen:
    """Several rules over the rows of a filter: they only mark rows, and ``apply`` removes these together.

    A row counts under the first rule that it meets. Masks have the length of the filter's frame.
    """

    def __init__(self, row_filter: RowFilter) -> None:
        self._row_filter = row_filter
        self._left = np.ones(row_filter.frame.height, dtype=bool)

    def skip(self, mask: np.ndarray | pl.Series, reason: str) -> None:
        """Like ``RowFilter.skip``."""
        hit = self._take(mask)
        if hit.size:
            self._row_filter.out_of_scope[reason] += hit.size

    def reject(self, mask: np.ndarray | pl.Series, reason: str) -> None:
        """Like ``RowFilter.reject``."""
        hit = self._take(mask)
        if hit.size:
            self._row_filter.quarantined.append((reason, self._row_filter.frame["line"].to_numpy()[hit]))

    def _take(self, mask: np.ndarray | pl.Series) -> np.ndarray:
        hit = np.flatnonzero(self._left & np.asarray(mask))
        self._left[hit] = False
        return hit

    def apply(self, **columns: np.ndarray) -> None:
        """Keep in the filter the rows that met no rule, with the additional ``columns``."""
        frame = self._row_filter.frame.with_columns(pl.Series(name, values) for name, values in columns.items())
        self._row_filter.frame = frame.filter(pl.Series(self._left))


@dataclass
class TableCount:
    """Row counts of one table: ``read == kept + out of scope + quarantined``; ``remarks`` are on kept rows."""

    read: int = 0
    kept: int = 0
    out_of_scope: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> RowCounts:
        """The counts in the form of a manifest; without ``remarks`` if there are none."""
        counts: RowCounts = {
            "read": self.read,
            "kept": self.kept,
            "out_of_scope": dict(sorted(self.out_of_scope.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }
        if self.remarks:
            counts["remarks"] = dict(sorted(self.remarks.items()))
        return counts


class Ledger:
    """The row counts of all tables, and the location of each quarantined row."""

    def __init__(self) -> None:
        self.tables: dict[str, TableCount] = {}
        self._bad: list[tuple[str, np.ndarray, str]] = []
        self._remarks: dict[str, Counter[str]] = {}  # remarks on files that were read in another step
        self._unused: dict[str, UnusedCodes] = {}

    def add(self, file: str, row_filter: RowFilter) -> None:
        """Add the counts of one filtered block."""
        count = self.tables.setdefault(file, TableCount())
        count.read += row_filter.read
        count.kept += row_filter.frame.height
        count.out_of_scope.update(row_filter.out_of_scope)
        count.remarks.update(row_filter.remarks)
        for reason, lines in row_filter.quarantined:
            count.quarantined[reason] += len(lines)
            self._bad.append((file, lines, reason))
        self._add_unused(file, row_filter.unused)

    def unused(self, file: str) -> UnusedCodes:
        """Rows of a file by kind of code and code, of codes that no variable has."""
        return self._unused.get(file, Counter())

    def _add_unused(self, file: str, unused: UnusedCodes) -> None:
        counts = self._unused.setdefault(file, Counter()) if unused else Counter()
        for (kind, code), rows in unused.items():
            fits = (kind, code) in counts or len(counts) < _MOST_UNUSED
            counts[kind, code if fits else _OTHER_CODES] += rows

    def remark(self, file: str, remarks: Counter[str]) -> None:
        """Add remarks on rows of a file that another ledger counts."""
        if remarks:
            self._remarks.setdefault(file, Counter()).update(remarks)

    def check(self, file: str, max_bad_share: float) -> None:
        """Raise a UserError if too many rows of a file are quarantined."""
        count = self.tables[file]
        bad = sum(count.quarantined.values())
        if bad >= FEW_BAD and bad > max_bad_share * count.read:
            reason, number = max(count.quarantined.items(), key=lambda entry: (entry[1], entry[0]))
            line = min(int(lines.min()) for name, lines, why in self._bad if (name, why) == (file, reason))
            raise UserError(
                f"{file}: {bad:,} of {count.read:,} rows are bad, more than rules.max_bad_share {max_bad_share:g} "
                f"allows (most often: {reason}, {number:,} times, first in line {line}); download the file again, or "
                "raise the share"
            )

    def merge(self, other: Ledger) -> None:
        """Add the counts of other files."""
        self.tables.update(other.tables)
        self._bad += other._bad
        for file, remarks in other._remarks.items():
            self.remark(file, remarks)
        for file, unused in other._unused.items():
            self._add_unused(file, unused)

    def save(self, folder: Path) -> None:
        """Write the counts into a folder, for ``load``."""
        counts = {file: count.as_json() for file, count in self.tables.items()}
        unused = {file: [[*code, rows] for code, rows in sorted(codes.items())] for file, codes in self._unused.items()}
        write_json(folder / _ACCOUNT, {"tables": counts, "remarks": self._remarks, "unused": unused})
        write_table(folder / _BAD, self.quarantine())

    @classmethod
    def load(cls, folder: Path) -> Ledger:
        """The counts written by ``save``."""
        ledger = cls()
        account = read_json(folder / _ACCOUNT, "an account of rows")
        for file, count in account["tables"].items():
            parts = (Counter(count.get(part, {})) for part in ("out_of_scope", "quarantined", "remarks"))
            ledger.tables[file] = TableCount(count["read"], count["kept"], *parts)
        for file, remarks in account["remarks"].items():
            ledger.remark(file, Counter(remarks))
        for file, codes in account.get("unused", {}).items():
            ledger._add_unused(file, Counter({(kind, code): rows for kind, code, rows in codes}))
        bad = pl.read_parquet(folder / _BAD)
        for (file, reason), rows in bad.partition_by("file", "reason", as_dict=True, maintain_order=True).items():
            ledger._bad.append((file, rows["line"].to_numpy(), reason))
        return ledger

    def as_json(self) -> dict[str, RowCounts]:
        """Every table's counts by file name, sorted."""
        return {file: self._count(file).as_json() for file in sorted(self.tables)}

    def _count(self, file: str) -> TableCount:
        """The file's counts with the remarks of all steps."""
        count = self.tables[file]
        return replace(count, remarks=count.remarks + self._remarks.get(file, Counter()))

    def quarantine(self) -> pa.Table:
        """One row for each quarantined row: file, line, reason; sorted."""
        parts = [
            pl.select(file=pl.lit(file), line=pl.Series(lines, dtype=pl.Int64), reason=pl.lit(reason))
            for file, lines, reason in self._bad
        ]
        none = pl.DataFrame(schema={"file": pl.String, "line": pl.Int64, "reason": pl.String})
        return pl.concat([none, *parts]).sort("file", "line", "reason").to_arrow().cast(QUARANTINE)
