"""What the commands that prepare a release have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimic_prep.ingest import RawFolder
    from mimic_prep.pipeline import Reader


def add_arguments(parser: argparse.ArgumentParser, raw_help: str) -> None:
    """Options of every preparation."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help=raw_help)
    parser.add_argument("--out", type=Path, required=True, metavar="COHORT", help="the cohort folder to write")
    parser.add_argument(
        "--protocol", default="admission", metavar="NAME|FILE",
        help="admission (default; only what was known), paper (retrospective), or a YAML file",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the protocol"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace COHORT if it exists")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="threads that parse (default: all cores)"
    )


def run_reader(reader: Reader, args: argparse.Namespace, tables: Path | None = None) -> int | None:
    """Prepare what ``reader`` reads, as the arguments say, with a progress bar, and print the summary.

    ``tables`` is where they lie, when they were made of the files in ``--raw``.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from clinragen.errors import UserError
    from mimic_prep import protocol, summary
    from mimic_prep.ingest import RawFolder
    from mimic_prep.pipeline import prepare

    chosen = protocol.load(args.protocol, args.set)
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: expected a positive number")
    _right_release(reader, args.raw)
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*bars, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"reading {reader.name}")
        raw = RawFolder(
            tables or args.raw, reader.name, args.workers, lambda size: progress.advance(task, size), args.raw
        )
        _headers(reader, raw)
        progress.update(task, total=raw.total_bytes(reader.tables()))
        manifest = prepare(
            reader, raw, args.out, chosen, overwrite=args.overwrite,
            tell=lambda line: progress.console.print(line, highlight=False, soft_wrap=True),
        )  # fmt: skip
    console = Console()
    summary.show(manifest, console)
    console.print(f"[bold]{args.out}[/bold]", highlight=False, soft_wrap=True)
    return None


def _right_release(reader: Reader, root: Path) -> None:
    """Tell a folder of another release before any of its columns is found missing."""
    from clinragen.errors import UserError
    from mimic_prep.verify import reader_of

    commands = {"MIMIC-IV": "mimic-iv", "MIMIC-III": "mimic-iii", "eICU": "eicu"}
    if reader.name not in commands:
        return
    try:
        found = reader_of(root).name
    except UserError:
        return  # none that is known: the preparation says what it lacks
    if found != reader.name:
        raise UserError(f"{root} holds {found}, not {reader.name}: use mimic-prep {commands[found]}")


def _headers(reader: Reader, raw: RawFolder) -> None:
    """Tell a missing column before hours of work, not when its table's turn comes."""
    from mimic_prep.blocks import check_columns
    from mimic_prep.verify import columns_of

    for table in reader.tables():
        for path in raw.parts(table):
            columns = columns_of(path)
            if any(columns):  # what has no header at all is told with more words when it is read
                check_columns(columns, raw.shown(path, table), table)
