"""``mimic-prep audit``: checks of a finished cohort for leaks and faults."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "check a cohort for leaks, copies, mixed units and drift"
EXIT_LEAK = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("cohort", type=Path, nargs="?", metavar="COHORT", help="a cohort folder")
    parser.add_argument(
        "--cohort", type=Path, dest="named", metavar="COHORT", help="the same, as other commands write it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where audit.html and audit.json go (default: COHORT/audit)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier audit at --out")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="SECTION",
        help="a note section that may name the diagnosis, because it was known at the time; may be repeated",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int | None:
    """Run the command: 1 when the cohort leaks."""
    from rich.console import Console
    from rich.table import Table

    from clinragen import label_sets
    from clinragen.artifacts import write_json, write_text
    from clinragen.data.cohort import Cohort
    from clinragen.errors import UserError
    from clinragen.outputs import AUDIT, check_output, output_folder
    from mimic_prep.audit import audit
    from mimic_prep.audit.page import render

    if (args.cohort is None) == (args.named is None):
        raise UserError("mimic-prep audit expects one cohort: mimic-prep audit COHORT, or --cohort COHORT")
    folder = args.named if args.cohort is None else args.cohort
    out = args.out or folder / "audit"
    replace = args.overwrite or args.out is None  # an audit in the cohort's own folder is its own to renew
    check_output(out, AUDIT, overwrite=replace, inputs=(folder,))
    with Console(stderr=True).status("reading the cohort") as status:
        cohort = Cohort.load(folder)
        with label_sets.use(cohort.label_set):
            found = audit(cohort, args.allow, lambda title: status.update(f"checking {title}"))
    with output_folder(out, AUDIT, overwrite=replace, inputs=(folder,)) as made:
        write_json(made / "audit.json", found.as_json())
        write_text(made / "audit.html", render(found))
    styles = {"leak": "bold red", "warning": "yellow", "note": "cyan", "pass": "green"}
    table = Table(title=f"Audit of {folder}", title_justify="left")
    for column in ("check", "status", "finding"):
        table.add_column(column)
    for check in found.checks:
        table.add_row(check.title, f"[{styles[check.status]}]{check.status}[/]", check.says)
    console = Console()
    console.print(table)
    console.print(f"[bold]{out / 'audit.html'}[/bold]", highlight=False, soft_wrap=True)
    return EXIT_LEAK if found.status == "leak" else None
