"""Size and time of a report in each of its forms: kilobytes a stay, stays a second, and time beside JSON.

    python benchmarks/report_forms.py --predictions PREDICTIONS --cohort COHORT [--stays 100] [--forms json,csv,pdf]

All forms are written in this process, of the same stays, after one that is not counted; what is common to them (reading
the cohort, checking the claims) is measured by itself and is in the time of none. PDF is left out without Chromium.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from printed_tables import Console
from rich.table import Table

from clinragen.choices import ReportForm
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation import faithfulness
from clinragen.evaluation.inputs import graph_of, load_predictions, load_truth
from clinragen.reporting.build import ReportInput, write_report
from clinragen.reporting.forms.write import check_form, write_form


def content(predictions: Path, cohort: Path, stays: int) -> ReportInput:
    """A report of the first stays."""
    opened = load_predictions(predictions)
    opened = opened.of_stays(sorted(opened.stay_ids.tolist())[:stays])
    truth = load_truth(opened, Cohort.load(cohort), needs_labels=False)
    graph = graph_of(opened, None)
    claims = faithfulness.check(opened, truth, graph)
    return ReportInput(opened, truth, claims, dict(graph.nodes), None, None, graph)


def write(report: ReportInput, form: ReportForm, out: Path) -> tuple[float, int]:
    """Seconds and bytes of a form."""
    began = time.monotonic()
    if form == "html":
        write_report(report, out)
    else:
        write_form(report, out, form)
    return time.monotonic() - began, sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--stays", type=int, default=100)
    parser.add_argument("--forms", default="json,csv,fhir,html,pdf")
    args = parser.parse_args()
    console = Console()
    began = time.monotonic()
    report = content(args.predictions, args.cohort, args.stays)
    count = len(report.predictions.stay_ids)
    console.print(f"{count} stays read and checked in {time.monotonic() - began:.1f} s")
    table = Table(title=f"clinragen report --form, {count} stays")
    for heading in ("form", "kB a stay", "seconds", "stays a second", "time beside json"):
        table.add_column(heading, justify="left" if heading == "form" else "right")
    with TemporaryDirectory() as folder:
        write(report, "json", Path(folder) / "first")
        beside, _ = write(report, "json", Path(folder) / "beside")
        for form in (one for one in get_args(ReportForm) if one in args.forms.split(",")):
            try:
                check_form(form)
            except UserError as error:
                console.print(f"{form} is left out: {error}")
                continue
            seconds, size = write(report, form, Path(folder) / form)
            table.add_row(
                form,
                f"{size / count / 1000:.1f}",
                f"{seconds:.2f}",
                f"{count / seconds:.1f}",
                f"{seconds / beside:.1f}",
            )
            console.print(f"{form} written", style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
