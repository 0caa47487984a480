"""A PostgreSQL server, read through ADBC: one connection, one read-only transaction, one snapshot of all tables.

The password comes from PGPASSWORD or ~/.pgpass, which libpq reads by itself. Messages of the server are quoted only
where they cannot hold data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from threading import RLock
from typing import TYPE_CHECKING, Any, override

import pyarrow as pa

from clinragen.artifacts import sha256_json
from clinragen.errors import UserError, missing_extra
from mimic_prep.databases.address import ServerAddress
from mimic_prep.databases.database import Database, DatabaseColumn, DatabaseTable, not_utf8, quoted
from mimic_prep.table_source import Scan
from mimic_prep.tables import INSTANT, TEXT, WORD

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

BATCH_BYTES = 1 << 23
_OLDEST = 110_000  # has hashtextextended
#: for libpq, unless the URL says otherwise: no silent wait for a server that is away
_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "application_name": "mimic-prep",
}
#: one snapshot, rows in the order in which they lie in the table, and texts of cells that depend on no user's settings
_SESSION = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET default_transaction_read_only = on",
    "SET idle_in_transaction_session_timeout = 0",
    "SET client_encoding = 'UTF8'",
    "SET synchronize_seqscans = off",
    "SET enable_indexscan = off",
    "SET enable_indexonlyscan = off",
    "SET enable_bitmapscan = off",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)
_CATALOGUE = """
SELECT n.nspname::text, c.relname::text, a.attname::text,
       CASE WHEN coalesce(b.typtype, t.typtype) = 'e' THEN 'enum' ELSE coalesce(b.typname, t.typname)::text END,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END::bigint,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY n.nspname, c.relname, a.attnum
