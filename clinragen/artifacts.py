"""Files that are either whole or absent: written to a temporary name, flushed, then renamed. And their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` to write to; renamed to ``path`` on success, removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling folder to fill; takes the place of ``path`` on success, removed on failure.

    Raises:
        UserError: ``path`` exists and ``replace`` is false.
    """
    if path.exists() and not replace:
        raise UserError(f"{path} already exists: choose another folder, or pass --overwrite to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _fsync(file)
        if path.exists():
            retired = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
            path.replace(retired)
            temporary.replace(path)
            shutil.rmtree(retired)
        else:
            temporary.replace(path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


@contextmanager
def room_in(folder: Path, goes_on: str) -> Iterator[None]:
    """Say in one line that a disk is full.

    Args:
        goes_on: where the same command will go on from.

    Raises:
        UserError: instead of an ``OSError`` for want of room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{folder} has no room left ({os.strerror(error.errno)}): free some and type the same command again, which "
            f"goes on from {goes_on}"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read JSON that clinragen wrote; ``what`` names it in the error.

    Raises:
        UserError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found: expected {what}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): expected {what}; make it anew") from None


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically; the same table gives the same bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path, schema: pa.Schema | None = None, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file and check it against a schema (columns may come in any order; more are allowed).

    Raises:
        UserError: missing, unreadable, a column absent or of another type.
    """
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): make it anew") from None
    for field in schema or []:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in table.column_names:
            raise UserError(f"{path}: column '{field.name}' ({field.type}) is missing; it has {table.column_names}")
        found = table.schema.field(field.name).type
        if pa.types.is_large_string(found) and pa.types.is_string(field.type):  # the same text, as polars writes it
            position = table.column_names.index(field.name)
            table = table.set_column(position, field, table[field.name].cast(field.type))
        elif found != field.type:
            raise UserError(f"{path}: column '{field.name}' is {found}, expected {field.type}")
    return table
