"""Raw tables of a folder as Parquet, in a DuckDB file, or in PostgreSQL, in the types of public build scripts."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

FILES = ("stays", "series", "notes", "labels", "outcomes")
#: what names the tables, and so differs between the forms
_NAMING = ("inputs", "database", "outputs", "sizes")


def same(first: Path, second: Path, *, lines: bool = True) -> bool:
    """Whether two cohorts are equal but for the names of their tables, and perhaps for the lines of bad rows."""
    for name in FILES:
        assert (first / f"{name}.parquet").read_bytes() == (second / f"{name}.parquet").read_bytes(), name
    assert (first / "attrition.svg").read_bytes() == (second / "attrition.svg").read_bytes()
    assert said_of(first) == said_of(second)
    bad = [pl.read_parquet(out / "quarantine.parquet") for out in (first, second)]
    file = pl.col("file").map_elements(table_of, return_dtype=pl.String)
    bad = bad if lines else [rows.drop("line").with_columns(line=0) for rows in bad]
    one, other = (
        rows.with_columns(file).select("file", "line", "reason").sort("file", "line", "reason") for rows in bad
    )
    assert one.equals(other)
    return True


def table_of(name: str) -> str:
    """The table of a name in a manifest, in lower case."""
    return re.sub(r"^\w+[/.]", "", re.sub(r"\.(?:csv\.gz|csv|parquet)(?= |$)", "", name)).lower()


def said_of(cohort: Path) -> dict:
    """The manifest of a cohort under the names of its tables alone."""
    manifest = json.loads((cohort / "manifest.json").read_text())
    manifest["tables"] = {table_of(name): count for name, count in manifest["tables"].items()}
    names = r"\b(?:\w+[/.])?(\w+)(?:\.csv\.gz|\.csv|\.parquet)(?=:)|\b\w+\.(\w+)(?=:)"
    manifest["warnings"] = [re.sub(names, r"\1\2", warning).lower() for warning in manifest["warnings"]]
    return {key: value for key, value in manifest.items() if key not in _NAMING}


#: (names of columns, type): the first that matches; the rest is text
_TYPES = (
    (r"(?:chart|store|in|out|admit|disch|death|start|stop|edreg|edout)time", "TIMESTAMP(0)"),
    (r".*_datetime", "TIMESTAMP"),
    (r".*_dttm", "TIMESTAMPTZ"),
    (r"dob|startdate|chartdate", "TIMESTAMP(0)"),
    (r"dod|.*_date", "DATE"),
    (r"icd_version|warning|(?:is)?error|hospital_expire_flag|anchor_age|anchor_year|seq_num|note_seq", "SMALLINT"),
    (r"valuenum|labresult|cellvaluenumeric|los|value_as_number|vital_value|lab_value_numeric", "DOUBLE PRECISION"),
    (r"numerical_value|fio2_set|peep_set", "DOUBLE PRECISION"),
    (r"temperature|sao2|heartrate|respiration|admissionweight|admissionheight", "NUMERIC(11,4)"),
    (r"icd_code", "CHAR(7)"),
    (r"(?:note|poe|.*_provider|vocabulary|domain|relationship|concept_class)_id|uniquepid", "VARCHAR(80)"),
    (r"(?:patient|hospitalization|hospital)_id", "VARCHAR(80)"),
    (r".*_id|itemid|.*offset|patientunitstayid|patienthealthsystemstayid|hospitaldischargeyear|.*_of_birth", "BIGINT"),
)  # fmt: skip


def type_of(table: str, column: str) -> str:
    """The type of a column in SQL."""
    if table.lower() == "outputevents" and column == "value":
        return "REAL"
    return next((kind for names, kind in _TYPES if re.fullmatch(names, column.lower())), "TEXT")


def tables_of(folder: Path) -> dict[str, Path]:
    """Table -> its CSV file, for every one below a folder."""
    paths = sorted([*folder.rglob("*.csv"), *folder.rglob("*.csv.gz")])
    return {path.name.partition(".")[0]: path for path in paths if "truth" not in path.parts}


def header_of(path: Path) -> list[str]:
    """The column names of a CSV file."""
    opened = duckdb.sql(f"SELECT * FROM read_csv('{path}', all_varchar=true, header=true) LIMIT 0")
    return opened.columns


def definition(table: str, columns: list[str]) -> str:
    """The columns of a table in SQL, each with its type."""
    return ", ".join(f'"{name}" {type_of(table, name)}' for name in columns)


def to_duckdb(folder: Path, target: Path, schema: str = "main") -> Path:
    """Load every table; ``schema`` is a prefix for those of MIMIC-IV, whose folders become schemas."""
    connection = duckdb.connect(str(target))
    for table, path in tables_of(folder).items():
        place = schema + path.parent.name if schema.endswith("_") else schema
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{place}"')
        columns = header_of(path)
        connection.execute(f'CREATE TABLE "{place}"."{table}" ({definition(table, columns)})')
        connection.execute(
            f'INSERT INTO "{place}"."{table}" SELECT * FROM read_csv(\'{path}\', all_varchar=true, header=true)'
        )
    connection.close()
    return target


def to_parquet(folder: Path, target: Path) -> Path:
    """Write every table as Parquet with the same types, in the same folders."""
    for table, path in tables_of(folder).items():
        copy = target / path.parent.relative_to(folder) / f"{table}.parquet"
        copy.parent.mkdir(parents=True, exist_ok=True)
        cells = ", ".join(f'CAST("{name}" AS {type_of(table, name)}) AS "{name}"' for name in header_of(path))
        duckdb.sql(f"SELECT {cells} FROM read_csv('{path}', all_varchar=true, header=true)").write_parquet(str(copy))
    return target


def damaged(path: Path, change: Callable[[bytearray], None]) -> Path:
    """A copy of a DuckDB file with another header, whose checksum is right again."""
    content = bytearray(path.read_bytes())
    before = [int.from_bytes(content[at : at + 8], "little") for at in range(8, 4096, 8)]
    change(content)
    checksum = int.from_bytes(content[:8], "little")
    for at, word in zip(range(8, 4096, 8), before, strict=True):
        for number in (word, int.from_bytes(content[at : at + 8], "little")):
            checksum ^= number * 0xBF58476D1CE4E5B9 % (1 << 64)
    content[:8] = checksum.to_bytes(8, "little")
    copy = path.with_name(f"changed-{path.name}")
    copy.write_bytes(content)
    return copy


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the tests; ``password`` is that of its superuser ``owner``, for connections by TCP."""

    programs: Path
    folder: Path
    port: int
    password: str

    def url(self, database: str, user: str = "owner") -> str:
        """For the Unix socket, which needs no password."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def tcp(self, database: str, user: str = "owner") -> str:
        """For the loopback, which needs a password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def run(self, database: str, *statements: str, lines: bytes = b"") -> str:
        """Run statements; ``lines`` are what the last of them copies from."""
        commands = [part for statement in statements for part in ("-c", statement)]
        options = ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [self.programs / "psql", *options, *commands, self.url(database)], input=lines, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def load(self, folder: Path, database: str, schema: str = "public") -> str:
        """A new database with every table of a folder, and its URL; ``schema`` as for ``to_duckdb``.

        One of that name is replaced: where the tests of a module do not run together, its fixtures are made again.
        """
        self.run("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)', f'CREATE DATABASE "{database}"')
        for table, path in tables_of(folder).items():
            place = schema + path.parent.name if schema.endswith("_") else schema
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            self.run(
                database,
                f'CREATE SCHEMA IF NOT EXISTS "{place}"',
                f'CREATE TABLE "{place}"."{table}" ({definition(table, header_of(path))})',
                f'\\copy "{place}"."{table}" FROM pstdin WITH (FORMAT csv, HEADER)',
                lines=content,
            )
        return self.url(database)


@contextmanager
def server() -> Iterator[Server | None]:
    """A server of its own, with nothing in it; None where PostgreSQL is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = shutil.which("initdb") or next(reversed(installed), None)
    if initdb is None:
        yield None
        return
    programs, root = Path(initdb).resolve().parent, Path(tempfile.mkdtemp(prefix="clinragen-pg-"))
    password = secrets.token_hex(8)
    (root / "password").write_text(password)
    unprivileged = ["setpriv", "--pdeathsig", "QUIT"]  # a killed test run leaves no server behind
    if os.getuid() == 0:  # the server refuses to run as root
        user = next(name for name in ("postgres", "nobody") if _is_user(name))
        unprivileged += [f"--reuid={user}", "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"]
        for path in (root, root / "password"):
            os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-D", root / "data", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=owner"]
    access = [f"--pwfile={root / 'password'}", "--auth-local=trust", "--auth-host=scram-sha-256"]
    settings = [
        "-p",
        str(port),
        "-k",
        root,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
        "-c",
        "timezone=UTC",
    ]
    process = None
    try:
        subprocess.run(
            [*unprivileged, programs / "initdb", *options, *access], check=True, capture_output=True, cwd="/"
        )
        with (root / "log").open("wb") as log:
            command = [*unprivileged, programs / "postgres", "-D", root / "data", *settings]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        psql = shutil.which("psql", path=f"{programs}:{os.environ['PATH']}") or "psql"
        running = Server(Path(psql).parent, root, port, password)
        ready = [programs / "pg_isready", "-q", "-h", root, "-p", str(port)]
        for _ in range(300):
            if subprocess.run(ready, check=False).returncode == 0:
                break
            assert process.poll() is None, (root / "log").read_text()
            time.sleep(0.05)
        yield running
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait()
        shutil.rmtree(root, ignore_errors=True)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
