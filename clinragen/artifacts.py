"""Atomic writes (temporary name, flush, rename), and hashes of files."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import lock_descriptor

from clinragen.errors import UserError

if TYPE_CHECKING:
    import pyarrow.compute as pc

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: All output may contain patient text, so it is readable by its owner only.
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def flush(path: Path) -> None:
    """Flush a file's content, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot flush folders, such as some network ones
            raise
    finally:
        os.close(handle)


@contextmanager
def _claimed(temporary: Path) -> Iterator[None]:
    """Hold a lock on a temporary file or folder, so that ``sweep`` knows that its writer is alive."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: nothing is removed there
            lock_descriptor(handle, blocking=False)
        yield
    finally:
        os.close(handle)


def _abandoned(temporary: Path) -> bool:
    """Whether no living process holds a temporary file or folder."""
    try:
        handle = os.open(temporary, os.O_RDONLY)
    except OSError:  # removed in the meantime
        return False
    try:
        return lock_descriptor(handle, blocking=False)
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists; a link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove the temporary files of killed writers of ``path``, and restore what one of them had moved away.

    A live writer holds a lock on its temporary file or folder, which is not touched.
    """
    if not path.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.(tmp|old)")
    with os.scandir(path.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(f".{path.name}."))
    for left in (path.with_name(name) for name in names if pattern.fullmatch(name)):
        if left.suffix == ".old" and not path.exists():
            left.replace(path)  # killed between moving the old one away and renaming the new one
        elif _abandoned(left):
            remove(left)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` to write to; renamed to ``path`` on success, removed on failure.

    The file is readable by its owner only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    temporary = _temporary(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
    try:
        with _claimed(temporary):
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)  # otherwise a power failure may lose the name of a file that was reported as written
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling folder to fill; replaces ``path`` on success, removed on failure.

    The folder is accessible to its owner only. Output of commands goes through ``outputs.output_folder``, which decides
    what may be replaced.

    Raises:
        UserError: ``path`` exists and ``replace`` is false; or ``path`` appeared or was replaced in the meantime: then
            it is not touched, and the new folder is kept beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    before = _identity(path)
    if before and not replace:
        raise UserError(f"{path} already exists: choose another folder, or pass --overwrite to replace it")
    temporary = _temporary(path)
    temporary.mkdir(mode=PRIVATE_FOLDER)
    try:
        with _claimed(temporary):
            yield temporary
            for inner in (*temporary.rglob("*"), temporary):
                if inner.is_file() or inner.is_dir():
                    flush(inner)
            if _identity(path) != before:
                raise _kept_beside(temporary, path)
            _exchange(temporary, path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _identity(path: Path) -> tuple[int, int] | None:
    """Identity of the file or folder at a path; None if there is nothing."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _exchange(temporary: Path, path: Path) -> None:
    """Replace what is at a path by a finished folder."""
    retired = path.with_name(temporary.name.removesuffix("tmp") + "old")
    if path.exists():
        path.replace(retired)
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise _kept_beside(temporary, path) from None
    flush(path.parent)  # before the old one is removed
    remove(retired)


def _kept_beside(temporary: Path, path: Path) -> UserError:
    """Keep a finished folder whose path was taken; the error says where."""
    number = 2
    while (beside := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    temporary.replace(beside)
    return UserError(f"{path} was written by something else meanwhile and is left as it is: the result is in {beside}")


@contextmanager
def room_in(folder: Path, goes_on: str) -> Iterator[None]:
    """Report a full disk in one line.

    Args:
        folder: the folder being written, named in the error.
        goes_on: the point from which the same command resumes.

    Raises:
        UserError: instead of an ``OSError`` for a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{folder} has no room left ({os.strerror(error.errno)}): free some space and run the same command "
            f"again; it resumes from {goes_on}"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line of JSON for each row."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object that clinragen wrote; ``what`` names it in the error.

    Raises:
        UserError: missing, no JSON, no object, or with a number that is not finite, whose place is named.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found: expected {what}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected {what}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: expected {what}; make it anew") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number with thousands of digits
        raise UserError(f"{path} is not valid JSON ({error}): expected {what}; make it anew") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not a JSON object: expected {what}; make it anew")
    if where := not_finite(value):
        raise UserError(f"{path}: {where} is not a finite number: expected {what}; make it anew")
    return value


def not_finite(value: Any) -> str | None:
    """Path of the first NaN or infinite number in a JSON value; None if there is none.

    >>> not_finite({"scores": [{"auroc": 0.5}, {"auroc": float("nan")}]})
    'scores[1].auroc'
    """
    with suppress(ValueError, TypeError, RecursionError):  # at the speed of C, where nothing has to be named
        json.dumps(value, allow_nan=False)
        return None
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        where, item = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return where or "the value"
        if isinstance(item, dict):
            waiting += [(f"{where}.{key}" if where else str(key), inner) for key, inner in reversed(item.items())]
        elif isinstance(item, list):
            waiting += [(f"{where}[{index}]", inner) for index, inner in reversed(list(enumerate(item)))]
    return None


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically; the same table gives the same bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(
    path: Path,
    schema: pa.Schema | None = None,
    columns: list[str] | None = None,
    rows: pc.Expression | None = None,
) -> pa.Table:
    """Read a Parquet file and check it against a schema (any column order; other columns are allowed).

    ``rows`` are those to read; all by default.

    Raises:
        UserError: missing, unreadable, a column absent or of another type.
    """
    try:
        table = pq.read_table(path, columns=columns, filters=rows)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column.validate(full=True)  # bytes that are no UTF-8 would end the program where they are read
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): make it anew") from None
    for field in schema or []:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in table.column_names:
            raise UserError(f"{path}: column '{field.name}' ({field.type}) is missing; it has {table.column_names}")
        kind = table.schema.field(field.name).type
        if pa.types.is_large_string(kind) and pa.types.is_string(field.type):  # the same text in polars' type
            position = table.column_names.index(field.name)
            table = table.set_column(position, field, table[field.name].cast(field.type))
        elif kind != field.type:
            raise UserError(f"{path}: column '{field.name}' is {kind}, expected {field.type}")
    return table
