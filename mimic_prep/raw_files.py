"""Find the tables of a release below a folder: one file, or the parts that a database or Spark wrote.

A table is found by its name, in any case, as ``.csv``, ``.csv.gz`` or ``.parquet``, anywhere up to four folders deep,
so that a release can be used as unpacked. ``labevents.parquet/part-0.parquet`` and ``labevents-000.csv.gz`` are parts
of ``labevents``. A table that exists twice, or only in a format that is not read, is an error and never counts as
absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import override

from clinragen.errors import UserError
from mimic_prep.releases import table_names
from mimic_prep.table_files import TableFile
from mimic_prep.table_source import Part, TableLocation, TableSource
from mimic_prep.tables import Table

SUFFIXES = (".csv.gz", ".csv", ".parquet")
_MAX_DEPTH = 4
_SHARD = re.compile(r"(?P<table>.+?)[-_.](?:part[-_.]?)?\d[\w-]*$")  # labevents-000000000000, labevents_0_0_1
_SAME_TABLE = re.compile(  # formats that are not read: archives, unfinished downloads, spreadsheets; without checksums
    r"(?P<table>.+?)(?:(?:\.csv|\.parquet)(?:\.gz)?\.(?!sha\d+$|md5$|asc$|sig$|crc$|idx$|html?$|json$)\w+"
    r"|\.(?:tsv|tab|xlsx?|ods|feather|arrow|orc|avro|sas7bdat|zip|7z|rar|bz2|xz|zst|tar|tgz)(?:\.\w+)?)$"
)


@dataclass(frozen=True)
class _TableFiles:
    """The files of a table. ``path`` is its file, or the common path of its parts."""

    path: Path
    parts: tuple[Path, ...]


class RawFiles(TableSource):
    """The data files below ``root``.

    Raises:
        UserError: ``root`` is not a folder, or holds no data file.
    """

    def __init__(self, root: Path, release: str) -> None:
        self.root = root
        self.shown = str(root)
        self.paths = (root,)
        self._release = release
        self._files: dict[str, list[Path]] = {}  # by the table's name in lower case, as below
        self._folders: dict[str, list[Path]] = {}
        self._shards: dict[str, list[Path]] = {}
        self._others: dict[str, list[Path]] = {}
        if not root.is_dir():
            raise UserError(f"{root} not found: --raw expects the folder that holds the tables of {release}")
        for depth in range(_MAX_DEPTH):
            for path in sorted(root.glob("*/" * depth + "*")):
                self._enter(path)
        if not self._files:
            resources = any(root.glob("*.ndjson*"))
            fhir = ", and .ndjson files, which mimic-prep fhir reads" * resources
            raise UserError(
                f"{root} holds no .csv, .csv.gz or .parquet file{fhir}: --raw expects the tables of {release}"
            )

    def _enter(self, path: Path) -> None:
        name = path.name.lower()
        if name.startswith((".", "_")):
            return
        if path.is_dir():
            self._folders.setdefault(stem(name), []).append(path)
        elif name.endswith(SUFFIXES):
            self._files.setdefault(stem(name), []).append(path)
            if shard := _SHARD.fullmatch(stem(name)):
                self._shards.setdefault(shard["table"], []).append(path)
        elif other := _SAME_TABLE.fullmatch(name):
            self._others.setdefault(other["table"], []).append(path)

    def locate(self, table: Table) -> TableLocation | None:
        """The files of a table; None if it is absent.

        Raises:
            UserError: it exists twice, is a broken link, or exists only in a format that is not read.
        """
        places = self._places(table.name)
        exact = [files for files in places if self._below(files.path) == table.path.lower()]
        places = exact or places
        if len(places) > 1:
            names = ", ".join(str(files.path.relative_to(self.root)) for files in places)
            raise UserError(f"{self.root}: several files could be the table {table.name} ({names}): keep one")
        if not places and (others := self._others.get(table.name)):
            raise UserError(
                f"{others[0]} is the table {table.name} in a form that is not read: unpack or export it as "
                f"{table.name}.csv, .csv.gz or .parquet"
            )
        for part in places[0].parts if places else ():
            if not part.is_file():
                raise UserError(f"{part} is no file (a link to nothing?): put the table {table.name} in its place")
        return self._place(places[0]) if places else None

    def _place(self, files: _TableFiles) -> TableLocation:
        parts = (TableFile(part, self._name(part)) for part in files.parts)
        return TableLocation(self._name(files.path), tuple(parts))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @override
    def absent(self, table: Table) -> str:
        form = f"table {table.path}.csv.gz (or .csv, .parquet) of {self._release}"
        return f"{form} not found; download or export it, or check --raw"

    @override
    def published(self) -> dict[Part, str]:
        """By every SHA256SUMS file at or below the folder; the paths in it are relative to it."""
        sums: dict[Path, str] = {}
        for listing in sorted(path for depth in ("", "*/", "*/*/") for path in self.root.glob(f"{depth}SHA256SUMS*")):
            for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
                digest, _, name = line.strip().partition(" ")
                if len(digest) == 64 and name:
                    sums[(listing.parent / name.strip().lstrip("*")).resolve()] = digest.lower()
        data = [path for paths in self._files.values() for path in paths]
        return {TableFile(path, self._name(path)): sums[path.resolve()] for path in data if path.resolve() in sums}

    def has(self, name: str) -> bool:
        """Whether a table (by its name in lower case) exists."""
        return bool(self._places(name))

    def _below(self, path: Path) -> str:
        return stem(path.relative_to(self.root).as_posix().lower())

    def _places(self, name: str) -> list[_TableFiles]:
        files = self._files.get(name, [])
        places = [_TableFiles(path, (path,)) for path in files]
        for folder in self._folders.get(name, []):
            if not any(folder in path.parents for path in files) and (parts := _parts(folder)):
                places.append(_TableFiles(folder, parts))
        shards = [path for path in self._shards.get(name, []) if stem(path.name.lower()) not in table_names()]
        for parent in dict.fromkeys(path.parent for path in shards):
            if not any(parent == entry.path for entry in places):  # part-0 of a folder is counted with the folder
                places.append(_together(parent / name, [path for path in shards if path.parent == parent]))
        return places


def _parts(folder: Path) -> tuple[Path, ...]:
    """The parts of a table that is a folder; none if the folder only has the table's name by chance.

    Raises:
        UserError: the folder's name is that of a table, but it has no part, or one part twice.
    """
    inside = [path for path in sorted(folder.rglob("*")) if not _hidden(path.relative_to(folder))]
    parts = [path for path in inside if path.name.lower().endswith(SUFFIXES) and not path.is_dir()]
    if any(stem(path.name.lower()) in table_names() for path in parts):
        return ()  # note/discharge.csv.gz: a folder of tables
    named_as_table = folder.name.lower().endswith(SUFFIXES) or (folder / "_SUCCESS").exists()
    if not parts and named_as_table:
        raise UserError(f"{folder}: table not found: it is a folder and holds no .csv, .csv.gz or .parquet; export it")
    return _together(folder, parts).parts


def _together(path: Path, parts: list[Path]) -> _TableFiles:
    by_name: dict[Path, Path] = {}
    for part in parts:
        bare = part.with_name(stem(part.name.lower()))
        if bare in by_name:
            raise UserError(f"{by_name[bare]} and {part.name} are the same part of a table twice: keep one")
        by_name[bare] = part
    return _TableFiles(path, tuple(parts))


def _hidden(path: Path) -> bool:
    """Whether it is a marker or checksum that Spark and Hadoop leave beside the parts."""
    return any(name.startswith((".", "_")) for name in path.parts)


def stem(name: str) -> str:
    """A file's name in lower case without the suffixes of a table."""
    return name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
