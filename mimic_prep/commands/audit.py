"""``mimic-prep audit``: check a cohort for leaks, copies, mixed units and drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, Overwrite, Texts

EXIT_LEAK = 1


def command(
    cohort: Annotated[Path | None, Parameter(name="--cohort")] = None,
    *,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    overwrite: Overwrite = False,
    allow: Texts = (),
    as_json: AsJson = False,
) -> int | None:
    """Check a cohort for leaks, copies, mixed units and drift.

    Ends with exit code 1 if the cohort leaks.

    Args:
        cohort: A cohort folder; the option may be left out: mimic-prep audit COHORT.
        out: Folder for audit.html and audit.json. Default: COHORT/audit.
        allow: A note section that may name the diagnosis, because it was known at the time; may be repeated.
    """
    from rich.console import Console
    from rich.table import Table

    from clinragen.artifacts import write_json, write_text
    from clinragen.cohort.folder import Cohort
    from clinragen.errors import UserError
    from clinragen.outputs import AUDIT, check_output, output_folder
    from mimic_prep.audit import audit
    from mimic_prep.audit.page import render

    if cohort is None:
        raise UserError("mimic-prep audit expects one cohort: mimic-prep audit COHORT, or --cohort COHORT")
    folder = out or cohort / "audit"
    replace = overwrite or out is None  # an audit in the cohort's own folder may be replaced without --overwrite
    check_output(folder, AUDIT, overwrite=replace, inputs=(cohort,))
    with Console(stderr=True).status("reading the cohort") as status:
        opened = Cohort.load(cohort, undated=True)
        result = audit(opened, allow, lambda title: status.update(f"checking {title}"))
    with output_folder(folder, AUDIT, overwrite=replace, inputs=(cohort,)) as unfinished:
        write_json(unfinished / "audit.json", result.as_json())
        write_text(unfinished / "audit.html", render(result))
    code = EXIT_LEAK if result.status == "leak" else None
    if as_json:
        answer("", result.as_json(), as_json)
        return code
    styles = {"leak": "bold red", "warning": "yellow", "note": "cyan", "pass": "green"}
    table = Table(title=f"Audit of {cohort}", title_justify="left")
    for column in ("check", "status", "finding"):
        table.add_column(column)
    for check in result.checks:
        table.add_row(check.title, f"[{styles[check.status]}]{check.status}[/]", check.says)
    console = Console()
    console.print(table)
    console.print(f"[bold]{folder / 'audit.html'}[/bold]", highlight=False, soft_wrap=True)
    return code
