"""Check whether raw tables are complete, and of which release, in one pass over each file or table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clinragen.errors import UserError
from mimic_prep.ingest import RawTables
from mimic_prep.raw_place import RawPlace
from mimic_prep.reader import Reader
from mimic_prep.release import Published, Release
from mimic_prep.releases import recognised
from mimic_prep.table_source import Part, Scan
from mimic_prep.tables import Table


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
    raw: RawPlace, *, count: bool = True, workers: int = 2, progress: Callable[[int], None] = lambda _: None
) -> ReleaseCheck:
    """Check the tables that a preparation would read.

    Args:
        raw: folder or database of the raw tables.
        count: read every file to its end, for its row count and SHA-256; otherwise only headers are read.
        workers: number of files read in parallel.
        progress: called from worker threads with the bytes read since the last call.

    Raises:
        UserError: ``raw`` is no folder, or of no known release.
    """
    release = recognised(raw)
    if release.check is not None and isinstance(raw, Path):
        return release.check(raw)
    reader = _reader(release)
    source = RawTables(raw, reader.name)
    sums = source.published() if count else {}
    with ThreadPoolExecutor(workers) as pool:
        tables = list(pool.map(lambda table: _check_table(source, table, sums, count, progress), reader.tables()))
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


def size_of(raw: RawPlace) -> int:
    """Bytes that ``check_release`` will read."""
    release = recognised(raw)
    if release.check is not None:
        return 0
    source = RawTables(raw, release.name)
    return sum(part.size() for table in release.tables() for part in _parts(source, table))


def _parts(raw: RawTables, table: Table) -> tuple[Part, ...]:
    """The parts of a table; none if it is ambiguous, which its check reports."""
    try:
        return raw.parts(table)
    except UserError:
        return ()


def _check_table(
    raw: RawTables, table: Table, sums: Mapping[Part, str], count: bool, progress: Callable[[int], None]
) -> TableCheck:
    check = TableCheck(table.name)
    try:
        location = raw.locate(table)
    except UserError as error:
        check.problems.append(str(error).removeprefix(f"{raw.shown}: "))
        return check
    if location is None:
        return check
    check.file = location.name
    for part in location.parts:
        where = f"{part.label}: " if part.name != location.name else ""
        check.problems += [where + problem for problem in _header_problems(part, table)]
        if count:
            _check_contents(check, where, part.scan(table, progress), sums.get(part))
    if count and not check.rows and table.required and not any("cut off" in problem for problem in check.problems):
        check.problems.append("no rows")
    return check


def _check_contents(check: TableCheck, where: str, scan: Scan, published: str | None) -> None:
    """Add the content of one part of a table; ``where`` names the part if the table has several."""
    check.rows = (check.rows or 0) + scan.rows
    if not scan.whole:
        check.problems.append(f"{where}cut off or corrupt: download it again")
    if published and published != scan.digest:
        check.problems.append(f"{where}SHA-256 differs from the published one: download it again")
        check.sha256 = "wrong"
    elif published:
        check.sha256 = check.sha256 or "ok"


def _header_problems(part: Part, table: Table) -> list[str]:
    columns = part.columns_for(table)
    if not columns or columns == [""]:
        return ["no header: empty, or not a readable file"]
    missing = [column.raw for column in table.columns.values() if column.required and column.raw not in columns]
    return [f"columns missing: {', '.join(missing)}"] if missing else []


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
