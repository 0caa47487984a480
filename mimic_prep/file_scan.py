"""Count and hash a raw file in one pass, and read its header."""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mimic_prep.table_source import Scan

CHUNK = 1 << 22
_GZIP, _QUOTE, _NEWLINE = b"\x1f\x8b", ord('"'), ord("\n")


def columns_of(path: Path) -> list[str]:
    """Column names of a table in lower case; none if it cannot be read, or is truncated within its first line."""
    try:
        if path.suffix.lower() == ".parquet":
            return [name.lower() for name in pq.read_schema(path).names]
        with path.open("rb") as handle:
            head = handle.read(1 << 16)
        if head.startswith(_GZIP):
            head = zlib.decompressobj(31).decompress(head, 1 << 16)
    except (pa.ArrowException, zlib.error, OSError):
        return []
    first, end, _ = head.partition(b"\n")
    if not end:
        return []
    line = first.decode("utf-8-sig", errors="replace").rstrip("\r")
    try:
        return [name.strip().lower() for name in next(csv.reader([line]), [])]
    except csv.Error:
        return []


def scan_file(path: Path, multiline: bool, progress: Callable[[int], None]) -> Scan:
    """Hash a file to its end, and count its rows without the header; ``multiline``: rows span lines."""
    digest = hashlib.sha256()
    pieces = _pieces(path, digest.update, progress)
    if path.suffix.lower() == ".parquet":
        rows = _parquet_rows(path)
        whole = rows is not None
    else:
        rows, whole = _count_rows(pieces, multiline)
    for _ in pieces:  # hash the rest, too: of a damaged file, and all of a Parquet file
        pass
    return Scan(digest.hexdigest(), rows or 0, whole)


def _pieces(path: Path, hashed: Callable[[bytes], None], progress: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a file; each piece is hashed and its length reported before it is returned."""
    with path.open("rb") as handle:
        while data := handle.read(CHUNK):
            hashed(data)
            progress(len(data))
            yield data


def _parquet_rows(path: Path) -> int | None:
    """Rows of a Parquet file; None if it is damaged."""
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError):
        return None


def _count_rows(pieces: Iterator[bytes], multiline: bool) -> tuple[int, bool]:
    """Rows of a CSV file without the header, compressed or not, and whether it is complete."""
    counter = RowCounter(multiline)
    first = next(pieces, b"")
    try:
        for data in _unpacked(first, pieces) if first.startswith(_GZIP) else _chained(first, pieces):
            counter.add(data)
    except zlib.error:
        return counter.rows, False
    return counter.rows, True


def _chained(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _unpacked(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The contents of concatenated gzip members, possibly with zeros between them.

    Raises:
        zlib.error: a member is damaged or truncated.
    """
    unpack = None
    for data in _chained(first, pieces):
        while data:
            unpack = unpack or zlib.decompressobj(31)
            yield unpack.decompress(data, CHUNK)
            data = unpack.unconsumed_tail
            if unpack.eof:
                data, unpack = unpack.unused_data.lstrip(b"\0"), None
    if unpack is not None:  # output that was still held back
        yield unpack.flush()
        if not unpack.eof:
            raise zlib.error("cut off")


class RowCounter:
    """Counts rows without the header; in multi-line tables a line break inside quotes ends no row."""

    def __init__(self, multiline: bool) -> None:
        self._multiline = multiline
        self._quoted = 0
        self._ends = 0
        self._last = _NEWLINE

    def add(self, data: bytes) -> None:
        """Count the row ends in the next piece of the file."""
        if not data:
            return
        self._last = data[-1]
        if not self._multiline:
            self._ends += data.count(b"\n")
            return
        signs = np.frombuffer(data, dtype=np.uint8)
        signs = signs[(signs == _QUOTE) | (signs == _NEWLINE)]
        quoted = (np.cumsum(signs == _QUOTE) + self._quoted) % 2
        self._ends += int(((signs == _NEWLINE) & (quoted == 0)).sum())
        self._quoted = int(quoted[-1]) if len(quoted) else self._quoted

    @property
    def rows(self) -> int:
        """Rows so far, without the header; the last one may lack its line break."""
        return max(self._ends + (self._last != _NEWLINE) - 1, 0)
