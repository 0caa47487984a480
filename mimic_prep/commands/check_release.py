"""``mimic-prep check-release``: check raw tables before preparation: release, files, columns, row counts, SHA-256."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from clinragen.command_line import answer
from clinragen.errors import EXIT_USER_ERROR
from clinragen.options import AsJson, Flag
from mimic_prep.commands._options import CORES, Raw, Workers

if TYPE_CHECKING:
    from rich.table import Table

    from mimic_prep.release_check import ReleaseCheck


def command(*, raw: Raw, quick: Flag = False, workers: Workers = CORES, as_json: AsJson = False) -> int | None:
    """Check raw tables before preparation: release, files, columns, row counts, SHA-256.

    Ends with exit code 2 if something must be fixed first.

    Args:
        raw: The folder with the raw tables, or a database of them: a DuckDB file, or a postgresql:// URL.
        quick: Check names and headers only; no counts, no SHA-256.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from clinragen.errors import UserError
    from mimic_prep.raw_place import opened
    from mimic_prep.release_check import check_release, size_of

    if workers < 1:
        raise UserError(f"--workers {workers}: expected a positive number")
    bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with opened(raw) as source, Progress(*bars, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=size_of(source))
        checked = check_release(
            source, count=not quick, workers=workers, progress=lambda size: progress.advance(task, size)
        )
    code = None if checked.sound else EXIT_USER_ERROR
    if as_json:
        answer("", {**asdict(checked), "sound": checked.sound}, as_json)
        return code
    console = Console()
    console.print(_table(checked))
    for problem in checked.problems:
        console.print(f"[red]{problem}[/red]")
    console.print(
        f"{checked.title}: " + ("ready to prepare" if checked.sound else "[bold red]fix this first[/bold red]")
    )
    return code


def _table(check: ReleaseCheck) -> Table:
    from rich.table import Table

    table = Table(title=f"Tables of {check.release}", title_justify="left")
    for name in ("table", "file"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "expected"):
        table.add_column(name, justify="right")
    table.add_column("SHA-256")
    table.add_column("verdict", overflow="fold")
    for row in check.tables:
        rows, expected = (f"{number:,}" if number is not None else "" for number in (row.rows, row.expected))
        verdict = f"[red]{'; '.join(row.problems)}[/red]" if row.problems else "ok" if row.file else "absent, optional"
        table.add_row(row.table, row.file, rows, expected, row.sha256, verdict, style=None if row.file else "dim")
    return table
