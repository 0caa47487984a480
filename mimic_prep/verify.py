"""Is a folder of raw tables whole, and which release is it? Told before hours of work, in one pass over each file."""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError
from mimic_prep.ingest import RawFolder
from mimic_prep.meds import NEEDED, shards_of
from mimic_prep.pipeline import Reader
from mimic_prep.sources import Table

CHUNK = 1 << 22
_GZIP, _QUOTE, _NEWLINE = b"\x1f\x8b", ord('"'), ord("\n")


@dataclass
class TableReport:
    """What is known of one table. ``problems`` are to be mended before work begins; ``sha256`` is ok, wrong or ''."""

    table: str
    file: str = ""
    rows: int | None = None
    expected: int | None = None
    sha256: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass
class Verification:
    """A release, its version where the row counts tell it, and its tables."""

    release: str
    version: str | None
    tables: list[TableReport]
    problems: list[str]

    @property
    def sound(self) -> bool:
        return not self.problems and not any(table.problems for table in self.tables)


def reader_of(root: Path) -> Reader:
    """The reader of the release that lies in ``root``, told by its tables and the name of the stay id.

    Raises:
        UserError: it is none of them.
    """
    from mimic_prep.eicu import EicuReader
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources import eicu, mimic3, mimic4

    raw = RawFolder(root, "MIMIC-III, MIMIC-IV, eICU or MEDS")
    for table, key, make in (
        (eicu.PATIENT, "patientunitstayid", EicuReader),
        (mimic4.ICUSTAYS, "stay_id", lambda: MimicReader(mimic4.MIMIC4)),
        (mimic3.ICUSTAYS, "icustay_id", lambda: MimicReader(mimic3.MIMIC3)),
    ):
        parts = raw.parts(table) if raw.has(table.name) else ()
        if parts and key in columns_of(parts[0]):
            return make()
    raise UserError(
        f"{root} is no known release: expected icustays of MIMIC-III or MIMIC-IV, patient of eICU, or "
        "data/*.parquet of MEDS; check --raw"
    )


def verify(
    root: Path, *, count: bool = True, workers: int = 2, progress: Callable[[int], None] = lambda _: None
) -> Verification:
    """Check the tables that a preparation would read.

    Args:
        count: read every file to its end, for its row count and SHA-256; otherwise only headers are read.
        progress: told the bytes read since it was last called, from worker threads.

    Raises:
        UserError: ``root`` is not a folder, or of no known release.
    """
    if shards_of(root):
        return _verify_meds(root)
    reader = reader_of(root)
    raw = RawFolder(root, reader.name)
    sums = _published_sums(root)
    with ThreadPoolExecutor(workers) as pool:
        tables = list(
            pool.map(lambda table: _report(raw, table, sums if count else {}, count, progress), reader.tables())
        )
    problems = []
    events = {source.table.name for source in reader.events if not source.beside}
    if not any(table.file for table in tables if table.table in events):
        problems.append(f"no table of measurements: expected one of {', '.join(sorted(events))}")
    version = _expect(reader.name, tables)
    return Verification(reader.name, version, tables, problems)


def size_of(root: Path) -> int:
    """Bytes that ``verify`` will read."""
    if shards_of(root):
        return 0
    reader = reader_of(root)
    raw = RawFolder(root, reader.name)
    return sum(path.stat().st_size for table in reader.tables() for path in _parts(raw, table))


def _parts(raw: RawFolder, table: Table) -> tuple[Path, ...]:
    """The files of a table; none where it cannot be told which, as its report says."""
    try:
        return raw.parts(table)
    except UserError:
        return ()


def _verify_meds(root: Path) -> Verification:
    """Shards of a MEDS dataset: readable, and with the three columns that MEDS demands."""
    reports = []
    for path in shards_of(root):
        report = TableReport("events", path.relative_to(root).as_posix())
        columns = columns_of(path)
        if missing := [name for name in NEEDED if name not in columns]:
            report.problems.append(f"columns missing: {', '.join(missing)}" if columns else "not readable as Parquet")
        else:
            report.rows = pq.read_metadata(path).num_rows
        reports.append(report)
    return Verification("MEDS", None, reports, [])


def columns_of(path: Path) -> list[str]:
    """Column names of a table in lower case; none when it cannot be read, or is cut off before its first line ends."""
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


