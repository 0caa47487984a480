"""A cohort from the raw tables of any release: what the commands and ``clinragen.prepare`` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.errors import UserError, unknown_choice

if TYPE_CHECKING:
    from rich.console import Console

    from mimic_prep.ingest import RawFolder
    from mimic_prep.pipeline import Reader


def _mimic_iv() -> Reader:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources.mimic4 import MIMIC4

    return MimicReader(MIMIC4)


def _mimic_iii() -> Reader:
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources.mimic3 import MIMIC3

    return MimicReader(MIMIC3)


def _eicu() -> Reader:
    from mimic_prep.eicu import EicuReader

    return EicuReader()


#: releases whose tables are read as they lie: name of the command -> what makes the reader
READERS: dict[str, Callable[[], Reader]] = {"mimic-iv": _mimic_iv, "mimic-iii": _mimic_iii, "eicu": _eicu}
SOURCES = (*READERS, "meds", "physionet-2012")


def prepare(
    raw: Path,
    out: Path,
    *,
    source: str | None = None,
    protocol: str = "admission",
    settings: Sequence[str] = (),
    codes: str = "default",
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Prepare a cohort and return its manifest.

    Args:
        raw: folder of the raw tables.
        out: cohort folder to write.
        source: mimic-iv, mimic-iii, eicu, meds or physionet-2012; by default told by the tables.
        protocol: a shipped name or a YAML file.
        settings: keys of the protocol to override, each ``KEY=VALUE``.
        codes: of MEDS alone: what its codes mean, a shipped name or a YAML file.
        workers: threads that parse; all cores by default.
        overwrite: replace a cohort that ``out`` holds.
        progress: show a bar on standard error, and say what is taken from earlier work.

    Raises:
        UserError: raw tables, protocol or settings that cannot be used, or a folder that may not be written.
    """
    from rich.console import Console

    source = source or source_of(raw)
    if source not in SOURCES:
        raise unknown_choice("source", source, SOURCES)
    console = Console(stderr=True, quiet=not progress)
    threads = os.cpu_count() or 1 if workers is None else workers
    if source == "physionet-2012":
        from mimic_prep import challenge2012
        from mimic_prep import protocol as protocols

        return challenge2012.prepare(raw, out, protocols.load("admission"), overwrite=overwrite)
    if source == "meds":
        return _prepare_meds(raw, out, protocol, settings, codes, threads, overwrite, console)
    return _prepare(READERS[source](), raw, out, protocol, settings, threads, overwrite, console)


def source_of(raw: Path) -> str:
    """Which release lies in a folder.

    Raises:
        UserError: none that is known.
    """
    from mimic_prep.verify import reader_of

    if (raw / "data").is_dir() and (raw / "metadata").is_dir():
        return "meds"
    if any((raw / part).is_dir() for part in ("set-a", "set-b", "set-c")):
        return "physionet-2012"
    name = reader_of(raw).name
    return next(source for source, make in READERS.items() if make().name == name)


def _prepare(
    reader: Reader,
    raw: Path,
    out: Path,
    protocol: str,
    settings: Sequence[str],
    workers: int,
    overwrite: bool,
    console: Console,
    tables: Path | None = None,
) -> dict[str, Any]:
    """Prepare what ``reader`` reads; ``tables`` is where they lie, when they were made of the files in ``raw``."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from mimic_prep import pipeline
    from mimic_prep import protocol as protocols
    from mimic_prep.ingest import RawFolder

    chosen = protocols.load(protocol, list(settings))
    if workers < 1:
        raise UserError(f"--workers {workers}: expected a positive number")
    _check_release(reader, raw)
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*bars, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {reader.name}")
        folder = RawFolder(tables or raw, reader.name, workers, lambda size: progress.advance(task, size), raw)
        _check_headers(reader, folder)
        progress.update(task, total=folder.total_bytes(reader.tables()))
        return pipeline.prepare(
            reader, folder, out, chosen, overwrite=overwrite,
            tell=lambda line: progress.console.print(line, highlight=False, soft_wrap=True),
        )  # fmt: skip


def _prepare_meds(
    raw: Path,
    out: Path,
    protocol: str,
    settings: Sequence[str],
    codes: str,
    workers: int,
    overwrite: bool,
    console: Console,
) -> dict[str, Any]:
    """A MEDS dataset, or a cohort that was written as one and comes back as it was."""
    from clinragen.adapters.meds import import_cohort, is_export
    from clinragen.artifacts import read_json
    from clinragen.outputs import check_place
    from clinragen.schema import CohortPaths
    from mimic_prep import meds
    from mimic_prep.meds_codes import load_codes

    if not raw.is_dir():
        raise UserError(f"{raw} not found: --raw expects the folder of a MEDS dataset")
    check_place(out, (raw,))
    if is_export(raw):
        given = {"--protocol": protocol != "admission", "--set": settings, "--codes": codes != "default"}
        if odd := [option for option, value in given.items() if value]:
            raise UserError(
                f"{raw} is a cohort that clinragen exported, with the protocol it was prepared by: {odd[0]} cannot "
                "apply; leave it out, or prepare the raw tables anew"
            )
        import_cohort(raw, out, overwrite=overwrite)
        return read_json(CohortPaths(out).manifest, "the manifest of a cohort")
    meanings = load_codes(codes)
    with meds.scratch_beside(out) as scratch:
        reader = meds.MedsReader(raw, meds.convert(raw, meanings, scratch))
        return _prepare(reader, raw, out, protocol, settings, workers, overwrite, console, scratch)


def _check_release(reader: Reader, root: Path) -> None:
    """Tell a folder of another release before any of its columns is found missing."""
    from mimic_prep.verify import reader_of

    commands = {make().name: source for source, make in READERS.items()}
    if reader.name not in commands:
        return
    try:
        there = reader_of(root).name
    except UserError:
        return  # none that is known: the preparation says what it lacks
    if there != reader.name:
        raise UserError(f"{root} holds {there}, not {reader.name}: use mimic-prep {commands[there]}")


def _check_headers(reader: Reader, raw: RawFolder) -> None:
    """Tell a missing column before hours of work, not when its table's turn comes."""
    from mimic_prep.blocks import check_columns
    from mimic_prep.verify import columns_of

    for table in reader.tables():
        for path in raw.parts(table):
            columns = columns_of(path)
            if any(columns):  # what has no header at all is told with more words when it is read
                check_columns(columns, raw.shown(path, table), table)
