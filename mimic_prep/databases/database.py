"""Raw tables in a database, whichever it is: find them by name, and read their rows in blocks.

Every column is read as text or in a type of Arrow from which ``cells.converted`` makes the same cells as from the text
of a CSV file: numbers of fixed precision and of single precision as the text that the database shows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Self, override

import pyarrow as pa

from clinragen.errors import UserError
from mimic_prep.cells import TYPES
from mimic_prep.csv_stream import check_columns
from mimic_prep.parquet_rows import from_batch, plain_pieces
from mimic_prep.table_source import Block, Part, Scan, TableLocation, TableSource
from mimic_prep.tables import Only, Table

_MOST_NAMES = 12


@dataclass(frozen=True)
class DatabaseColumn:
    """A column: its name as the database spells it, and the name of its type."""

    name: str
    type: str


@dataclass(frozen=True, eq=False)
class DatabaseTable(Part):
    """A table of a database.

    Attributes:
        refusal: why it cannot be read, as the end of an error; empty if it can.
    """

    database: Database = field(repr=False)
    schema: str
    table: str
    column_types: tuple[DatabaseColumn, ...]
    bytes: int
    refusal: str = ""

    @property
    def name(self) -> str:  # type: ignore[override]
        """Schema and table."""
        return f"{self.schema}.{self.table}"

    @property
    @override
    def label(self) -> str:
        return self.name

    @property
    @override
    def shown(self) -> str:
        return f"{self.database.shown}: table {self.name}"

    @override
    def size(self) -> int:
        return self.bytes

    @override
    def columns(self) -> list[str]:
        return [column.name.lower() for column in self.column_types]

    @override
    def digest(self) -> str:
        return self.database.content(self).digest

    @override
    def blocks(
        self, table: Table, only: Only | None, shown: str, progress: Callable[[int], None]
    ) -> Generator[Block, None, None]:
        check_columns(self.columns(), shown, table)
        rows = max(self.database.content(self).rows, 1)
        reported = read = 0
        for batch in self.database.batches(self, self._selected(table, shown)):
            try:
                pieces = list(plain_pieces(batch, shown))
            except pa.ArrowInvalid:
                raise UserError(
                    f"{shown}: holds text that is not UTF-8: correct the encoding of the database"
                ) from None
            for piece in pieces:
                yield partial(from_batch, piece, table, only, shown)
            read += batch.num_rows
            share = min(self.bytes * read // rows, self.bytes)
            progress(share - reported)
            reported = share
        progress(self.bytes - reported)

    def _selected(self, table: Table, shown: str) -> list[str]:
        """The expressions to select, each under the name of its column in lower case."""
        kinds = {column.raw: column.type for column in table.columns.values()}
        selected = []
        for column in self.column_types:
            kind = kinds.get(column.name.lower())
            if kind is None:
                continue
            expression = self.database.expression(column, kind)
            if expression is None:
                raise UserError(f"{shown}: column '{column.name}' is of type {column.type}, expected {TYPES[kind][1]}")
            selected.append(f"{expression} AS {quoted(column.name.lower())}")
        return selected

    @override
    def scan(self, table: Table, progress: Callable[[int], None]) -> Scan:
        content = self.database.content(self)
        progress(self.bytes)
        return content


class Database(TableSource):
    """A database that is opened for reading, and closed at the end of its context.

    Args:
        shown: its name in errors.
        schemas: those to look in, in lower case; all if empty.
    """

    def __init__(self, shown: str, schemas: tuple[str, ...]) -> None:
        self.shown = shown
        self.paths = ()
        self._schemas = schemas
        self._tables: dict[str, list[DatabaseTable]] | None = None

    @abstractmethod
    def catalogue(self) -> list[DatabaseTable]:
        """All tables of the database, in any schema."""

    @abstractmethod
    def expression(self, column: DatabaseColumn, kind: pa.DataType) -> str | None:
        """The SQL expression that gives the cells of a column for ``kind`` (a type of ``tables``).

        None if no cell of the column's type can be of that kind.
        """

    @abstractmethod
    def batches(self, table: DatabaseTable, selected: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a table in the order in which they were entered, where the database keeps it."""

    @abstractmethod
    def content(self, table: DatabaseTable) -> Scan:
        """What identifies the content of a table, and its number of rows."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __str__(self) -> str:
        return self.shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @override
    def locate(self, table: Table) -> TableLocation | None:
        tables = self._named(table.name)
        tables = [one for one in tables if not one.refusal] or tables
        folder = table.path.rpartition("/")[0].lower()
        exact = [one for one in tables if folder and one.schema.lower().rpartition("_")[2] == folder]
        tables = exact or tables
        if len(tables) > 1:
            names = ", ".join(one.name for one in tables)
            raise UserError(
                f"{self.shown}: several tables could be {table.name} ({names}): say which schema, as "
                f"?schema={tables[0].schema} at the end of --raw"
            )
        if not tables:
            return None
        if tables[0].refusal:
            raise UserError(f"{tables[0].shown}: {tables[0].refusal}")
        return TableLocation(tables[0].name, tuple(tables))

    @override
    def has(self, name: str) -> bool:
        return bool(self._named(name))

    @override
    def absent(self, table: Table) -> str:
        schemas = sorted({one.schema for tables in self._by_name().values() for one in tables})
        looked = f"it has tables in the schemas {', '.join(schemas[:_MOST_NAMES])}" if schemas else "it has no table"
        only = f" and --raw names {', '.join(self._schemas)}" if self._schemas else ""
        return f"table {table.name} not found; {looked}{only}; load the table, or check --raw"

    def _named(self, name: str) -> list[DatabaseTable]:
        tables = self._by_name().get(name, [])
        return [table for table in tables if not self._schemas or table.schema.lower() in self._schemas]

    def _by_name(self) -> dict[str, list[DatabaseTable]]:
        """The tables by their name in lower case."""
        if self._tables is None:
            self._tables = {}
            for table in self.catalogue():
                self._tables.setdefault(table.table.lower(), []).append(table)
        return self._tables


def not_utf8(shown: str) -> UserError:
    """An error about text of unknown encoding."""
    return UserError(f"{shown}: holds text that is not UTF-8: correct the encoding of the database")


def quoted(name: str) -> str:
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'
