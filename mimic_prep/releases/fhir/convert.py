"""Read each file of an export into a folder of rows: the part of a preparation that takes long, and resumes.

A part is named by the content of its file and by what reads it, and is complete or absent. A block of lines is in
memory at a time.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import MsgspecError, json

from clinragen.added_variables import AddedVariables
from clinragen.artifacts import atomic_folder, sha256_file, sha256_json, write_json
from clinragen.catalog import only
from clinragen.errors import UserError
from mimic_prep.releases.fhir import files
from mimic_prep.releases.fhir.clock import Clock, version_of
from mimic_prep.releases.fhir.elements import items, key_of, part, text
from mimic_prep.releases.fhir.numbers import NumberReader, entries_of
from mimic_prep.releases.fhir.observations import PART, ROWS, ObservationReader
from mimic_prep.releases.fhir.resources import SCHEMAS, ResourceReader, Row
from mimic_prep.releases.fhir.treatments import TreatmentReader
from mimic_prep.releases.fhir.vocabulary import Mapping as CodeMapping
from mimic_prep.releases.fhir.vocabulary import Vocabulary
from mimic_prep.steps import catalogue_key

VERSION = 6  # raised when the same lines give other rows
LINE = 0xFFFFFFFF  # the part of a row's number that is its line
ACCOUNT, OBSERVATIONS = "account.json", "observations.parquet"
NOTHING_ADDED = AddedVariables()
_ROWS_AT_ONCE = 50_000
_BYTES_AT_ONCE = 1 << 25  # of lines of numbers, whose columns are read and written together
_BYTES_OF_PROCESS = 1 << 26  # a process takes as long to begin as to read so much
#: columns of few distinct values
_REPEATED = ["unit", "words", "comment", "specimen", "subject", "encounter", "skip", "bad", "table", "item", "version"]
NO_JSON, NO_TYPE, NO_RESOURCE = "line that is no JSON", "no resourceType", "entry without a resource"
NO_SHAPE = "resource whose elements are not of FHIR's shape"


def part_name(digest: str, mapping: CodeMapping, zone: str) -> str:
    """The name of a file's part: its content, what reads it, and how."""
    from dataclasses import asdict

    return sha256_json([digest, VERSION, asdict(mapping), zone, catalogue_key()])[:32]


@dataclass(frozen=True)
class _Conversion:
    """Reads a file into a part, in any process.

    Attributes:
        mapping: what codes mean.
        zone: time zone of the site, or ``written``.
        added: variables beside those of the catalogue.
    """

    mapping: CodeMapping
    zone: str
    added: AddedVariables

    def __call__(self, path: Path, folder: Path, progress: Callable[[int], None]) -> None:
        with atomic_folder(folder) as half:
            _FileReader(half, Vocabulary(self.mapping), Clock(self.zone)).read(path, str(path), progress)

    def elsewhere(self, path: Path, folder: Path) -> None:
        """The same in a process that has only the variables of the catalogue."""
        with only(self.added.variables, self.added.spellings, self.added.digest):
            self(path, folder, lambda size: None)


