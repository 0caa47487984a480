"""Reading plain or gzipped text, row by row."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, gzipped if its name ends in .gz."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as handle:
        yield handle


def rows(path: Path, delimiter: str, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows of a delimited file by column name.

    Raises:
        ValueError: a needed column is missing.
    """
    with opened(path) as handle:
        reader = csv.DictReader(handle, delimiter=delimiter)
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path.name}: column {missing[0]} is missing")
        yield from reader
