"""``mimic-prep verify``: is a folder of raw tables whole, and which release is it?"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import EXIT_USER_ERROR

if TYPE_CHECKING:
    from rich.table import Table

    from mimic_prep.verify import Verification

HELP = "check raw tables before work: release, files, columns, row counts, SHA-256"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="the folder with the raw tables")
    parser.add_argument("--quick", action="store_true", help="look at names and headers only; no counts, no SHA-256")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="files read at a time (default: all cores)"
    )


def run(args: argparse.Namespace) -> int | None:
    """Run the command: 2 when something is to be mended first."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from clinragen.errors import UserError
    from mimic_prep.verify import size_of, verify

    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: expected a positive number")
    total = size_of(args.raw)
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*bars, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=total)
        found = verify(
            args.raw, count=not args.quick, workers=args.workers, progress=lambda size: progress.advance(task, size)
        )
    console = Console()
    console.print(_table(found))
    for problem in found.problems:
        console.print(f"[red]{problem}[/red]")
    known = f"{found.release} {found.version}" if found.version else f"{found.release}, version not recognised"
    if args.quick or found.release == "MEDS":
        known = found.release
    console.print(f"{known}: " + ("ready to prepare" if found.sound else "[bold red]mend this first[/bold red]"))
    return None if found.sound else EXIT_USER_ERROR


def _table(found: Verification) -> Table:
    from rich.table import Table

    table = Table(title=f"Tables of {found.release}", title_justify="left")
    for name in ("table", "file"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "expected"):
        table.add_column(name, justify="right")
    table.add_column("SHA-256")
    table.add_column("verdict", overflow="fold")
    for row in found.tables:
        rows, expected = (f"{number:,}" if number is not None else "" for number in (row.rows, row.expected))
        verdict = f"[red]{'; '.join(row.problems)}[/red]" if row.problems else "ok" if row.file else "absent, optional"
        table.add_row(row.table, row.file, rows, expected, row.sha256, verdict, style=None if row.file else "dim")
    return table
