"""Prepare a cohort from the raw tables of any release, for the commands and ``clinragen.prepare``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import UserError
from mimic_prep.releases import recognised, release_of, releases

if TYPE_CHECKING:
    from rich.console import Console

    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.ingest import RawFolder
    from mimic_prep.reader import Reader


@dataclass(frozen=True)
class PreparationRequest:
    """A preparation request of the user.

    Attributes:
        raw: folder of the raw tables.
        out: cohort folder to write.
        protocol: a shipped name or a YAML file.
        settings: keys of the protocol to override, each ``KEY=VALUE``.
        options: values of the release's own options, by name.
        workers: number of parsing threads.
        overwrite: whether to replace an existing cohort.
        console: where progress is shown.
    """

    raw: Path
    out: Path
    protocol: str
    settings: tuple[str, ...]
    options: Mapping[str, str]
    workers: int
    overwrite: bool
    console: Console = field(compare=False)


def prepare(  # noqa: PLR0913 (the options users have)
    raw: Path,
    out: Path,
    *,
    source: str | None = None,
    protocol: str = "admission",
    settings: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> CohortManifest:
    """Prepare a cohort and return its manifest.

    Args:
        raw: folder of the raw tables.
        out: cohort folder to write.
        source: the command of a release, such as mimic-iv; by default recognised from the tables.
        protocol: a shipped name or a YAML file.
        settings: keys of the protocol to override, each ``KEY=VALUE``.
        options: the release's own options by name, such as ``codes`` of MEDS.
        workers: number of parsing threads; all cores by default.
        overwrite: replace an existing cohort.
        progress: show a bar on standard error, and report reused steps.

    Raises:
        UserError: raw tables, protocol or settings that cannot be used, or a folder that may not be written.
    """
    from rich.console import Console

    release = release_of(source) if source else recognised(raw)
    defaults = {option.name: option.default for option in release.options}
    for name, value in (options or {}).items():
        if name not in defaults and value != "default":
            raise UserError(f"{name} {value}: {release.name} has no such option; leave it out")
    threads = (os.cpu_count() or 1) if workers is None else workers
    if threads < 1:
        raise UserError(f"--workers {threads}: expected a positive number")
    values = {name: (options or {}).get(name, default) for name, default in defaults.items()}
    request = PreparationRequest(
        raw, out, protocol, tuple(settings), values,
        threads, overwrite, Console(stderr=True, quiet=not progress),
    )  # fmt: skip
    if release.prepare is not None:
        return release.prepare(request)
    if release.reader is None:
        raise ValueError(f"the release {release.name} has neither reader nor prepare")
    return prepare_tables(request, release.reader())


def prepare_tables(request: PreparationRequest, reader: Reader, tables: Path | None = None) -> CohortManifest:
    """Prepare with ``reader``; ``tables`` is the folder of the tables if they were converted from files in ``raw``."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from mimic_prep import pipeline
    from mimic_prep import protocol as protocols
    from mimic_prep.ingest import RawFolder

    chosen = protocols.load(request.protocol, list(request.settings))
    _check_release(reader, request.raw)
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*bars, console=request.console, transient=True) as progress:
        task = progress.add_task(f"reading {reader.name}")
        folder = RawFolder(
            tables or request.raw, reader.name, request.workers, lambda size: progress.advance(task, size), request.raw
        )
        _check_headers(reader, folder)
        progress.update(task, total=folder.total_bytes(reader.tables()))
        return pipeline.prepare(
            reader, folder, request.out, chosen, overwrite=request.overwrite,
            tell=lambda line: progress.console.print(line, highlight=False, soft_wrap=True),
        )  # fmt: skip


def _check_release(reader: Reader, root: Path) -> None:
    """Report that a folder holds another release, before reporting its columns as missing."""
    commands = {release.name: release.command for release in releases().values() if release.reader is not None}
    if reader.name not in commands:
        return
    try:
        there = recognised(root).name
    except UserError:
        return  # unknown: the preparation reports what is missing
    if there != reader.name and there in commands:
        raise UserError(f"{root} holds {there}, not {reader.name}: use mimic-prep {commands[there]}")


def _check_headers(reader: Reader, raw: RawFolder) -> None:
    """Fail fast: report a missing column before the work, not when its table is read."""
    from mimic_prep.csv_stream import check_columns
    from mimic_prep.release_check import columns_of

    for table in reader.tables():
        for path in raw.parts(table):
            columns = columns_of(path)
            if any(columns):  # a file without a header gets a more detailed error when it is read
                check_columns(columns, raw.shown(path, table), table)
