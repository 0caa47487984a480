"""Prepare a cohort from the raw tables of any release, for the commands and ``clinragen.prepare``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen import added_variables, catalog
from clinragen.added_variables import AddedVariables
from clinragen.errors import UserError
from mimic_prep.releases import recognised, release_of, releases

if TYPE_CHECKING:
    from rich.console import Console

    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.ingest import RawTables
    from mimic_prep.protocol import Protocol
    from mimic_prep.raw_place import RawPlace
    from mimic_prep.reader import Reader
    from mimic_prep.release import Release


@dataclass(frozen=True)
class PreparationRequest:
    """A preparation request of the user.

    Attributes:
        raw: folder or database of the raw tables.
        out: cohort folder to write.
        protocol: a shipped name or a YAML file.
        settings: keys of the protocol to override, each ``KEY=VALUE``.
        options: values of the release's own options, by name.
        workers: number of parsing threads.
        overwrite: whether to replace an existing cohort.
        added: variables beside those of the catalogue.
        console: where progress is shown.
    """

    raw: RawPlace
    out: Path
    protocol: str
    settings: tuple[str, ...]
    options: Mapping[str, str]
    workers: int
    overwrite: bool
    added: AddedVariables
    console: Console = field(compare=False)

    def folder(self, release: str) -> Path:
        """The folder of a release that is read from files only.

        Raises:
            UserError: ``raw`` is a database.
        """
        if isinstance(self.raw, Path):
            return self.raw
        raise UserError(f"{self.raw} is a database: {release} is read from a folder of files; name that with --raw")


def prepare(  # noqa: PLR0913 (the options users have)
    raw: str | Path,
    out: Path,
    *,
    source: str | None = None,
    protocol: str = "admission",
    settings: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    variables: Sequence[str] = (),
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> CohortManifest:
    """Prepare a cohort and return its manifest.

    Args:
        raw: folder of the raw tables, or a database of them: the path of a DuckDB file, or the URL of PostgreSQL.
        out: cohort folder to write.
        source: the command of a release, such as mimic-iv; by default recognised from the tables.
        protocol: a shipped name or a YAML file.
        settings: keys of the protocol to override, each ``KEY=VALUE``.
        options: the release's own options by name, such as ``codes`` of MEDS.
        variables: files of variables beside those of the catalogue, each a path or a shipped name.
        workers: number of parsing threads; all cores by default.
        overwrite: replace an existing cohort.
        progress: show a bar on standard error, and report reused steps.

    Raises:
        UserError: raw tables, protocol or settings that cannot be used, or a folder that may not be written.
    """
    from rich.console import Console

    from mimic_prep.raw_place import opened

    with opened(raw) as opened_raw:
        release = release_of(source) if source else recognised(opened_raw)
        defaults = {option.name: option.default for option in release.options}
        for name, value in (options or {}).items():
            if name not in defaults and value != "default":
                raise UserError(f"{name} {value}: {release.name} has no such option; leave it out")
        threads = (os.cpu_count() or 1) if workers is None else workers
        if threads < 1:
            raise UserError(f"--workers {threads}: expected a positive number")
        values = {name: (options or {}).get(name, default) for name, default in defaults.items()}
        added = _added(variables, release)
        request = PreparationRequest(
            opened_raw, out, protocol, tuple(settings), values,
            threads, overwrite, added, Console(stderr=True, quiet=not progress),
        )  # fmt: skip
        with catalog.only(added.variables, added.spellings, added.digest):
            return _prepare(release, request)


def _prepare(release: Release, request: PreparationRequest) -> CohortManifest:
    if release.prepare is not None:
        return release.prepare(request)
    if release.reader is None:
        raise ValueError(f"the release {release.name} has neither reader nor prepare")
    return prepare_tables(request, release.reader())


def _added(names: Sequence[str], release: Release) -> AddedVariables:
    """The variables of the user's files."""
    if names and not release.protocol:
        raise UserError(f"--variables {names[0]}: {release.name} has variables of its own; leave it out")
    return added_variables.load(names)


def prepare_tables(request: PreparationRequest, reader: Reader, tables: Path | None = None) -> CohortManifest:
    """Prepare with ``reader``; ``tables`` is the folder of the tables if they were converted from files in ``raw``."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from mimic_prep import pipeline
    from mimic_prep import protocol as protocols
    from mimic_prep.ingest import RawTables

    chosen = protocols.load(request.protocol, list(request.settings))
    if request.added:
        _check_names(request.added, chosen)
    _check_release(reader, request.raw)
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*bars, console=request.console, transient=True) as progress:
        task = progress.add_task(f"reading {reader.name}")
        raw = RawTables(
            tables or request.raw, reader.name, request.workers, lambda size: progress.advance(task, size),
            origin=request.folder(reader.name) if tables else None,
        )  # fmt: skip
        _check_headers(reader, raw)
        progress.update(task, total=raw.total_bytes(reader.tables()))
        return pipeline.prepare(
            reader, raw, request.out, chosen, overwrite=request.overwrite, added=request.added,
            tell=lambda line: progress.console.print(line, highlight=False, soft_wrap=True),
        )  # fmt: skip


def _check_names(added: AddedVariables, protocol: Protocol) -> None:
    """Check the names of added variables and the diagnoses that they suggest against the concept graph."""
    from clinragen.knowledge.added import check
    from clinragen.knowledge.graph import build
    from mimic_prep import labels

    check(added, build(), labels.load(protocol.labels))


def _check_release(reader: Reader, raw: RawPlace) -> None:
    """Report that a folder or database holds another release, before reporting its columns as missing."""
    by_name = {release.name: release for release in releases().values() if release.reader is not None}
    if reader.name not in by_name:
        return
    try:
        if by_name[reader.name].recognise(raw):
            return
        there = recognised(raw).name
    except UserError:
        return  # unknown: the preparation reports what is missing
    if there in by_name:
        raise UserError(f"{raw} holds {there}, not {reader.name}: use mimic-prep {by_name[there].command}")


def _check_headers(reader: Reader, raw: RawTables) -> None:
    """Fail fast: report a missing column before the work, not when its table is read."""
    from mimic_prep.csv_stream import check_columns

    for table in reader.tables():
        for part in raw.parts(table):
            columns = part.columns_for(table)
            if any(columns):  # a file without a header gets a more detailed error when it is read
                check_columns(columns, raw.shown_as(part, table), table)
