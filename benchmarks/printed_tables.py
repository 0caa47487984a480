"""The console of the benchmarks: what it prints as a table, it also hands to `make results`.

Where the environment names a file in `RESULT_TABLES`, each table printed to standard output is appended to it as one
line of JSON: title, headings of the columns, and rows of cells, all as text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import console
from rich.table import Table
from rich.text import Text

FILE = "RESULT_TABLES"


class Console(console.Console):
    """A console that keeps the cells of the tables which it prints."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and append the tables among ``objects`` to the file that ``RESULT_TABLES`` names."""
        super().print(*objects, **options)
        if (file := os.environ.get(FILE)) and not self.stderr:
            lines = [json.dumps(cells_of(table), ensure_ascii=False) for table in objects if isinstance(table, Table)]
            with Path(file).open("a", encoding="utf-8") as tables:
                tables.writelines(f"{line}\n" for line in lines)


def cells_of(table: Table) -> dict[str, Any]:
    """Title, headings and rows of a table, without markup."""
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    return {
        "title": _plain(table.title or ""),
        "columns": [_plain(column.header) for column in table.columns],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def with_interval(score: Mapping[str, Any], digits: int = 3, sign: str = "") -> str:
    """A score with its interval, as ``clinragen.evaluation.diagnosis.interval`` gives it; ``sign`` may be ``+``.

    >>> with_interval({"value": 0.0123, "low": -0.01, "high": 0.02}, sign="+")
    '+0.012 (-0.010 to +0.020)'
    """
    value, low, high = (format(score[name], f"{sign}.{digits}f") for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _plain(cell: Any) -> str:
    return (cell if isinstance(cell, Text) else Text.from_markup(str(cell))).plain
