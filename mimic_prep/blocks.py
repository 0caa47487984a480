"""The bytes of a CSV file as blocks that end at the end of a row; a thread of its own decompresses ahead."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

from clinragen.errors import UserError
from mimic_prep.sources import Table

try:  # several times faster on x86 and ARM
    from isal import igzip, igzip_lib

    GzipFile: Any = igzip.IGzipFile
    BAD_GZIP: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile, cast(type, igzip_lib.IsalError))
except ImportError:
    GzipFile = gzip.GzipFile
    BAD_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)

BLOCK_BYTES = 1 << 24  # smaller ones cost more per row, larger ones memory
_LONGEST_HEADER = 1 << 20
_LONGEST_ROW = 1 << 25  # of a table whose rows hold line breaks
_AHEAD = 3  # blocks that wait for the parsers


class _CountedFile(io.FileIO):
    """A binary file that tells how much of it has been read."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size) or b""
        self._progress(len(data))
        return data

    def readinto(self, buffer: Any, /) -> int:
        size = super().readinto(buffer) or 0
        self._progress(size)
        return size


def read_blocks(path: Path, table: Table, progress: Callable[[int], None]) -> Iterator[tuple[list[str], bytearray]]:
    """(header in lower case, whole rows) of a file, front to back, packed or not.

    Raises:
        UserError: a column is missing or stands twice, or the file is empty, cut off or corrupt.
    """
    raw = _CountedFile(path, progress)
    try:
        with ThreadPoolExecutor(1) as pool:
            blocks = _blocks(_text(raw, path), path, table)
            ahead = [pool.submit(next, blocks, None) for _ in range(_AHEAD)]
            while (block := ahead.pop(0).result()) is not None:
                ahead.append(pool.submit(next, blocks, None))
                yield block
    except BAD_GZIP:
        raise UserError(
            f"{path} is cut off or corrupt (not a whole gzip file): download it again and compare its SHA-256"
        ) from None
    finally:
        raw.close()


def _text(raw: _CountedFile, path: Path) -> IO[bytes]:
    """The decompressed bytes; gzip is told by its first bytes, not by the name."""
    with open(path, "rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    if packed or (path.suffix.lower() == ".gz" and path.stat().st_size):
        return GzipFile(fileobj=raw, mode="rb")
    return cast(IO[bytes], raw)


def _blocks(handle: IO[bytes], path: Path, table: Table) -> Iterator[tuple[list[str], bytearray]]:
    """(header, bytes that end at the end of a row)."""
    rest = bytearray()
    while b"\n" not in rest and len(rest) < _LONGEST_HEADER and (chunk := handle.read(BLOCK_BYTES)):
        rest += chunk
    header_line, _, rest = rest.partition(b"\n")
    header = _header(bytes(header_line), path, table)
    while True:
        block = bytearray(len(rest) + BLOCK_BYTES)  # filled in place: each copy of a block would cost time
        block[: len(rest)] = rest
        with memoryview(block) as view:
            read = handle.readinto(view[len(rest) :])  # type: ignore[attr-defined]
        del block[len(rest) + read :]
        cut = _row_end(block, table.multiline) if read else len(block)
        rest = block[cut:]
        if cut:
            del block[cut:]
            yield header, block
        if not read:
            return


def _header(line: bytes, path: Path, table: Table) -> list[str]:
    if not line.strip():
        raise UserError(f"{path} is empty: expected a header line and rows; download it again")
    text = line.decode("utf-8-sig", errors="replace").rstrip("\r")
    header = [name.strip().lower() for name in next(csv.reader([text]))]
    check_columns(header, path, table)
    # Arrow wants distinct names, also for columns nobody reads
    return [name if header.count(name) == 1 else f"{name}#{index}" for index, name in enumerate(header)]


def check_columns(header: list[str], path: Path, table: Table) -> None:
    """Every required column is there, and none that is read stands twice; a UserError says which."""
    for column in table.columns.values():
        if column.required and column.raw not in header:
            raise UserError(f"{path}: column '{column.raw}' is missing; it has {', '.join(header)[:300]}")
        if header.count(column.raw) > 1:
            raise UserError(f"{path}: column '{column.raw}' stands twice in the header; keep one")


def _row_end(data: bytearray, multiline: bool) -> int:
    """How many bytes make whole rows. With line breaks inside quotes, a row ends where the quotes are balanced."""
    cut = data.rfind(b"\n") + 1
    if not multiline or not cut:
        return cut
    odd = data.count(b'"', 0, cut) % 2
    last = cut
    while odd:
        before = data.rfind(b"\n", 0, cut - 1) + 1
        if not before:
            return 0 if len(data) < _LONGEST_ROW else last  # a stray quote must not swallow the file
        odd ^= data.count(b'"', before, cut) % 2
        cut = before
    return cut
