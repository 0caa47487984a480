"""What ``--raw`` names: a folder of files, a DuckDB file, or a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinragen.errors import UserError
from mimic_prep.databases.address import file_address, server_address
from mimic_prep.databases.database import Database
from mimic_prep.databases.duckdb_file import DuckDBFile, is_duckdb
from mimic_prep.databases.postgresql import PostgreSQL
from mimic_prep.raw_files import RawFiles
from mimic_prep.table_source import TableSource

#: a folder of files, which may not exist, or an opened database
RawPlace = Path | Database

_SQLITE = b"SQLite format 3\0"


@contextmanager
def opened(raw: str | Path) -> Iterator[RawPlace]:
    """The folder or database that ``raw`` names, for reading.

    Raises:
        UserError: a file that is no database, or a database that cannot be opened.
    """
    if server := server_address(str(raw)):
        with PostgreSQL(server) as database:
            yield database
        return
    path, schemas = file_address(str(raw))
    if not path.is_file():
        yield path
        return
    if not is_duckdb(path):
        with path.open("rb") as file:
            sqlite = file.read(len(_SQLITE)) == _SQLITE
        form = "an SQLite database, which is not read" if sqlite else "a file, and no DuckDB database"
        raise UserError(
            f"{path} is {form}: --raw expects the folder of the tables, a DuckDB file, or the URL of PostgreSQL"
        )
    with DuckDBFile(path, schemas) as database:
        yield database


def tables_in(raw: RawPlace, release: str) -> TableSource:
    """The tables of a folder or database; ``release`` is its name in errors.

    Raises:
        UserError: it is no folder, or holds no data file.
    """
    return raw if isinstance(raw, Database) else RawFiles(raw, release)
