"""A DuckDB file, opened for reading only. Rows come in the order in which they were entered, which DuckDB keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, override

import pyarrow as pa

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.errors import UserError, missing_extra
from mimic_prep.databases.database import Database, DatabaseColumn, DatabaseTable, quoted
from mimic_prep.table_source import Scan
from mimic_prep.tables import TEXT, TIME, WORD

if TYPE_CHECKING:
    import duckdb

ROWS_AT_ONCE = 1 << 16
_MAGIC_AT, _MAGIC = 8, b"DUCK"
#: no code and no data but those of the file; the scan of a table needs little memory
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "preserve_insertion_order": True,
    "memory_limit": "2GB",
    "threads": 2,
}
_PLAIN = frozenset(
    ["BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "DOUBLE", "VARCHAR",
     "DATE", "TIMESTAMP"]
)  # fmt: skip
_WRITTEN = re.compile(r"FLOAT|UBIGINT|HUGEINT|UHUGEINT|BIGNUM|DECIMAL\(.*|ENUM\([^\[]*|TIME|UUID")
_TIMES = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_FRACTIONS = ("FLOAT", "DOUBLE")


def is_duckdb(path: Path) -> bool:
    """Whether a file begins as DuckDB's do."""
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC


class DuckDBFile(Database):
    """The tables of a DuckDB file.

    Raises:
        UserError: DuckDB is not installed, or the file cannot be opened.
    """

    def __init__(self, path: Path, schemas: tuple[str, ...] = ()) -> None:
        super().__init__(str(path), schemas)
        self.paths = (path,)
        self._path = path
        self._hashing = Lock()
        self._connection = self._opened()

    def _opened(self) -> duckdb.DuckDBPyConnection:
        try:
            import duckdb
        except ImportError:
            raise missing_extra(f"{self._path} is a DuckDB file, and reading it", "duckdb") from None
        try:
            connection = duckdb.connect(str(self._path), read_only=True, config=_SETTINGS)
            connection.execute("SET TimeZone = 'UTC'")
        except duckdb.Error as error:
            raise self._unopened(str(error)) from None
        return connection

    def _unopened(self, message: str) -> UserError:
        message = message.replace(str(self._path), "")
        if "set lock" in message or "onflicting lock" in message:
            return UserError(f"{self._path} is open for writing in another process: close it there, and run this again")
        if "version number" in message:
            return UserError(
                f"{self._path} was written by a newer DuckDB than the one installed: update duckdb, or export the "
                "database and import it with the installed one"
            )
        if "encrypt" in message.lower():
            return UserError(f"{self._path} is encrypted, which is not read: copy its tables into a file that is not")
        if "Permission denied" in message:
            return UserError(f"{self._path} may not be read by you: check its permissions")
        return UserError(f"{self._path} is cut off or corrupt, no whole DuckDB file: copy or build it again")

    @override
    def close(self) -> None:
        self._connection.close()

    @override
    def catalogue(self) -> list[DatabaseTable]:
        columns: dict[tuple[str, str], list[DatabaseColumn]] = {}
        for schema, table, name, kind in self._rows(
            "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE NOT internal AND database_name = current_database() ORDER BY schema_name, table_name, column_index"
        ):
            columns.setdefault((schema, table), []).append(DatabaseColumn(name, kind))
        rows = {
            (schema, table): count
            for schema, table, count in self._rows(
                "SELECT schema_name, table_name, estimated_size FROM duckdb_tables() "
                "WHERE NOT internal AND database_name = current_database()"
            )
        }
        cells = sum(count * len(columns[key]) for key, count in rows.items()) or 1
        size = self._path.stat().st_size
        return [
            DatabaseTable(
                self, *key, tuple(of_table), size * rows.get(key, 0) * len(of_table) // cells,
                refusal="" if key in rows else "it is a view, whose rows may lie elsewhere: make a table of it",
            )
            for key, of_table in columns.items()
        ]  # fmt: skip

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.cursor().execute(query).fetchall()

    @override
    def expression(self, column: DatabaseColumn, kind: pa.DataType) -> str | None:
        name = quoted(column.name)
        if column.type in _TIMES:  # with a zone: the clock of UTC; as microseconds infinity is out of every range
            clock = f"CAST({name} AS TIMESTAMP)"
            return f"CAST({clock} AS VARCHAR)" if kind in (TEXT, WORD) else clock
        if kind in (TEXT, WORD) and column.type in _FRACTIONS:
            return f"regexp_replace(CAST({name} AS VARCHAR), '\\.0$', '')"
        if kind == TIME and column.type in _FRACTIONS:
            return name
        if _WRITTEN.fullmatch(column.type) or (kind in (TEXT, WORD) and column.type in _PLAIN):
            return f"CAST({name} AS VARCHAR)"
        return name if column.type in _PLAIN else None

    @override
    def batches(self, table: DatabaseTable, selected: list[str]) -> Iterator[pa.RecordBatch]:
        import duckdb

        query = f"SELECT {', '.join(selected)} FROM {quoted(table.schema)}.{quoted(table.table)}"
        try:
            yield from self._connection.cursor().sql(query).to_arrow_reader(ROWS_AT_ONCE)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._unread(table, error) from None

    def _unread(self, table: DatabaseTable, error: Exception) -> UserError:
        if "Out of Memory" in str(error):
            return UserError(f"{table.shown}: memory ran out while it was read")
        return UserError(f"{table.shown} cannot be read to its end (the file is cut off or corrupt): build it again")

    @override
    def content(self, table: DatabaseTable) -> Scan:
        import duckdb

        try:
            [(rows,)] = self._rows(f"SELECT count(*) FROM {quoted(table.schema)}.{quoted(table.table)}")
        except duckdb.Error as error:
            raise self._unread(table, error) from None
        with self._hashing:
            return Scan(self._hash, rows, whole=True)

    @cached_property
    def _hash(self) -> str:
        """SHA-256 of the file, and of changes that DuckDB has not yet merged into it."""
        pending = self._path.with_name(self._path.name + ".wal")
        digest = sha256_file(self._path)
        return sha256_json([digest, sha256_file(pending)]) if pending.is_file() else digest

    @override
    def record(self) -> dict[str, object]:
        return {"database": {"kind": "DuckDB", "name": self._path.name}}
