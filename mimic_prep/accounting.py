"""Row accounting: every row read is kept, out of scope, or quarantined under a reason.

Reasons and line numbers are kept, cell contents never are: quarantined rows may hold patient text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

QUARANTINE = pa.schema([("file", pa.string()), ("line", pa.int64()), ("reason", pa.string())])


class Sieve:
    """Rows of one block on their way through a table's rules; ``frame`` holds those still in.

    The frame needs a column ``line``, the row's line number in its file.
    """

    def __init__(self, frame: pl.DataFrame, *, read: int | None = None, lines: int = 0) -> None:
        self.frame = frame
        self.read = frame.height if read is None else read  # rows of the block
        self.lines = lines  # lines of the block, which may be more
        self.out_of_scope: Counter[str] = Counter()
        self.quarantined: list[tuple[str, np.ndarray]] = []

    def shift(self, lines: int) -> None:
        """Count lines from the start of the file, ``lines`` above the block."""
        self.quarantined = [(reason, at + lines) for reason, at in self.quarantined]
        if "line" in self.frame.columns:
            self.frame = self.frame.with_columns(pl.col("line") + lines)

    def skip(self, condition: pl.Expr, reason: str) -> None:
        """Rows that meet ``condition`` are sound, but not asked for."""
        before = self.frame.height
        self.frame = self.frame.filter(~condition.fill_null(False))
        if before > self.frame.height:
            self.out_of_scope[reason] += before - self.frame.height

    def reject(self, condition: pl.Expr, reason: str) -> None:
        """Rows that meet ``condition`` cannot be trusted."""
        bad = self.frame.filter(condition.fill_null(False))
        if bad.height:
            self.quarantined.append((reason, bad["line"].to_numpy()))
            self.frame = self.frame.filter(~condition.fill_null(False))

    def reject_missing(self, *columns: str) -> None:
        """Rows without a value in one of ``columns`` cannot be trusted."""
        for column in columns:
            self.reject(pl.col(column).is_null(), f"no {column}")


@dataclass
class TableCount:
    """The account of one table: ``read == kept + out of scope + quarantined``."""

    read: int = 0
    kept: int = 0
    out_of_scope: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        return {
            "read": self.read,
            "kept": self.kept,
            "out_of_scope": dict(sorted(self.out_of_scope.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }


class Ledger:
    """The accounts of all tables, and where each quarantined row lies."""

    def __init__(self) -> None:
        self.tables: dict[str, TableCount] = {}
        self._bad: list[tuple[str, np.ndarray, str]] = []

    def add(self, file: str, sieve: Sieve) -> None:
        """Book one block that has been through its sieve."""
        count = self.tables.setdefault(file, TableCount())
        count.read += sieve.read
        count.kept += sieve.frame.height
        count.out_of_scope.update(sieve.out_of_scope)
        for reason, lines in sieve.quarantined:
            count.quarantined[reason] += len(lines)
            self._bad.append((file, lines, reason))

    def drop(self, file: str, reason: str, rows: int) -> None:
        """Rows counted as kept turn out to be out of scope."""
        if rows:
            count = self.tables[file]
            count.kept -= rows
            count.out_of_scope[reason] += rows

    def as_json(self) -> dict[str, object]:
        return {file: self.tables[file].as_json() for file in sorted(self.tables)}

    def quarantine(self) -> pa.Table:
        """One row for each quarantined row: file, line, reason; sorted."""
        rows = [
            (file, int(line), reason)
            for file, lines, reason in sorted(self._bad, key=lambda entry: (entry[0], entry[2]))
            for line in lines
        ]
        rows.sort()
        columns = list(zip(*rows, strict=True)) if rows else [[], [], []]
        return pa.table(dict(zip(QUARANTINE.names, map(list, columns), strict=True)), schema=QUARANTINE)
