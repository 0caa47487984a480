"""Read a CSV file as blocks of whole rows; a separate thread decompresses ahead.

Memory is bounded for any content: a row without an end and an invalid header are errors.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from clinragen.errors import UserError
from mimic_prep.tables import Table

try:  # several times faster on x86 and ARM
    from isal import igzip, igzip_lib

    GzipFile: Any = igzip.IGzipFile
    BAD_GZIP: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile, cast(type, igzip_lib.IsalError))
except ImportError:
    GzipFile = gzip.GzipFile
    BAD_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)

BLOCK_BYTES = 1 << 24  # smaller ones cost more per row, larger ones memory
LONGEST_HEADER = 1 << 20
_HEADER_BYTES = 1 << 16  # read at once until a line ends
LONGEST_ROW = 1 << 25  # most bytes of a row; the longest note of a release is below a megabyte
_AHEAD = 3  # blocks that wait for the parsers
_QUOTE, _NEWLINE = ord('"'), ord("\n")
#: In CSV a quote inside quotes is doubled. A quote after a backslash that neither ends a field nor is doubled is an
#: escape as in MySQL.
_ESCAPED = re.compile(rb'\\"(?=[^",\r\n])')
_ESCAPES = re.compile(rb'\\(["\\\n])')
_NAME = re.compile(r"[a-z_][\w .()/-]{0,60}")  # pattern of column names
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class _CountedFile(io.FileIO):
    """A binary file that counts the bytes read."""

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


def read_blocks(
    path: Path, table: Table, progress: Callable[[int], None], spent: list[bytearray] | None = None
) -> Iterator[tuple[list[str], bytearray]]:
    """(header in lower case, whole rows) of a file, from start to end, compressed or not.

    ``spent`` takes blocks that the caller has done with: their memory is filled again, since new memory costs a tenth
    of the time.

    Raises:
        UserError: a column is missing or duplicate, a row has no end, or the file is empty, truncated or corrupt.
    """
    raw = _CountedFile(path, progress)
    try:
        with ThreadPoolExecutor(1) as pool:
            blocks = _blocks(_text(raw, path), path, table, [] if spent is None else spent)
            ahead = [pool.submit(next, blocks, None) for _ in range(_AHEAD)]
            try:
                while (block := ahead.pop(0).result()) is not None:
                    ahead.append(pool.submit(next, blocks, None))
                    yield block
            finally:
                pool.shutdown(cancel_futures=True)  # nobody asks for the blocks ahead any more
    except BAD_GZIP:
        raise UserError(
            f"{path} is cut off or corrupt (not a whole gzip file): download it again and compare its SHA-256"
        ) from None
    finally:
        raw.close()


def _text(raw: _CountedFile, path: Path) -> IO[bytes]:
    """The decompressed bytes; gzip is recognised by its first bytes, not by the name."""
    with open(path, "rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    if packed or (path.suffix.lower() == ".gz" and path.stat().st_size):
        return GzipFile(fileobj=raw, mode="rb")
    return cast(IO[bytes], raw)


def _blocks(
    handle: IO[bytes], path: Path, table: Table, spent: list[bytearray]
) -> Iterator[tuple[list[str], bytearray]]:
    """(header, bytes that end at the end of a row)."""
    pending = bytearray()
    size = min(_HEADER_BYTES, BLOCK_BYTES)
    while b"\n" not in pending and len(pending) <= LONGEST_HEADER and (chunk := handle.read(size)):
        pending += chunk
    header_line, _, pending = pending.partition(b"\n")
    tabbed = table.tabs and b"\t" in header_line
    header = read_header(bytes(_as_csv(header_line) if tabbed else header_line), path, table)
    escapes = _Escapes(ignored=tabbed)
    pending = escapes.undo(pending, 0, last=False)
    while True:
        block = _buffer(len(pending) + BLOCK_BYTES, spent)  # filled in place, to avoid copies of blocks
        block[: len(pending)] = pending
        with memoryview(block) as view:
            read = handle.readinto(view[len(pending) :])  # type: ignore[attr-defined]
        del block[len(pending) + read :]
        block = escapes.undo(block, len(pending), last=not read)
        cut = _row_end(block, table.multiline) if read else len(block)
        if len(block) - cut > LONGEST_ROW:
            raise UserError(
                f"{path}: a row is longer than {LONGEST_ROW:,} bytes, so it is no table of a release or was damaged: "
                "download it again"
            )
        pending = block[cut:]
        if cut:
            del block[cut:]
            yield header, _as_csv(block) if tabbed else block
        if not read:
            return


def _as_csv(rows: bytearray) -> bytearray:
    """Rows between tabs, in which quotes are not special, as CSV with every cell in quotes.

    >>> _as_csv(bytearray(b'1\\t5" tube, long\\n'))
    bytearray(b'"1","5"" tube, long"\\n')
    """
    whole = rows.endswith(b"\n")
    body = rows.removesuffix(b"\n").replace(b"\r\n", b"\n").removesuffix(b"\r")
    cells = body.replace(b'"', b'""').replace(b"\t", b'","').replace(b"\n", b'"\n"')
    return bytearray(b'"' + cells + b'"' + b"\n" * whole)


def _buffer(size: int, spent: list[bytearray]) -> bytearray:
    """``size`` bytes of any content, in memory that was used before if there is some."""
    while spent:
        buffer = spent.pop()
        with suppress(BufferError):  # somebody looks at it after all, so its size cannot change
            buffer += bytes(max(size - len(buffer), 1))
            del buffer[size:]
            return buffer
    return bytearray(size)


class _Escapes:
    """Converts backslash escapes of database dumps to plain CSV, from the first block that has them."""

    def __init__(self, *, ignored: bool = False) -> None:
        self._ignored = ignored
        self._seen = False
        self._held = b""  # a backslash at the end, whose escaped character comes with the next bytes

    def undo(self, block: bytearray, start: int, *, last: bool) -> bytearray:
        """Convert ``block``, whose bytes from ``start`` on are new."""
        if self._ignored:
            return block
        if not self._seen:
            # search for one byte first: it costs a tenth of a search for two, and few blocks have a backslash
            if block.find(b"\\") < 0 or block.find(b'\\"') < 0 or not _ESCAPED.search(block):
                return block
            self._seen, start = True, 0
        new = self._held + bytes(block[start:])
        tail = len(new) - len(new.rstrip(b"\\"))
        self._held = b"\\" if tail % 2 and not last else b""
        new = new[: len(new) - len(self._held)]
        return block[:start] + _ESCAPES.sub(_plain, new)


def _plain(match: re.Match[bytes]) -> bytes:
    sign = match[1]
    return b'""' if sign == b'"' else sign


def read_header(line: bytes, shown: Path | str, table: Table) -> list[str]:
    """The column names of a file's first line, in lower case, each different.

    Raises:
        UserError: it is empty or no header, or a column is missing or duplicate.
    """
    if not line.strip():
        raise UserError(f"{shown} is empty: expected a header line and rows; download it again")
    if len(line) > LONGEST_HEADER:
        raise UserError(f"{shown}: no line ends within the first {LONGEST_HEADER:,} bytes: it is not a CSV file")
    text = line.decode("utf-8-sig", errors="replace").rstrip("\r")
    try:
        header = [name.strip().lower() for name in next(csv.reader([text]), [])]
    except csv.Error:  # such as lines that end in a carriage return only
        raise UserError(
            f"{shown}: its first line is no header of a CSV file: expected column names between commas, and lines that "
            "end in a line feed; export it again"
        ) from None
    check_columns(header, shown, table)
    count = Counter(header)
    # Arrow needs distinct names, also for unused columns
    return [name if count[name] == 1 else f"{name}#{index}" for index, name in enumerate(header)]


def check_columns(header: list[str], shown: Path | str, table: Table) -> None:
    """Raise a UserError if a required column is missing, or a column to read is duplicate."""
    count = Counter(header)
    for column in table.columns.values():
        if column.required and column.raw not in count:
            raise UserError(f"{shown}: column '{column.raw}' is missing; {_described(header)}")
        if count[column.raw] > 1:
            raise UserError(f"{shown}: column '{column.raw}' stands twice in the header; keep one")


def _described(header: list[str]) -> str:
    """A description of a first line, without its text if it may be a data row."""
    line = header[0] if len(header) == 1 else ""
    if "\0" in line or "\0" in "".join(header[:3]):
        return "its text is not UTF-8 (UTF-16?): save it as UTF-8"
    for sign, name in _DELIMITERS.items():
        if sign in line:
            return f"its columns are separated by {name}: export it again with commas"
    if not header or not all(_NAME.fullmatch(name) for name in header):
        return "its first line does not look like a header: put the column names there, or download it again"
    return f"it has {', '.join(header)[:300]}"


def _row_end(data: bytearray, multiline: bool) -> int:
    """Number of bytes of whole rows. With line breaks inside quotes, a row ends where the quotes are balanced."""
    cut = data.rfind(b"\n") + 1
    if not multiline or not cut or not data.count(b'"', 0, cut) % 2:
        return cut
    signs = np.frombuffer(data, dtype=np.uint8, count=cut)
    offsets = np.flatnonzero((signs == _QUOTE) | (signs == _NEWLINE))
    quotes = signs[offsets] == _QUOTE
    ends = offsets[~quotes & (np.cumsum(quotes) % 2 == 0)]
    if len(ends):
        return int(ends[-1]) + 1
    return 0 if len(data) < LONGEST_ROW else cut  # a stray quote must not consume the rest of the file