def convert(
    root: Path,
    parts: Path,
    mapping: CodeMapping,
    zone: str,
    tell: Callable[[str, int], None],
    *,
    added: AddedVariables = NOTHING_ADDED,
    processes: int = 1,
) -> tuple[dict[str, Path], dict[str, str]]:
    """Read all files of an export.

    Args:
        root: folder of the export.
        parts: folder of the parts; finished ones are not read again, and those of no file are removed.
        mapping: what codes mean.
        zone: time zone of the site, or ``written``.
        tell: called with a file's name and the bytes read of it.
        added: the variables that this process has beside those of the catalogue.
        processes: how many read files at the same time, if there is enough to read; their number changes no byte.

    Returns:
        Name of a file below ``root`` -> its part; and name -> SHA-256.

    Raises:
        UserError: no file, a damaged file.
    """
    import shutil

    paths = files.export_files(root)
    if not paths:
        raise UserError(
            f"{root} holds no .ndjson, .jsonl or .json file (or .gz of these): --raw expects a FHIR export; for tables "
            f"`mimic-prep check-release --raw {root}` says which command reads them"
        )
    Clock(zone)
    names = [path.relative_to(root).as_posix() for path in paths]
    with ThreadPoolExecutor(processes) as pool:
        digests = dict(zip(names, pool.map(sha256_file, paths), strict=True))
    of_file = {name: parts / part_name(digest, mapping, zone) for name, digest in digests.items()}
    for other in parts.iterdir():
        if other not in of_file.values():
            shutil.rmtree(other)
    waiting = {of_file[name]: path for name, path in zip(names, paths, strict=True) if not of_file[name].exists()}
    conversion = _Conversion(mapping, zone, added)
    processes = min(processes, len(waiting), sum(map(_size, waiting.values())) // _BYTES_OF_PROCESS)
    if processes > 1:
        _by_processes(conversion, waiting, processes, lambda path: tell(path.relative_to(root).as_posix(), _size(path)))
    else:
        for folder, path in waiting.items():
            conversion(path, folder, partial(tell, path.relative_to(root).as_posix()))
    return of_file, digests


def _size(path: Path) -> int:
    return path.stat().st_size


def _by_processes(
    conversion: _Conversion, waiting: Mapping[Path, Path], processes: int, ready: Callable[[Path], None]
) -> None:
    """Fill the part of each file in processes of their own, the largest first. They are spawned: threads run here."""
    largest_first = sorted(waiting.items(), key=lambda pair: -_size(pair[1]))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        filling = {pool.submit(conversion.elsewhere, path, folder): path for folder, path in largest_first}
        try:
            for done in as_completed(filling):
                done.result()
                ready(filling[done])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _FileReader:
    """Reads one file into a part."""

    def __init__(self, folder: Path, vocabulary: Vocabulary, clock: Clock) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._clock = clock
        self._numbers = NumberReader(vocabulary, clock)
        self._observations = ObservationReader(vocabulary, clock)
        self._resources = ResourceReader(vocabulary, clock)
        self._treatments = TreatmentReader(vocabulary, clock)
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, list[Row]] = {}
        self._slow: list[Row] = []
        self._read = 0
        self._several = 0
        self._not_read: Counter[str] = Counter()
        self._bad: dict[str, list[int]] = {}
        self._remarks: Counter[str] = Counter()

    def read(self, path: Path, shown: str, progress: Callable[[int], None]) -> None:
        """Read the file, and write the part."""
        if files.is_lines(path):
            for block in files.blocks(path, shown, progress):
                self._block(block)
        else:
            progress(path.stat().st_size)
            self._document(files.document(path, shown))
        self._take_numbers()
        self._flush()
        for writer in self._writers.values():
            writer.close()
        remarks = self._remarks + self._observations.remarks + self._resources.remarks
        account = {
            "read": self._read,
            "not_read": self._not_read,
            "bad": self._bad,
            "remarks": {why: count for why, count in sorted(remarks.items()) if count},
            "unmapped": [[*coding, rows] for coding, rows in sorted(self._vocabulary.unmapped.items())],
            "offsets": [[offset, count] for offset, count in self._clock.offsets.items()],
        }
        write_json(self._folder / ACCOUNT, account)

    def _block(self, block: files.Block) -> None:
        for number, line in self._numbers.add(block):
            self._line(number, line)
        if len(self._slow) >= _ROWS_AT_ONCE:
            self._flush_observations()
        if self._numbers.size >= _BYTES_AT_ONCE:
            self._take_numbers()

    def _take_numbers(self) -> None:
        rows, others = self._numbers.take()
        self._read += rows.num_rows
        self._write(OBSERVATIONS, rows)
        for number, line in others:
            self._line(number, line)

    def _line(self, number: int, line: bytes) -> None:
        if not line.strip(b" \t\r\n\0"):
            return
        try:
            resource = json.decode(line.removeprefix(b"\xef\xbb\xbf").strip())
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            self._refuse(NO_JSON, number)
            return
        if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
            for entry in _entries(resource):
                self._entry(entry, self._inner(number), resource)
        else:
            self._resource(resource, number, None, line)

    def _inner(self, number: int) -> int:
        """The number of one of several resources of a line: its low half is that of the line."""
        self._several += 1
        return (number & LINE) | self._several << 32

    def _document(self, content: Any) -> None:
        if isinstance(content, dict) and content.get("resourceType") == "Bundle":
            for number, entry in enumerate(_entries(content), 1):
                self._entry(entry, number, content)
        elif isinstance(content, list):
            for number, resource in enumerate(content, 1):
                self._resource(resource, number, None, json.encode(resource))
        elif (
            isinstance(content, dict)
            and "resourceType" not in content
            and ("output" in content or "transactionTime" in content)
        ):
            self._read += 1
            self._not_read["manifest of an export: not read"] += 1
        else:
            self._resource(content, 1, None, json.encode(content))

    def _entry(self, entry: Any, number: int, bundle: Mapping[str, Any]) -> None:
        if not isinstance(entry, dict):
            self._refuse(NO_RESOURCE, number)
            return
        url, method = text(entry.get("fullUrl")), text(part(entry, "request", "method"))
        if method == "DELETE" and (target := text(part(entry, "request", "url"))):
            self._read += 1
            version = max(version_of(bundle.get("timestamp")), version_of(part(bundle, "meta", "lastUpdated")))
            self._add("Deleted", {"key": key_of(target), "version": version, "line": number})
            return
        if entry.get("resource") is None:
            self._refuse(NO_RESOURCE, number)
            return
        self._resource(entry["resource"], number, key_of(url) if url else None, json.encode(entry["resource"]))

    def _refuse(self, why: str, number: int) -> None:
        self._read += 1
        self._bad.setdefault(why, []).append(number)

    def _resource(self, resource: Any, number: int, url: str | None, content: bytes) -> None:
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(kind, str):
            self._refuse(NO_TYPE, number)
            return
        if kind == "Bundle":
            for entry in _entries(resource):
                self._entry(entry, self._inner(number), resource)
            return
        if kind != "Observation" and not self._resources.reads(kind) and not self._treatments.reads(kind):
            self._read += 1
            shown = kind if kind.isalpha() and len(kind) < 40 else "unknown type"
            self._not_read[f"{shown}: not read"] += 1
            return
        self._read += 1
        name = self._id(resource, url, content)
        version = version_of(part(resource, "meta", "lastUpdated"))
        key = f"{kind}/{name}"
        try:
            if kind == "Observation":
                rows = self._observations.rows(resource)
                self._slow += [{"entry": name, "version": version, "line": number, **row} for row in rows]
                return
            aliases = self._resources.aliases(resource, key, url)
            rows = [self._resources.row(resource)] if self._resources.reads(kind) else []
            if self._treatments.reads(kind):
                sound = not rows or not (rows[0][1].get("skip") or rows[0][1].get("bad"))
                table, row = self._treatments.row(resource)
                rows.append((table, row if sound else {"skip": "see its other row"}))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
            self._bad.setdefault(NO_SHAPE, []).append(number)  # whatever an element holds that FHIR does not allow
            return
        for table, row in rows:
            self._add(table, {"key": key, "version": version, "line": number, **row})
        for alias in aliases:
            self._add("Alias", {"version": version, "line": number, **alias})

    def _id(self, resource: Mapping[str, Any], url: str | None, content: bytes) -> str:
        value = resource.get("id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if name := text(value):
            return name
        self._remarks["resource without an id"] += 1
        return url or f"without-{sha256_json(content.decode(errors='replace'))[:32]}"

    def _add(self, table: str, row: Row) -> None:
        rows = self._rows.setdefault(table, [])
        rows.append(row)
        if len(rows) >= _ROWS_AT_ONCE:
            self._flush_table(table)

    def _flush(self) -> None:
        self._flush_observations()
        for table in list(self._rows):
            self._flush_table(table)

    def _flush_table(self, table: str) -> None:
        rows = self._rows.pop(table, [])
        self._write(f"{table}.parquet", _framed(rows, SCHEMAS[table]).to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _flush_observations(self) -> None:
        if self._slow:
            ids = entries_of([row["entry"] for row in self._slow])
            frame = _framed([{**row, "entry": None} for row in self._slow], ROWS).with_columns(entry=ids)
            self._slow = []
            self._write(OBSERVATIONS, frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(PART))

    def _write(self, name: str, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(
                self._folder / name,
                rows.schema,
                compression="lz4",
                use_dictionary=_REPEATED,  # type: ignore[arg-type]
                write_statistics=False,
                store_schema=False,  # texts are read as texts unless a reader asks for their dictionary
            )
        self._writers[name].write_table(rows)


def _framed(rows: list[Row], schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row", strict=False)


def _entries(bundle: Mapping[str, Any]) -> Iterator[Any]:
    entries = bundle.get("entry")
    yield from entries if isinstance(entries, list) else items(entries)
