"""Write a report in one of its forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clinragen.choices import ReportForm
from clinragen.errors import UserError
from clinragen.outputs import REPORT, output_folder
from clinragen.reporting.build import ReportInput
from clinragen.reporting.forms.as_csv import DIAGNOSES, write_csv
from clinragen.reporting.forms.as_fhir import LINES, write_bundles
from clinragen.reporting.forms.as_json import INDEX, write_stays
from clinragen.reporting.forms.as_pdf import write_pdfs
from clinragen.reporting.forms.browser import program
from clinragen.reporting.forms.stays import provenance_of, stay_records

#: What to open first, by form.
FIRST: dict[ReportForm, str] = {
    "html": "index.html",
    "pdf": "stays",
    "fhir": LINES,
    "csv": DIAGNOSES,
    "json": INDEX,
}


def check_form(form: ReportForm, *, with_recorded_codes: bool = False, with_questions: bool = False) -> None:
    """Check before the work whether a form can be written here.

    Args:
        form: of the report.
        with_recorded_codes: whether it is to say what was coded.
        with_questions: whether it is to show questions.

    Raises:
        UserError: PDF without Chromium, pages with recorded codes, which they hide and show themselves, or questions in
            a form that has none.
    """
    if form == "pdf":
        program()
    if with_questions and form not in ("html", "pdf"):
        raise UserError(f"--questions are shown on pages: they do not go with --form {form}")
    if form == "html" and with_recorded_codes:
        raise UserError(
            "--with-recorded-codes is for other forms: the pages of --form html hide and show them by a switch"
        )


def write_form(
    report: ReportInput,
    out: Path,
    form: ReportForm,
    *,
    with_recorded_codes: bool = False,
    overwrite: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Write the report as JSON, FHIR, CSV or PDF; ``build.write_report`` writes the pages.

    Args:
        report: content of the report.
        out: folder to write.
        form: all but html.
        with_recorded_codes: say what was coded, too.
        overwrite: replace an existing folder.
        progress: called after each stay.

    Raises:
        UserError: ``out`` exists and may not be replaced, or there is no Chromium to print with.
    """
    with output_folder(out, REPORT, overwrite=overwrite) as folder:
        if form == "pdf":
            write_pdfs(report, folder, with_recorded_codes=with_recorded_codes, progress=progress)
            return
        records = stay_records(report, with_recorded_codes=with_recorded_codes)
        if form == "fhir":
            write_bundles(records, folder, progress)
        elif form == "csv":
            write_csv(records, folder, progress)
        else:
            write_stays(records, provenance_of(report), folder, progress)
