"""Check files against the hashes of their manifest when they are opened.

A changed file is an error, so that it cannot silently change results. Files up to ``CHEAP`` bytes are hashed when a
process first opens them; for larger ones the size is compared, and the hash only within ``thorough``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from clinragen.artifacts import sha256_file
from clinragen.errors import UserError

if TYPE_CHECKING:
    import polars as pl  # only for types: every command imports this module

CHEAP = 64 << 20  # bytes; takes about a tenth of a second
_thorough: ContextVar[bool] = ContextVar("thorough", default=False)


@contextmanager
def thorough(enabled: bool = True) -> Iterator[None]:
    """Also hash large files (``--verify``)."""
    token = _thorough.set(enabled)
    try:
        yield
    finally:
        _thorough.reset(token)


def hold(path: Path, sha256: Any, size: Any = None, *, remedy: str) -> None:
    """Raise a UserError unless a file matches its record.

    Args:
        path: the file.
        sha256: the recorded hash; None if there is none, and then nothing is checked.
        size: the recorded number of bytes, or None.
        remedy: what to do about a file that differs, for the error.

    Raises:
        UserError: the file is missing or differs, or the record is invalid.
    """
    if sha256 is None:
        return
    if not isinstance(sha256, str) or not (size is None or type(size) is int):
        raise UserError(
            f"{path.parent / 'manifest.json'}: what it records of {path.name} is no hash and size: {remedy}"
        )
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path} not found: {remedy}") from None
    differs = size is not None and status.st_size != size
    if not differs and (status.st_size <= CHEAP or _thorough.get()):
        differs = _hash(path, status.st_ino, status.st_size, status.st_mtime_ns) != sha256
    if differs:
        raise UserError(f"{path} is not the file that its manifest describes: it was changed since; {remedy}")


@lru_cache(maxsize=256)
def _hash(path: Path, *_: int) -> str:  # the other arguments distinguish states of the file
    return sha256_file(path)


def complete(table: pl.DataFrame, columns: Sequence[str], path: Path) -> pl.DataFrame:
    """The table, if none of the columns has a null.

    Raises:
        UserError: names the column and the number of rows with a null.
    """
    for column in columns:
        if missing := table[column].null_count():
            raise UserError(f"{path}: {column} is missing in {missing} of {len(table)} rows: prepare the cohort anew")
    return table


class FileRecord(TypedDict):
    """What a manifest records of a file: its hash, and how many bytes it has."""

    sha256: str
    bytes: int


class Outputs(TypedDict):
    """What a manifest records of the files beside it, by name: hashes, and numbers of bytes."""

    outputs: dict[str, str]
    sizes: dict[str, int]


def record(folder: Path) -> dict[str, FileRecord]:
    """The files below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in files
    }


def hold_folder(folder: Path, recorded: Any, *, remedy: str) -> None:
    """Check the files below a folder against their :func:`record`; nothing without a record.

    Raises:
        UserError: a file is missing or differs, or the record is invalid.
    """
    for name, entry in (recorded if isinstance(recorded, dict) else {}).items():
        expected = entry if isinstance(entry, dict) else {"sha256": entry}
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{folder}: its manifest records '{name}', which is no file below it: {remedy}")
        hold(folder / name, expected.get("sha256", ""), expected.get("bytes"), remedy=remedy)


def outputs_of(files: Iterable[Path]) -> Outputs:
    """The entries of a manifest for :func:`hold_output`."""
    named = {path.name: path for path in sorted(files)}
    return {
        "outputs": {name: sha256_file(path) for name, path in named.items()},
        "sizes": {name: path.stat().st_size for name, path in named.items()},
    }


def hold_output(path: Path, manifest: Mapping[str, Any], *, remedy: str) -> None:
    """Check a file against the ``outputs`` and ``sizes`` of its folder's manifest."""
    outputs, sizes = manifest.get("outputs"), manifest.get("sizes")
    if outputs is None:
        return
    if not isinstance(outputs, dict) or not isinstance(sizes or {}, dict):
        raise UserError(f"{path.parent / 'manifest.json'}: outputs and sizes must name files: {remedy}")
    hold(path, outputs.get(path.name), (sizes or {}).get(path.name), remedy=remedy)
