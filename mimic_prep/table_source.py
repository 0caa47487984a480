"""Where the tables of a release lie: the contract that a folder of files and a database both keep.

A source finds tables. A table has parts, the files or database tables with its rows; each part can tell its columns,
give its rows in blocks, and say what identifies its content.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mimic_prep.accounting import RowFilter
from mimic_prep.tables import Only, Table

#: Parses one block of a part; called in a worker thread.
Block = Callable[[], RowFilter]


@dataclass(frozen=True)
class Scan:
    """Result of one pass over a part: what identifies its content, its rows, and whether it is complete."""

    digest: str
    rows: int
    whole: bool


class Part(ABC):
    """Rows of a table in one place. ``name`` is that in manifests: path below the raw folder, or schema and table."""

    name: str

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name among the other parts of the table."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """Its name in errors."""

    @abstractmethod
    def size(self) -> int:
        """Bytes, for progress; an estimate for a table of a database."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Column names in lower case; none if they cannot be read."""

    def columns_for(self, table: Table) -> list[str]:
        """The same, if the part is of this table, which may have tabs between its columns."""
        columns = self.columns()
        if table.tabs and len(columns) == 1:
            return [name.strip() for name in columns[0].split("\t")]
        return columns

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 that differs if the content does."""

    @abstractmethod
    def blocks(
        self, table: Table, only: Only | None, shown: str, progress: Callable[[int], None]
    ) -> Generator[Block, None, None]:
        """The rows from start to end, in blocks of bounded size that are still to be parsed.

        Args:
            table: names the columns to read.
            only: the rows worth parsing.
            shown: name of the part in errors.
            progress: called with the bytes read since the last call.

        Raises:
            UserError: a column is missing or has an unsuitable type, or the rows cannot be read to their end.
        """

    @abstractmethod
    def scan(self, table: Table, progress: Callable[[int], None]) -> Scan:
        """Read the part to its end without using its rows."""


@dataclass(frozen=True)
class TableLocation:
    """Where a table lies. ``name`` is that of its only part, or the common name of its parts."""

    name: str
    parts: tuple[Part, ...]


class TableSource(ABC):
    """The tables below a raw folder, or in a database.

    Attributes:
        shown: in errors.
        paths: files and folders that are read, which a command must not replace.
    """

    shown: str
    paths: tuple[Path, ...]

    @abstractmethod
    def locate(self, table: Table) -> TableLocation | None:
        """The place of a table; None if it is absent.

        Raises:
            UserError: it exists twice, or only in a form that is not read.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether a table (by its name in lower case) exists."""

    @abstractmethod
    def absent(self, table: Table) -> str:
        """A required table that is absent: what it would be called, and what to do; the end of an error."""

    def published(self) -> Mapping[Part, str]:
        """The SHA-256 of parts that their publisher states."""
        return {}

    def record(self) -> dict[str, object]:
        """What a manifest says about the source besides its tables."""
        return {}
