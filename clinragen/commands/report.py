"""``clinragen report``: write predictions with their reasons as pages, PDF, FHIR, CSV or JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.choices import ReportForm
from clinragen.command_line import answer
from clinragen.errors import UserError
from clinragen.options import AsJson, CohortFolder, Flag, Out, Overwrite, Verify, WholeNumbers

if TYPE_CHECKING:
    from clinragen.api.reporting import WrittenReport


def command(
    *,
    predictions: Annotated[
        Path | None, Parameter(name="--predictions", help="Folder written by `clinragen predict`.")
    ] = None,
    prescriptions: Path | None = None,
    cohort: CohortFolder,
    out: Out,
    form: ReportForm = "html",
    stays: Annotated[WholeNumbers, Parameter(name="--stay")] = (),
    with_recorded_codes: Flag = False,
    graph: Path | None = None,
    evaluation: Path | None = None,
    teacher: str | None = None,
    questions: Path | None = None,
    index: Path | None = None,
    model: Path | None = None,
    single_file: Flag = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write predictions with their checked rationales, or suggestions of drugs with their grounds.

    html is a static site: an index, and a page per stay with rationales and plots; pdf are these pages, printed by
    Chromium; fhir are R4 bundles, csv two tables, json a file per stay.

    Args:
        prescriptions: Folder written by `clinragen prescribe`, in place of --predictions; html only.
        stays: Id of a stay to report; may be repeated. Default: all.
        with_recorded_codes: Say what was coded, too, in forms other than html.
        graph: Concept graph, for claims and names. Default: the model's.
        evaluation: Scores to show. Default: evaluation.json beside the predictions, if it exists.
        teacher: Name of the rationale set to show for comparison. Default: evidence, if it exists.
        questions: Folder of `clinragen ask --out` or `clinragen teach questions`, or its file: the pages show the
            questions about each stay with their answers.
        index: Folder of `clinragen index build`: the pages show the training stays that are most like each stay.
        model: Run folder that --index was built with, where it was built with one.
        single_file: Make each page a single file that needs no other, to be sent or kept by itself.
    """
    from clinragen.api.reporting import report, report_prescriptions

    if prescriptions is not None:
        given = {
            "--predictions": predictions,
            "--form": form != "html",
            "--with-recorded-codes": with_recorded_codes,
            "--graph": graph,
            "--evaluation": evaluation,
            "--teacher": teacher,
            "--questions": questions,
            "--index": index,
            "--model": model,
        }
        if foreign := next((option for option, value in given.items() if value), None):
            raise UserError(f"{foreign} does not go with --prescriptions")
        written = report_prescriptions(
            prescriptions,
            cohort,
            out,
            stays=stays,
            single_file=single_file,
            overwrite=overwrite,
            verify=verify,
            progress=True,
        )
        _answer(written, as_json)
        return
    if predictions is None:
        raise UserError("report needs --predictions, a folder of clinragen predict, or --prescriptions")
    written = report(
        predictions,
        cohort,
        out,
        form=form,
        stays=stays,
        with_recorded_codes=with_recorded_codes,
        graph=graph,
        evaluation=evaluation,
        teacher=teacher,
        questions=questions,
        index=index,
        model=model,
        single_file=single_file,
        processes=os.cpu_count() or 1,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    _answer(written, as_json)


def _answer(written: WrittenReport, as_json: bool) -> None:
    answer(f"{written.stays} stays; open {written.index}", {"stays": written.stays, "index": written.index}, as_json)
