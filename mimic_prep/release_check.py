"""Check whether a folder of raw tables is complete, and which release it is, in one pass over each file."""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.errors import UserError
from mimic_prep.ingest import RawFolder
from mimic_prep.reader import Reader
from mimic_prep.release import Published, Release
from mimic_prep.releases import recognised
from mimic_prep.tables import Table

CHUNK = 1 << 22
_GZIP, _QUOTE, _NEWLINE = b"\x1f\x8b", ord('"'), ord("\n")


@dataclass
class TableCheck:
    """Result of the check of one table.

    Attributes:
        table: its name.
        file: its path below the raw folder; empty if an optional table is absent.
        rows: rows without the header; None if not counted.
        expected: published number of rows of this version, if any.
        sha256: whether the file is the published one; empty where no hash is published.
        problems: what must be fixed before preparation.
    """

    table: str
    file: str = ""
    rows: int | None = None
    expected: int | None = None
    sha256: Literal["ok", "wrong", ""] = ""
    problems: list[str] = field(default_factory=list)


@dataclass
class ReleaseCheck:
    """A release, its version if the row counts identify it, and its tables.

    ``compared`` says whether there were published row counts to compare with.
    """

    release: str
    version: str | None
    tables: list[TableCheck]
    problems: list[str]
    compared: bool = False

    @property
    def sound(self) -> bool:
        """Whether there are no problems."""
        return not self.problems and not any(table.problems for table in self.tables)

    @property
    def title(self) -> str:
        """The release with its version, if known."""
        if self.version:
            return f"{self.release} {self.version}"
        return f"{self.release}, version not recognised" if self.compared else self.release


def check_release(
    root: Path, *, count: bool = True, workers: int = 2, progress: Callable[[int], None] = lambda _: None
) -> ReleaseCheck:
    """Check the tables that a preparation would read.

    Args:
        root: folder of the raw tables.
        count: read every file to its end, for its row count and SHA-256; otherwise only headers are read.
        workers: number of files read in parallel.
        progress: called from worker threads with the bytes read since the last call.

    Raises:
        UserError: ``root`` is no folder, or of no known release.
    """
    release = recognised(root)
    if release.check is not None:
        return release.check(root)
    reader = _reader(release)
    raw = RawFolder(root, reader.name)
    sums = _published_sums(root) if count else {}
    with ThreadPoolExecutor(workers) as pool:
        tables = list(pool.map(lambda table: _check_table(raw, table, sums, count, progress), reader.tables()))
    problems = []
    events = {source.table.name for source in reader.events if not source.beside}
    if not any(table.file for table in tables if table.table in events):
        problems.append(f"no table of measurements: expected one of {', '.join(sorted(events))}")
    version = _compare(release.versions, tables)
    return ReleaseCheck(release.name, version, tables, problems, compared=count and bool(release.versions))


def _reader(release: Release) -> Reader:
    if release.reader is None:
        raise ValueError(f"the release {release.name} has neither reader nor check")
    return release.reader()


def size_of(root: Path) -> int:
    """Bytes that ``check_release`` will read."""
    release = recognised(root)
    if release.check is not None:
        return 0
    raw = RawFolder(root, release.name)
    return sum(path.stat().st_size for table in release.tables() for path in _parts(raw, table))


def _parts(raw: RawFolder, table: Table) -> tuple[Path, ...]:
    """The files of a table; none if it is ambiguous, which its check reports."""
    try:
        return raw.parts(table)
    except UserError:
        return ()


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


def _check_table(
    raw: RawFolder, table: Table, sums: dict[Path, str], count: bool, progress: Callable[[int], None]
) -> TableCheck:
    check = TableCheck(table.name)
    try:
        path = raw.locate(table)
    except UserError as error:
        check.problems.append(str(error).removeprefix(f"{raw.root}: "))
        return check
    if path is None:
        return check
    check.file = raw.name(path)
    for part in raw.parts(table):
        where = f"{part.name}: " if part != path else ""
        check.problems += [where + problem for problem in _header_problems(part, table)]
        if count:
            _check_contents(check, part, where, _scan(part, table.multiline, progress), sums.get(part.resolve()))
    if count and not check.rows and table.required and not any("cut off" in problem for problem in check.problems):
        check.problems.append("no rows")
    return check


def _check_contents(check: TableCheck, part: Path, where: str, scan: _Scan, published: str | None) -> None:
    """Add the content of one file of a table; ``where`` names the file if the table has several."""
    check.rows = (check.rows or 0) + scan.rows
    if not scan.whole:
        check.problems.append(f"{where}cut off or corrupt: download it again")
    if published and published != scan.sha256:
        check.problems.append(f"{where}SHA-256 differs from the published one: download it again")
        check.sha256 = "wrong"
    elif published:
        check.sha256 = check.sha256 or "ok"


def _header_problems(path: Path, table: Table) -> list[str]:
    columns = columns_of(path)
    if not columns or columns == [""]:
        return ["no header: empty, or not a readable file"]
    missing = [column.raw for column in table.columns.values() if column.required and column.raw not in columns]
    return [f"columns missing: {', '.join(missing)}"] if missing else []


@dataclass(frozen=True)
class _Scan:
    """Result of one pass over a file: its hash, its rows without the header, and whether it is complete."""

    sha256: str
    rows: int
    whole: bool


def _scan(path: Path, multiline: bool, progress: Callable[[int], None]) -> _Scan:
    digest = hashlib.sha256()
    pieces = _pieces(path, digest.update, progress)
    if path.suffix.lower() == ".parquet":
        rows = _parquet_rows(path)
        whole = rows is not None
    else:
        rows, whole = _count_rows(pieces, multiline)
    for _ in pieces:  # hash the rest, too: of a damaged file, and all of a Parquet file
        pass
    return _Scan(digest.hexdigest(), rows or 0, whole)


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
    counter = _RowCounter(multiline)
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


class _RowCounter:
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


def _published_sums(root: Path) -> dict[Path, str]:
    """File -> SHA-256, from every SHA256SUMS file at or below ``root``; its paths are relative to it."""
    sums: dict[Path, str] = {}
    for listing in sorted(path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}SHA256SUMS*")):
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.strip().partition(" ")
            if len(digest) == 64 and name:
                sums[(listing.parent / name.strip().lstrip("*")).resolve()] = digest.lower()
    return sums


def _compare(versions: tuple[Published, ...], tables: list[TableCheck]) -> str | None:
    """Fill in the published row counts of the version whose marker table has the counted number of rows."""
    rows = {table.table: table.rows for table in tables}
    version = next((one for one in versions if rows.get(one.marker) == one.rows[one.marker]), None)
    if version is None:
        return None
    for table in tables:
        table.expected = version.rows.get(table.table)
        if table.expected is not None and table.rows is not None and table.rows != table.expected:
            table.problems.append(f"{table.expected:,} rows expected")
    return version.version