"""
_NOT_GRANTED = "permission denied; ask its owner to grant you SELECT, and USAGE of the schema"
_PLAIN = frozenset(["bool", "int2", "int4", "int8", "float8", "timestamp"])
_WRITTEN = frozenset(
    ["text", "varchar", "bpchar", "char", "name", "citext", "enum", "uuid", "numeric", "float4", "time"]
)
#: beginnings of messages without data of a table
_SAFE = re.compile(
    r"canceling statement|terminating connection|server closed the connection|could not receive data|SSL |connection |"
    r"permission denied|out of memory|could not (?:read|open|access) |invalid page|temporary file|no connection",
    re.IGNORECASE,
)
_NOISE = re.compile(r"^.*?(?:ERROR|FATAL|PANIC):\s+|^.*?\[libpq\]\s*(?:PQ\w+\(\) failed: )?|\s*SQLSTATE:.*$", re.DOTALL)


class PostgreSQL(Database):
    """The tables of a database on a PostgreSQL server.

    Raises:
        UserError: ADBC is not installed, or no connection.
    """

    def __init__(self, address: ServerAddress) -> None:
        super().__init__(address.shown, address.schemas)
        self._in_use = RLock()  # one connection can send the rows of one table at a time
        self._contents: dict[str, Scan] = {}
        self._connection = self._connected(address)
        for statement in _SESSION:
            self._execute(statement)
        [[self._version, number, self._name]] = self._rows(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, "
            "current_database()::text"
        )
        if number < _OLDEST:
            raise UserError(f"{self.shown}: its version {self._version} is too old: expected PostgreSQL 11 or newer")

    def _connected(self, address: ServerAddress) -> Connection:
        try:
            from adbc_driver_manager import Error
            from adbc_driver_postgresql import dbapi
        except ImportError:
            raise missing_extra(f"reading {self.shown}", "postgresql") from None
        defaults = "&".join(f"{name}={value}" for name, value in _DEFAULTS.items() if name not in address.options)
        try:
            return dbapi.connect(f"{address.url}{'&' if '?' in address.url else '?'}{defaults}")
        except Error as error:
            raise UserError(f"{self.shown}: {_unconnected(str(error))}") from None

    @override
    def close(self) -> None:
        from adbc_driver_manager import Error

        try:
            self._connection.close()
        except (Error, RuntimeError):  # it was lost, or a stream of it is still open: it ends with the process
            return

    def _execute(self, query: str) -> Cursor:
        from adbc_driver_manager import Error

        cursor = self._connection.cursor()
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        try:
            cursor.execute(query)
        except (Error, pa.ArrowException, OSError) as error:
            raise self._failed(error) from None
        return cursor

    def _rows(self, query: str) -> list[list[Any]]:
        with self._in_use:
            cursor = self._execute(query)
            try:
                return [list(row) for row in cursor.fetchall()]
            except (pa.ArrowException, OSError) as error:
                raise self._failed(error) from None
            finally:
                cursor.close()

    def _failed(self, error: Exception, table: DatabaseTable | None = None, read: int = 0) -> UserError:
        where = f"{table.shown if table else self.shown}: "
        reason = " ".join(_NOISE.sub("", str(error).strip().partition("\n")[0]).split())
        if "byte sequence" in reason:
            return not_utf8(where.removesuffix(": "))
        if not _SAFE.match(reason):
            reason = "an error of the server, which is not shown as it may quote data"
        after = f" after {read:,} rows" if read else ""
        if "permission denied" in reason:
            return UserError(f"{where}{reason}; ask its owner to grant SELECT")
        hint = ""
        if "statement timeout" in reason:
            hint = "; add ?options=-c%20statement_timeout=0 to --raw, or ask for a longer limit"
        return UserError(
            f"{where}reading stopped{after} ({reason}){hint}; run the command again: finished steps are kept"
        )

    @override
    def catalogue(self) -> list[DatabaseTable]:
        columns: dict[tuple[str, str], list[DatabaseColumn]] = {}
        details: dict[tuple[str, str], tuple[int, bool]] = {}
        for schema, table, name, kind, size, readable in self._rows(_CATALOGUE):
            columns.setdefault((schema, table), []).append(DatabaseColumn(name, kind))
            details[schema, table] = size, readable
        return [
            DatabaseTable(
                self, *key, tuple(of_table), details[key][0],
                refusal="" if details[key][1] else _NOT_GRANTED,
            )
            for key, of_table in columns.items()
        ]  # fmt: skip

    @override
    def expression(self, column: DatabaseColumn, kind: pa.DataType) -> str | None:
        name = quoted(column.name)
        as_text = kind in (TEXT, WORD)
        if column.type == "timestamptz":  # the clock of UTC if that is asked for, else that of the database
            clock = f"({name} AT TIME ZONE 'UTC')" if kind == INSTANT else f"{name}::timestamp"
            return f"{clock}::text" if as_text else clock
        if column.type == "date" and not as_text:
            return f"{name}::timestamp"
        if column.type in _WRITTEN or (as_text and column.type in (*_PLAIN, "date")):
            return f"{name}::text"
        return name if column.type in _PLAIN else None

    @override
    def batches(self, table: DatabaseTable, selected: list[str]) -> Iterator[pa.RecordBatch]:
        read = 0
        with self._in_use:
            self._execute("SET max_parallel_workers_per_gather = 0").close()
            cursor = self._execute(f"SELECT {', '.join(selected)} FROM {_place(table)}")
            try:
                reader = cursor.fetch_record_batch()
                while (batch := self._next(reader, table, read)) is not None:
                    read += batch.num_rows
                    yield batch
            finally:
                cursor.close()

    def _next(self, reader: pa.RecordBatchReader, table: DatabaseTable, read: int) -> pa.RecordBatch | None:
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None
        except (pa.ArrowException, OSError) as error:
            raise self._failed(error, table, read) from None

    @override
    def content(self, table: DatabaseTable) -> Scan:
        """The sum of the hashes of all rows, made by the server in the snapshot that is read: in any order the same."""
        with self._in_use:
            if table.name not in self._contents:
                self._execute("SET max_parallel_workers_per_gather = DEFAULT").close()
                [[rows, total]] = self._rows(
                    "SELECT count(*), coalesce(sum(hashtextextended(one::text, 0)), 0)::text "
                    f"FROM {_place(table)} AS one"
                )
                names = [[column.name, column.type] for column in table.column_types]
                digest = sha256_json([table.name, names, rows, total])
                self._contents[table.name] = Scan(digest, rows, whole=True)
            return self._contents[table.name]

    @override
    def record(self) -> dict[str, object]:
        rows = {name: content.rows for name, content in sorted(self._contents.items())}
        server = {"kind": "PostgreSQL", "version": self._version, "name": self._name}
        return {"database": {**server, "rows": rows}}


def _place(table: DatabaseTable) -> str:
    return f"{quoted(table.schema)}.{quoted(table.table)}"


def _unconnected(message: str) -> str:
    """Why there is no connection, and what to do; the message of libpq holds no password."""
    reason = re.sub(
        r"^.*?(?:connection to server (?:at|on socket) .*? failed: |\[libpq\] )", "", message, flags=re.DOTALL
    )
    reason = " ".join(re.sub(r"(?:FATAL|ERROR):\s+|Failed to connect: ", "", reason.partition("\n")[0]).split())
    if "password" in reason:
        advice = "put the user's password in ~/.pgpass or in the environment variable PGPASSWORD"
    elif "database" in reason and "does not exist" in reason:
        advice = "check the name of the database at the end of the URL"
    elif "role" in reason or "pg_hba" in reason or "authentication" in reason:
        advice = "check the user of the URL, and that the server lets it in from this machine"
    elif "query parameter" in reason or "connection option" in reason:
        advice = "check what follows the question mark of the URL"
    else:
        advice = "check host and port of the URL, and that the server runs"
    return f"no connection ({reason}); {advice}"