def _report(
    raw: RawFolder, table: Table, sums: dict[Path, str], count: bool, progress: Callable[[int], None]
) -> TableReport:
    report = TableReport(table.name)
    try:
        path = raw.locate(table)
    except UserError as error:
        report.problems.append(str(error).removeprefix(f"{raw.root}: "))
        return report
    if path is None:
        return report
    report.file = raw.name(path)
    counts: list[int] = []
    for part in raw.parts(table):
        where = f"{part.name}: " if part != path else ""
        report.problems += [where + problem for problem in _header_problems(part, table)]
        if count:
            digest, rows, whole = _scan(part, table.multiline, progress)
            counts.append(rows)
            if not whole:
                report.problems.append(f"{where}cut off or corrupt: download it again")
            published = sums.get(part.resolve())
            if published and published != digest:
                report.problems.append(f"{where}SHA-256 differs from the published one: download it again")
                report.sha256 = "wrong"
            elif published:
                report.sha256 = report.sha256 or "ok"
    if count:
        report.rows = sum(counts)
        if not report.rows and table.required and not any("cut off" in problem for problem in report.problems):
            report.problems.append("no rows")
    return report


def _header_problems(path: Path, table: Table) -> list[str]:
    columns = columns_of(path)
    if not columns or columns == [""]:
        return ["no header: empty, or not a readable file"]
    missing = [column.raw for column in table.columns.values() if column.required and column.raw not in columns]
    return [f"columns missing: {', '.join(missing)}"] if missing else []


def _scan(path: Path, multiline: bool, progress: Callable[[int], None]) -> tuple[str, int, bool]:
    """SHA-256, rows below the header, and whether the file is whole."""
    digest = hashlib.sha256()
    counter = _RowCounter(multiline)
    unpack: Any = None
    whole = True
    with path.open("rb") as handle:
        packed = handle.read(2) == _GZIP
        handle.seek(0)
        while data := handle.read(CHUNK):
            digest.update(data)
            progress(len(data))
            if not packed:
                counter.add(data)
            while packed and whole and data:
                unpack = unpack or zlib.decompressobj(31)
                try:
                    counter.add(unpack.decompress(data, CHUNK))
                    data = unpack.unconsumed_tail
                    if unpack.eof:
                        data, unpack = unpack.unused_data.lstrip(b"\0"), None  # another member, or padding
                except zlib.error:
                    whole = False
    if unpack is not None and whole:  # output that was still held back
        counter.add(unpack.flush())
        unpack = None if unpack.eof else unpack
    if path.suffix.lower() == ".parquet":
        try:
            return digest.hexdigest(), pq.read_metadata(path).num_rows, True
        except (pa.ArrowException, OSError):
            return digest.hexdigest(), 0, False
    return digest.hexdigest(), counter.rows, whole and unpack is None


class _RowCounter:
    """Counts rows below the header; in multi-line tables a line break inside quotes ends no row."""

    def __init__(self, multiline: bool) -> None:
        self._multiline = multiline
        self._quoted = 0
        self._ends = 0
        self._last = _NEWLINE

    def add(self, data: bytes) -> None:
        """Count the ends of rows in the next piece of the file."""
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
        """Rows so far, without the header; the last may lack its line break."""
        return max(self._ends + (self._last != _NEWLINE) - 1, 0)


def _published_sums(root: Path) -> dict[Path, str]:
    """File -> SHA-256, from every SHA256SUMS file at or below ``root``, whose paths count from where it lies."""
    found: dict[Path, str] = {}
    for listing in sorted(path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}SHA256SUMS*")):
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.strip().partition(" ")
            if len(digest) == 64 and name:
                found[(listing.parent / name.strip().lstrip("*")).resolve()] = digest.lower()
    return found


def _expect(release: str, tables: list[TableReport]) -> str | None:
    """Fill in expected row counts, of the version whose marker table has as many rows as found."""
    versions: dict[str, Any] = load_yaml(CONFIG_ROOT / "concepts" / "releases.yaml")["releases"].get(release, {})
    rows = {table.table: table.rows for table in tables}
    for version, known in versions.items():
        if rows.get(known["marker"]) != known["rows"][known["marker"]]:
            continue
        for table in tables:
            table.expected = known["rows"].get(table.table)
            if table.expected is not None and table.rows is not None and table.rows != table.expected:
                table.problems.append(f"{table.expected:,} rows expected")
        return version
    return None
